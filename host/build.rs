//! Compiles `proto/` into the code that `src/proto.rs` includes.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("../proto");
    println!("cargo::rerun-if-changed=../proto");
    println!("cargo::rerun-if-changed=../migrations");
    println!("cargo::rerun-if-changed=../wit");
    // Embedded as directories, of which the compiler does not see new files.
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=../plugins/sdk");
    let descriptors = protox::compile(
        ["forebay/v1/source.proto", "forebay/v1/cache.proto"].map(|file| root.join(file)),
        [root],
    )?;
    tonic_prost_build::configure()
        // Received buffers are shared, not copied.
        .bytes(".forebay.v1")
        // The same row is encoded the same way each time.
        .btree_map(".forebay.v1.Row")
        // Rows are kept as they came on the wire; `decode` reads them from there.
        .extern_path(".forebay.v1.Chunk", "crate::source::wire::Chunk")
        .compile_fds(descriptors)?;
    Ok(())
}
