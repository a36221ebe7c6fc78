//! The key `source` of a pipeline: where rows come from.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::auth::{Auth, auth};
use super::format::duration;
use super::problems::Problems;
use super::{defaults, file};

/// Source of the rows.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the dataset, for messages.
    pub dataset: String,
    /// How its rows come in.
    pub transport: Transport,
    /// Maximum number of rows in a chunk that the source sends.
    pub chunk_rows: u32,
    /// Maximum number of rows in a chunk when chunks are joined.
    pub max_chunk_rows: u32,
}

/// How rows come in.
#[derive(Debug, Clone)]
pub enum Transport {
    /// From a server that speaks `forebay.v1`.
    Grpc(Grpc),
}

/// A gRPC server.
#[derive(Debug, Clone)]
pub struct Grpc {
    /// `http://`, `https://` or `unix:` followed by a path.
    pub address: String,
    /// Maximum time without a chunk that moves the position.
    pub idle_timeout: Duration,
    /// How host and server prove who they are.
    pub auth: Auth,
}

/// The checked form; paths are relative to `directory`.
pub(super) fn source(directory: &Path, raw: file::Source) -> Source {
    // A minimum that stands alone is the maximum too.
    let joined = raw.chunk_rows.unwrap_or(defaults::MAX_CHUNK_ROWS);
    Source {
        dataset: raw.dataset.unwrap_or_default(),
        transport: Transport::Grpc(Grpc {
            address: raw.grpc.unwrap_or_default(),
            idle_timeout: duration(raw.idle_timeout, defaults::IDLE_TIMEOUT),
            auth: auth(directory, raw.auth),
        }),
        chunk_rows: raw.chunk_rows.unwrap_or(defaults::CHUNK_ROWS),
        max_chunk_rows: raw.max_chunk_rows.unwrap_or(joined),
    }
}

/// Checks that a source has the keys of one kind of source.
pub(super) fn check(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let Some(source) = pipeline.get("source").filter(|source| source.is_object()) else {
        return;
    };
    for key in ["grpc", "dataset"] {
        if source.get(key).is_none() {
            let path = ["pipelines", name, "source", key];
            problems.add(&path, "missing", Some("add this key".into()));
        }
    }
}
