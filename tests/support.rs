//! What the end-to-end tests share: a database each, the host as a process of its own, a source
//! that says what it is told to, and a picture of everything that must be the same afterwards.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    reason = "each test uses some of it"
)]

mod database;
mod host;
mod recruit;
mod source;
mod state;

use std::path::PathBuf;

pub use database::Database;
pub use host::{Ended, Home, Host};
pub use recruit::Recruit;
pub use source::{RowBuilder, Script, Scripted, row, rows, tombstone};
pub use state::State;

/// Any free port of this machine.
pub fn anywhere() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Where `make plugins` puts `kind`: `plugins` or `test-plugins`.
pub fn guests(kind: &str) -> PathBuf {
    let directory = target().join(kind);
    let some = std::fs::read_dir(&directory).is_ok_and(|mut files| files.next().is_some());
    assert!(
        some,
        "no plugins in {}: run `make plugins` first",
        directory.display()
    );
    directory
}

/// The build's directory.
pub fn target() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.join("../target").canonicalize().unwrap()
}
