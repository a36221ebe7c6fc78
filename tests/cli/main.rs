//! The program as users run it, and the PostgreSQL that it brings along.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod commands;
mod embedded;
mod help;
mod load;
mod plugin_put;
mod plugin_test;
#[cfg(target_os = "linux")]
mod screen;
mod tutorial;
mod words;
