//! Forebay brings embedding rows from AI servers into PostgreSQL + pgvector and lets WASM
//! plugins decide what happens to each row.
//!
//! The modules stand in the order in which a row meets them, and each imports only what stands
//! above it; `tests/tidy.rs` holds that. `ARCHITECTURE.md` is the map.

// Blank lines keep the formatter from sorting them.

// What every room may use.
pub(crate) mod failpoints;

pub mod retry;

pub mod proto;

// The sandbox, a crate of its own, and the rows that it works on.
pub use forebay_plugin_host as plugin;
pub use forebay_plugin_host::row;

pub mod config;

// A row's way.
pub mod source;

pub mod decode;

pub mod route;

pub mod chunk;

pub mod policy;

pub mod store;

pub mod rollout;

pub mod prepare;

pub mod workers;

// A run around it.
pub mod notify;

pub mod metrics;

pub mod report;

pub mod error;

pub mod progress;

mod partition;

pub mod pipeline;

pub mod serve;

// Beside the way: plugin projects and their tests, the demo, the command line.
pub mod cases;

pub mod project;

pub mod demo;

pub use forebay_embedded_postgres as embedded;

pub mod cli;
