//! The living plugin directory: versions come and go while a host is at work.
//!
//! Everything is real: the program as a process of its own, gRPC over a socket, components in the
//! sandbox, PostgreSQL. The guest `stamp` writes its version into every row, so that the tables
//! say which version each row met.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

#[path = "living/canary.rs"]
mod canary;
#[path = "living/endless.rs"]
mod endless;
#[path = "living/files.rs"]
mod files;
#[path = "living/serving.rs"]
mod serving;
#[path = "living/shadow.rs"]
mod shadow;
#[path = "living/stage.rs"]
mod stage;
#[path = "living/swaps.rs"]
mod swaps;
