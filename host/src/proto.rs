//! Generated from `proto/forebay/v1`: the messages, the clients and the servers.
#![allow(missing_docs, clippy::all, clippy::unwrap_used, unreachable_pub)]

tonic::include_proto!("forebay.v1");
