//! The whole way, with the real parts: gRPC over sockets, components in the sandbox, PostgreSQL
//! with pgvector, and the host as a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

#[path = "pipeline/deletes.rs"]
mod deletes;
#[path = "pipeline/fencing.rs"]
mod fencing;
#[path = "pipeline/lists.rs"]
mod lists;
#[path = "pipeline/notify.rs"]
mod notify;
#[path = "pipeline/outages.rs"]
mod outages;
#[path = "pipeline/plugins.rs"]
mod plugins;
#[path = "pipeline/preflight.rs"]
mod preflight;
#[path = "pipeline/recruit.rs"]
mod recruit;
#[path = "pipeline/refresh.rs"]
mod refresh;
#[path = "pipeline/refused.rs"]
mod refused;
#[path = "pipeline/stop.rs"]
mod stop;
#[path = "pipeline/tables.rs"]
mod tables;
#[path = "pipeline/types.rs"]
mod types;
#[path = "pipeline/wire.rs"]
mod wire;
#[path = "pipeline/writers.rs"]
mod writers;
