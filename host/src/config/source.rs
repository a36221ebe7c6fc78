//! The key `source` of a pipeline: where rows come from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::auth::{Auth, auth};
use super::format::duration;
use super::key::KeyChoice;
use super::problems::Problems;
use super::{defaults, file};
use crate::files::Overrides;
use crate::row::FieldType;

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
    /// From files.
    Files(Files),
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

/// Files.
#[derive(Debug, Clone)]
pub struct Files {
    /// What paths are relative to.
    pub directory: PathBuf,
    /// Paths, or patterns of these. At least one.
    pub patterns: Vec<String>,
    /// What the files do not say right of their columns.
    pub overrides: Overrides,
}

/// The checked form; paths are relative to `directory`. `key` is that of the pipeline.
pub(super) fn source(directory: &Path, raw: file::Source, key: &KeyChoice) -> Source {
    let chunk_rows = raw.chunk_rows.unwrap_or(defaults::CHUNK_ROWS);
    // A minimum that stands alone is the maximum too.
    let joined = raw.chunk_rows.unwrap_or(defaults::MAX_CHUNK_ROWS);
    let max_chunk_rows = raw.max_chunk_rows.unwrap_or(joined);
    let (dataset, transport) = match raw.files {
        Some(files) => {
            let files = self::files(directory, files, raw.key, raw.fields, raw.embeddings, key);
            (files.patterns.join(", "), Transport::Files(files))
        }
        None => {
            let grpc = Grpc {
                address: raw.grpc.unwrap_or_default(),
                idle_timeout: duration(raw.idle_timeout, defaults::IDLE_TIMEOUT),
                auth: auth(directory, raw.auth),
            };
            (raw.dataset.unwrap_or_default(), Transport::Grpc(grpc))
        }
    };
    Source {
        dataset,
        transport,
        chunk_rows,
        max_chunk_rows,
    }
}

fn files(
    directory: &Path,
    files: file::Files,
    own_key: Option<String>,
    fields: std::collections::BTreeMap<String, file::FieldType>,
    embeddings: std::collections::BTreeMap<String, u32>,
    key: &KeyChoice,
) -> Files {
    let of_pipeline = || match key {
        KeyChoice::Column(column) => Some(column.clone()),
        KeyChoice::Found | KeyChoice::Tables(_) => None,
    };
    Files {
        directory: directory.into(),
        patterns: match files {
            file::Files::One(pattern) => vec![pattern],
            file::Files::Several(patterns) => patterns,
        },
        overrides: Overrides {
            key: own_key.or_else(of_pipeline),
            fields: fields
                .into_iter()
                .map(|(name, it)| (name, field_type(it)))
                .collect(),
            embeddings: embeddings
                .into_iter()
                .map(|(name, dimensions)| (name, dimensions as usize))
                .collect(),
        },
    }
}

fn field_type(raw: file::FieldType) -> FieldType {
    match raw {
        file::FieldType::Boolean => FieldType::Boolean,
        file::FieldType::Integer => FieldType::Integer,
        file::FieldType::Real => FieldType::Real,
        file::FieldType::Text => FieldType::Text,
        file::FieldType::Binary => FieldType::Binary,
        file::FieldType::Timestamp => FieldType::Timestamp,
        file::FieldType::Texts => FieldType::Texts,
        file::FieldType::Json => FieldType::Json,
    }
}

/// Keys that only one kind of source has.
const OF_FILES: [&str; 3] = ["key", "fields", "embeddings"];
const OF_GRPC: [&str; 4] = ["grpc", "dataset", "idle_timeout", "auth"];

/// Checks that a source has the keys of one kind of source.
pub(super) fn check(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let Some(source) = pipeline.get("source").filter(|source| source.is_object()) else {
        return;
    };
    let has = |key: &str| source.get(key).is_some();
    let mut problem = |key: &str, message: String, hint: &str| {
        let path = ["pipelines", name, "source", key];
        problems.add(&path, message, Some(hint.into()));
    };
    let (kind, strangers): (&str, &[&str]) = match has("files") {
        true => ("files", &OF_GRPC),
        false => ("grpc", &OF_FILES),
    };
    for key in strangers.iter().filter(|key| has(key)) {
        let message = format!("has no effect beside `{kind}`");
        problem(key, message, "remove it");
    }
    if has("files") {
        return;
    }
    for key in ["grpc", "dataset"] {
        if !has(key) {
            let hint = match key {
                "grpc" => "add this key, or `files = \"data/*.parquet\"` to read files",
                _ => "add this key",
            };
            problem(key, "missing".into(), hint);
        }
    }
}
