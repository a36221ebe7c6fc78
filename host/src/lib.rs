//! Forebay brings embedding rows from AI servers into PostgreSQL + pgvector and lets WASM
//! plugins decide what happens to each row.
//!
//! The modules stand in the order in which a row meets them. `ARCHITECTURE.md` is the map.

// Blank lines keep the formatter from sorting them.
pub mod source;

pub mod row;

pub mod decode;

pub mod plugin;
pub mod rollout;

pub mod policy;
pub mod prepare;
pub mod workers;

pub mod store;

pub mod notify;

mod partition;
pub mod pipeline;
pub mod report;

pub mod serve;

pub mod cases;
pub mod config;
mod fault;
pub mod metrics;
pub mod proto;
pub mod retry;

pub mod cli;
pub mod demo;
pub mod embedded;
pub mod project;
