//! Files that are no components, or no longer quite.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use forebay::plugin::Directory;
use nix::sys::stat::Mode;
use support::component::component;
use support::sandbox::guest;

use super::host::{Ended, Host};

/// Of what is flipped. Any other seed would do.
const SEED: u64 = 0x0f0e_bea7;

/// The empty component within itself.
fn nested(depth: usize) -> Vec<u8> {
    const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    let mut bytes = HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = HEADER.to_vec();
        // A section that is a component, with its length in LEB128.
        outer.push(4);
        let mut length = bytes.len();
        while length >= 0x80 {
            outer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.append(&mut bytes);
        bytes = outer;
    }
    bytes
}

/// Makes a file or something like it at a path.
type Make = Box<dyn Fn(&Path)>;

/// What lies in a plugin directory, and part of what is said about it.
fn files() -> Vec<(&'static str, Make, &'static str)> {
    let bytes = |bytes: Vec<u8>| -> Make { Box::new(move |path| fs::write(path, &bytes).unwrap()) };
    let link = |to: &'static str| -> Make { Box::new(move |path| symlink(to, path).unwrap()) };
    let good = fs::read(guest("recruit-rules")).unwrap();
    let mut padded = vec![0; 8];
    padded.extend(&good);
    let mut trailing = good.clone();
    trailing.extend(b"and more");
    let of_length = |length: u64| -> Make {
        Box::new(move |path| {
            let mut file = fs::File::create(path).unwrap();
            std::io::Write::write_all(&mut file, b"\0asm\x0d\0\x01\0").unwrap();
            file.set_len(length).unwrap();
        })
    };
    vec![
        ("empty", bytes(vec![]), "not a WebAssembly component"),
        ("one-byte", bytes(vec![0]), "not a WebAssembly component"),
        (
            "text",
            bytes(b"#!/bin/sh\nrm -rf /\n".to_vec()),
            "not a WebAssembly component",
        ),
        (
            "elf",
            bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec()),
            "not a WebAssembly component",
        ),
        (
            "core-module",
            bytes(wat::parse_str("(module (func (export \"run\")))").unwrap()),
            "a core module, not a component",
        ),
        (
            "only-magic",
            bytes(b"\0asm".to_vec()),
            "not a WebAssembly component",
        ),
        (
            "version-to-come",
            bytes(b"\0asm\x0e\0\x01\0".to_vec()),
            "of a version unknown to this host",
        ),
        (
            "only-header",
            bytes(b"\0asm\x0d\0\x01\0".to_vec()),
            "does not export `forebay:plugin/describe",
        ),
        ("padded", bytes(padded), "not a WebAssembly component"),
        ("trailing", bytes(trailing), "not a valid component"),
        (
            "text-form",
            bytes(b"(component)".to_vec()),
            "not a WebAssembly component",
        ),
        (
            "nested",
            bytes(nested(5_000)),
            "has more than 20 levels of nested components",
        ),
        ("sparse-200-mib", of_length(200 << 20), "larger than 64 MiB"),
        (
            "sparse-64-mib",
            of_length(64 << 20),
            "not a valid component",
        ),
        (
            "directory",
            Box::new(|path| fs::create_dir(path).unwrap()),
            "it is not a file",
        ),
        (
            "pipe",
            Box::new(|path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()),
            "it is not a file",
        ),
        ("endless", link("/dev/zero"), "it is not a file"),
        ("loop", link("loop.wasm"), "cannot be read"),
        ("dangling", link("nowhere.wasm"), "cannot be read"),
        // A file that even the superuser cannot read from its beginning.
        ("unreadable", link("/proc/self/mem"), "cannot be read"),
    ]
}

/// A directory full of them still gives its one plugin.
#[test]
#[cfg(target_os = "linux")]
fn files_that_are_no_components_are_refused() {
    let (host, directory) = (Host::new(), tempfile::tempdir().unwrap());
    let files = files();
    for (name, make, _) in &files {
        make(&directory.path().join(name).with_extension("wasm"));
    }
    fs::copy(guest("recruit-rules"), directory.path().join("good.wasm")).unwrap();
    let (engine, kept) = (Arc::clone(&host.engine), directory.path().join("kept"));
    let opened = Directory::open(engine, directory.path(), &kept, Box::new(|_| Ok(()))).unwrap();
    let refused = opened.refused();
    for (name, _, part) in &files {
        let path = directory.path().join(name).with_extension("wasm");
        let refused = refused.iter().find(|it| it.error.path == path);
        let error = &refused.unwrap().error;
        assert!(error.what.contains(part), "{error}");
    }
    host.has_a_good_plugin_work();

    // As it is, and as a running host looks at it again.
    for _ in 0..2 {
        assert_eq!(opened.plugins().len(), 1);
        assert_eq!(opened.plugins()[0].id().name, "recruit-rules");
        assert_eq!(opened.refused().len(), files.len());
        opened.look();
    }
}

/// A file of which the end is missing is refused. One of which only notes for debuggers are
/// missing is whole.
#[test]
fn truncated_components_are_refused() {
    let (host, directory) = (Host::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("truncated.wasm");
    let (small, large) = (component(&[]), fs::read(guest("recruit-rules")).unwrap());
    let mut refused = 0;
    for (bytes, step) in [(&small, 11), (&large, 997)] {
        for length in (0..bytes.len()).step_by(step) {
            fs::write(&path, &bytes[..length]).unwrap();
            match host.meet(&path) {
                Ended::Refused(_) => refused += 1,
                Ended::Rows(rows) => assert!(rows.is_empty(), "cut at {length}: {rows:?}"),
                other => panic!("cut at {length}: {other:?}"),
            }
        }
    }
    assert!(refused > 200, "{refused}");
    host.has_a_good_plugin_work();
}

/// Whatever a component becomes by flipping a bit, the host gets over it.
#[test]
fn damaged_components_do_no_harm() {
    let (host, directory) = (Host::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("damaged.wasm");
    let (small, large) = (component(&[]), fs::read(guest("recruit-rules")).unwrap());
    let mut random = fastrand::Rng::with_seed(SEED);
    let (mut refused, mut ran) = (0, 0);
    for (bytes, times) in [(&small, 400), (&large, 40)] {
        for _ in 0..times {
            let mut damaged = bytes.clone();
            damaged[random.usize(..bytes.len())] ^= 1 << random.u32(..8);
            fs::write(&path, &damaged).unwrap();
            match host.meet(&path) {
                Ended::Refused(_) | Ended::Unsettled(_) => refused += 1,
                Ended::Broken(_) | Ended::Rows(_) | Ended::Decided(_) => ran += 1,
            }
        }
        host.has_a_good_plugin_work();
    }
    println!("seed {SEED:#x}: {refused} refused, {ran} ran");
    assert!(refused > 50 && ran > 50, "{refused} refused, {ran} ran");
}
