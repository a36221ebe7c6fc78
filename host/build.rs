//! Compiles `proto/` into the code that `src/proto.rs` includes.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("../proto");
    println!("cargo::rerun-if-changed=../proto");
    println!("cargo::rerun-if-changed=../migrations");
    println!("cargo::rerun-if-changed=../wit");
    // Embedded as directories: the compiler does not notice new files in them.
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=../plugins/sdk");
    let descriptors = protox::compile(
        ["forebay/v1/source.proto", "forebay/v1/cache.proto"].map(|file| root.join(file)),
        [root],
    )?;
    tonic_prost_build::configure()
        // Received buffers are shared, not copied.
        .bytes(".forebay.v1")
        // Makes the encoding of a row deterministic.
        .btree_map(".forebay.v1.Row")
        // Rows stay encoded; `decode` reads them from their wire form.
        .extern_path(".forebay.v1.Chunk", "crate::source::wire::Chunk")
        .compile_fds(descriptors)?;
    Ok(())
}
