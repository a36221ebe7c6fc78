//! Tests that cannot run on this machine.

use std::fs::OpenOptions;
use std::io::Write;

use crate::target;

/// Notes that the calling test, or a part of it, cannot run here, and why. `make test` prints
/// what was noted at its end, and fails where `CI` is set.
pub fn skip(why: &str) {
    let program = std::env::current_exe().unwrap();
    let program = program.file_stem().unwrap().to_string_lossy();
    // Cargo appends a hash.
    let (binary, _) = program.rsplit_once('-').unwrap_or((&program, ""));
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread has its name");
    let line = format!("{binary}::{test}: {why}");
    eprintln!("SKIPPED {line}");
    let noted = OpenOptions::new()
        .append(true)
        .create(true)
        .open(target().join("skipped-tests"))
        // In one piece: other tests may write as well.
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    noted.unwrap();
}
