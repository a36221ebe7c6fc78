//! What plugins may do and what they cost: real components in the real sandbox, in the process of
//! the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod chain;
mod compatibility;
mod compiling;
mod faults;
mod hostile;
mod loading;
mod memory;
