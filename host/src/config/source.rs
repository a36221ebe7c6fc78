//! The key `source` of a pipeline: where rows come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::auth::{Auth, auth};
use super::format::duration;
use super::key::KeyChoice;
use super::method::{Method, method};
use super::problems::Problems;
use super::{defaults, file, method};
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
    /// From a gRPC server.
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
    /// What is called on a server with a proto of its own; `None` if it speaks `forebay.v1`.
    pub method: Option<Box<Method>>,
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
pub(super) fn source(directory: &Path, mut raw: file::Source, key: &KeyChoice) -> Source {
    let chunk_rows = raw.chunk_rows.unwrap_or(defaults::CHUNK_ROWS);
    // A minimum that stands alone is the maximum too.
    let joined = raw.chunk_rows.unwrap_or(defaults::MAX_CHUNK_ROWS);
    let max_chunk_rows = raw.max_chunk_rows.unwrap_or(joined);
    let (dataset, transport) = match raw.files.take() {
        Some(files) => {
            let overrides = overrides(raw.key, raw.fields, raw.embeddings, key);
            let files = self::files(directory, files, overrides);
            (files.patterns.join(", "), Transport::Files(files))
        }
        None => {
            let method = method(directory, &mut raw);
            let dataset = method.as_ref().map(|method| method.name.clone());
            let grpc = Grpc {
                address: raw.grpc.unwrap_or_default(),
                idle_timeout: duration(raw.idle_timeout, defaults::IDLE_TIMEOUT),
                auth: auth(directory, raw.auth),
                method: method.map(Box::new),
            };
            let dataset = dataset.or(raw.dataset).unwrap_or_default();
            (dataset, Transport::Grpc(grpc))
        }
    };
    Source {
        dataset,
        transport,
        chunk_rows,
        max_chunk_rows,
    }
}

fn files(directory: &Path, files: file::Files, overrides: Overrides) -> Files {
    Files {
        directory: directory.into(),
        patterns: match files {
            file::Files::One(pattern) => vec![pattern],
            file::Files::Several(patterns) => patterns,
        },
        overrides,
    }
}

/// What the files do not say right; what is no type or number has been reported.
fn overrides(
    own_key: Option<file::MessageKey>,
    fields: BTreeMap<String, String>,
    embeddings: BTreeMap<String, file::Embedding>,
    key: &KeyChoice,
) -> Overrides {
    let own_key = match own_key {
        Some(file::MessageKey::Fields(file::Paths::One(column))) => Some(column),
        _ => None,
    };
    let of_pipeline = || match key {
        KeyChoice::Column(column) => Some(column.clone()),
        KeyChoice::Found | KeyChoice::Tables(_) => None,
    };
    let fields = fields.into_iter();
    let embeddings = embeddings.into_iter();
    Overrides {
        key: own_key.or_else(of_pipeline),
        fields: fields
            .filter_map(|(name, it)| Some((name, field_type(&it)?)))
            .collect(),
        embeddings: embeddings
            .filter_map(|(name, it)| match it {
                file::Embedding::Dimensions(dimensions) => Some((name, dimensions as usize)),
                file::Embedding::Path(_) => None,
            })
            .collect(),
    }
}

fn field_type(name: &str) -> Option<FieldType> {
    Some(match name {
        "boolean" => FieldType::Boolean,
        "integer" => FieldType::Integer,
        "real" => FieldType::Real,
        "text" => FieldType::Text,
        "binary" => FieldType::Binary,
        "timestamp" => FieldType::Timestamp,
        "texts" => FieldType::Texts,
        "json" => FieldType::Json,
        _ => return None,
    })
}

/// Reports what only a `method` may have as key, fields and embeddings.
fn check_overrides(name: &str, source: &Value, problems: &mut Problems<'_>) {
    let mut problem = |keys: &[&str], message: &str, hint: &str| {
        let path = [&["pipelines", name, "source"], keys].concat();
        problems.add(&path, message, Some(hint.into()));
    };
    if source.get("key").is_some_and(|key| !key.is_string()) {
        problem(&["key"], "is no column", "write \"COLUMN\"");
    }
    let entries = |key: &str| {
        source
            .get(key)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    for (field, value) in entries("fields") {
        if value
            .as_str()
            .is_some_and(|value| field_type(value).is_none())
        {
            let hint = "write \"boolean\", \"integer\", \"real\", \"text\", \"binary\", \"timestamp\", \"texts\" or \"json\"";
            problem(&["fields", field], "is no type of a field", hint);
        }
    }
    for (embedding, value) in entries("embeddings") {
        if value.is_string() {
            let hint = "write their number, such as 384";
            problem(
                &["embeddings", embedding],
                "is no number of dimensions",
                hint,
            );
        }
    }
}

/// Keys that only one kind of source has.
const OF_GRPC: [&str; 5] = ["grpc", "dataset", "idle_timeout", "auth", "method"];

/// Checks that a source has the keys of one kind of source.
pub(super) fn check(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let Some(source) = pipeline.get("source").filter(|source| source.is_object()) else {
        return;
    };
    let has = |key: &str| source.get(key).is_some();
    if has("files") {
        for key in OF_GRPC
            .into_iter()
            .chain(method::APART)
            .filter(|key| has(key))
        {
            let path = ["pipelines", name, "source", key];
            problems.add(
                &path,
                "has no effect beside `files`",
                Some("remove it".into()),
            );
        }
        return check_overrides(name, source, problems);
    }
    method::check(name, pipeline, source, problems);
    let mut needed = vec![(
        "grpc",
        "add this key, or `files = \"data/*.parquet\"` to read files",
    )];
    if !has("method") {
        needed.push((
            "dataset",
            "add this key, or `method` if the server does not speak forebay.v1",
        ));
    }
    for (key, hint) in needed {
        if !has(key) {
            let path = ["pipelines", name, "source", key];
            problems.add(&path, "missing", Some(hint.into()));
        }
    }
}
