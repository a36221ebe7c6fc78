//! What the end-to-end tests share: a database each, the host as a process of its own, a source
//! that says what it is told to, and a picture of everything that must be the same afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is a part of tests, which fail by panicking"
)]

pub mod command;
pub mod component;
pub mod endless;
pub mod sandbox;

mod alone;
mod cache;
mod database;
mod host;
mod isolation;
mod nobody;
mod recruit;
mod security;
mod server;
mod skip;
mod source;
mod state;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

pub use alone::in_a_process_of_its_own;
pub use cache::Cache;
pub use command::Place;
pub use database::{Database, Over, WANTS_PASSWORD};
pub use host::{Ended, Home, Host};
pub use isolation::isolate;
pub use nobody::as_nobody;
pub use recruit::Recruit;
pub use security::Security;
pub use server::{As, Server};
pub use skip::skip;
pub use source::{RowBuilder, Script, Scripted, Then, row, rows, tombstone};
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

/// The root of the repository.
pub fn root() -> PathBuf {
    let support = Path::new(env!("CARGO_MANIFEST_DIR"));
    support.join("../..").canonicalize().unwrap()
}

/// The build's directory.
pub fn target() -> PathBuf {
    root().join("target")
}

/// The program, as cargo builds it for tests: with its failpoints switched on.
pub fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        // A test is in `deps`, beside it.
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().with_file_name("forebay");
        assert!(program.exists(), "{} is missing", program.display());
        program
    });
    &PROGRAM
}

/// The tables of the recruit example, for vectors of so many dimensions.
pub fn recruit_tables(dimensions: usize) -> String {
    let tables = include_str!("../../../examples/recruit/tables.sql");
    tables.replace("vector(1536)", &format!("vector({dimensions})"))
}
