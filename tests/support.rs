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

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

pub use database::Database;
pub use host::{Ended, Home, Host};
pub use recruit::Recruit;
pub use source::{RowBuilder, Script, Scripted, row, rows, tombstone};
pub use state::State;

/// Nothing that is waited for takes so long, however busy the machine is: a plugin that brings an
/// interpreter takes minutes to be compiled then.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Any free port of this machine.
pub fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// An address at which nobody listens yet. All of 127.0.0.0/8 is this machine on Linux: there it
/// is apart from where others get a port meanwhile.
pub fn nowhere() -> SocketAddr {
    let host = [127, 0, 0, if cfg!(target_os = "linux") { 2 } else { 1 }];
    let taken = TcpListener::bind(SocketAddr::from((host, 0))).unwrap();
    taken.local_addr().unwrap()
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
