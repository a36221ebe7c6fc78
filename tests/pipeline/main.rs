//! The whole way, with the real parts: gRPC over sockets, components in the sandbox, PostgreSQL
//! with pgvector, and the host as a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod blame;
mod deletes;
mod digests;
mod dirt;
mod endless;
mod fencing;
mod files;
mod hot_swap;
mod indexes;
mod kill;
mod lists;
mod managed;
mod mapping;
mod notify;
mod outages;
mod plugins;
mod pooler;
mod preflight;
mod recruit;
mod refresh;
mod refused;
mod secrets;
mod serve;
mod sets;
mod sources;
mod stop;
mod stress;
mod tables;
mod tcp;
mod tls;
mod types;
mod values;
mod verify;
mod wire;
mod writers;
