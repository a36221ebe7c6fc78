//! Forebay streams embedding rows from AI servers into PostgreSQL + pgvector, through WASM plugins
//! that decide what happens to each row.
//!
//! The modules are declared in the order in which a row meets them, and each imports only modules
//! above it; `tests/tidy.rs` checks that. `ARCHITECTURE.md` is the map.

// Blank lines keep the formatter from sorting them.

// Used by all modules.
pub(crate) mod failpoints;

pub mod retry;

pub mod printable;

pub mod proto;

// The sandbox, which is a crate of its own, and the rows that it processes.
pub use forebay_plugin_host as plugin;
pub use forebay_plugin_host::row;

// Rows from files, in another crate.
pub use forebay_files as files;

pub mod config;

// The path of a row.
pub mod message;

pub mod source;

pub mod decode;

pub mod route;

pub mod chunk;

pub mod policy;

pub mod store;

pub mod rollout;

pub mod prepare;

pub mod workers;

// The run around it.
pub mod notify;

pub mod metrics;

pub mod report;

pub mod error;

pub mod progress;

mod partition;

pub mod pipeline;

pub mod serve;

// Off the path of a row: plugin projects and their tests, the demo, the command line.
pub mod cases;

pub mod project;

pub mod demo;

pub use forebay_embedded_postgres as embedded;

pub mod cli;
