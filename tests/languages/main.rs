//! What is written in other languages: plugins, new projects for them, and the sample servers.
//!
//! `make examples` installs the tools and builds the plugins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod builds;
mod last_words;
mod plugins;
mod projects;
mod protos;
mod sample_servers;
mod scaffold;
mod typescript;
