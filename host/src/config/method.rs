//! Keys of `source` for a server with a proto of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file;
use super::problems::Problems;

/// A method of a server with a proto of its own, and what its messages mean.
#[derive(Debug, Clone)]
pub struct Method {
    /// As configured: package and service may be missing.
    pub name: String,
    /// Where its descriptors come from.
    pub descriptors: Descriptors,
    /// Kinds of rows; one without a name if the response has only one.
    pub rows: Vec<Rows>,
    /// Further fields, by name, with their paths.
    pub fields: BTreeMap<String, String>,
    /// Further embeddings, by name, with their paths.
    pub embeddings: BTreeMap<String, String>,
    /// Dimensions of embeddings, by name.
    pub dimensions: BTreeMap<String, u32>,
    /// The mark of a deleted row, as `FIELD` or `FIELD=VALUE`.
    pub deleted: Option<String>,
    /// Field of the response that holds the position; `None` for the key of the last row.
    pub position: Option<String>,
    /// Field of the request that gets the position.
    pub resume: String,
    /// Field of the request that gets the number of rows.
    pub chunk_size: Option<String>,
    /// Further fields of the request, by path, as JSON values.
    pub request: BTreeMap<String, Value>,
    /// True if a new run goes on where the last one ended.
    pub continues: bool,
}

/// Where descriptors come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Descriptors {
    /// Files that are compiled, and the directories that they are looked for in.
    Proto(Vec<PathBuf>, Vec<PathBuf>),
    /// A file of descriptors.
    Set(PathBuf),
    /// The server.
    Reflection,
}

/// A kind of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Field of the response, by its path; `None` for the only one.
    pub field: Option<String>,
    /// Tables that take them; empty for all of the pipeline.
    pub tables: Vec<String>,
    /// Fields that are the key together; empty for the default.
    pub key: Vec<String>,
}

/// The checked form; paths are relative to `directory`. `None` for a server that speaks `forebay.v1`.
pub(super) fn method(directory: &Path, raw: &mut file::Source) -> Option<Method> {
    let name = raw.method.take()?;
    let position = raw.position.take();
    let rows = rows(raw.rows.take(), raw.key.take());
    let files = |paths| paths_of(paths).into_iter().map(|path| directory.join(path));
    let proto: Vec<PathBuf> = files(raw.proto.take()).collect();
    let descriptors = match raw.descriptors.take() {
        Some(path) => Descriptors::Set(directory.join(path)),
        None if proto.is_empty() => Descriptors::Reflection,
        None => {
            let mut include: Vec<PathBuf> = files(raw.proto_path.take()).collect();
            if include.is_empty() {
                include.extend(
                    proto
                        .iter()
                        .filter_map(|it| it.parent().map(Path::to_owned)),
                );
                include.dedup();
            }
            Descriptors::Proto(proto, include)
        }
    };
    let (mut embeddings, mut dimensions) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in std::mem::take(&mut raw.embeddings) {
        match value {
            file::Embedding::Path(path) => drop(embeddings.insert(name, path)),
            file::Embedding::Dimensions(number) => drop(dimensions.insert(name, number)),
        }
    }
    Some(Method {
        name,
        descriptors,
        rows,
        fields: std::mem::take(&mut raw.fields),
        embeddings,
        dimensions,
        deleted: raw.deleted.take(),
        position: position.as_ref().and_then(|it| it.field.clone()),
        resume: position.map(|it| it.request).unwrap_or_default(),
        chunk_size: raw.chunk_size.take(),
        request: std::mem::take(&mut raw.request)
            .into_iter()
            .map(|(path, value)| (path, json(value)))
            .collect(),
        continues: raw.delivery == Some(file::Delivery::Changes),
    })
}

fn json(value: file::RequestValue) -> Value {
    match value {
        file::RequestValue::Boolean(value) => value.into(),
        file::RequestValue::Integer(value) => value.into(),
        file::RequestValue::Real(value) => value.into(),
        file::RequestValue::Text(value) => value.into(),
    }
}

fn paths_of(paths: Option<file::Paths>) -> Vec<String> {
    match paths {
        None => Vec::new(),
        Some(file::Paths::One(path)) => vec![path],
        Some(file::Paths::Several(paths)) => paths,
    }
}

fn rows(rows: Option<file::Rows>, key: Option<file::MessageKey>) -> Vec<Rows> {
    let (all, mut own) = match key {
        None => (Vec::new(), BTreeMap::new()),
        Some(file::MessageKey::Fields(paths)) => (paths_of(Some(paths)), BTreeMap::new()),
        Some(file::MessageKey::Kinds(keys)) => (Vec::new(), keys),
    };
    match rows {
        None => vec![Rows {
            key: all,
            ..Rows::default()
        }],
        Some(file::Rows::Field(field)) => vec![Rows {
            field: Some(field),
            tables: Vec::new(),
            key: all,
        }],
        Some(file::Rows::Kinds(kinds)) => kinds
            .into_iter()
            .map(|(field, tables)| Rows {
                key: own
                    .remove(&field)
                    .map_or_else(|| all.clone(), |paths| paths_of(Some(paths))),
                field: Some(field),
                tables: paths_of(Some(tables)),
            })
            .collect(),
    }
}

/// The tables of all kinds of rows, if the source names them.
pub(super) fn tables(source: &file::Source) -> Option<Vec<String>> {
    match &source.rows {
        Some(file::Rows::Kinds(kinds)) => {
            let tables = kinds.values().flat_map(|paths| match paths {
                file::Paths::One(path) => std::slice::from_ref(path),
                file::Paths::Several(paths) => paths,
            });
            Some(tables.cloned().collect())
        }
        _ => None,
    }
}

/// True for a key of `source`, or one in a table of it.
pub(super) fn is_of_source(path: &[&str]) -> bool {
    matches!(path, [.., "source", _] | [.., "source", _, _])
}

/// Reports a value that has none of its forms.
pub(super) fn report_invalid(path: &[&str], problems: &mut Problems<'_>) {
    let at = |key: &str| path.get(3) == Some(&key);
    let (message, hint) = if at("rows") {
        (
            "is neither a field nor kinds of rows",
            "write \"FIELD\", or { FIELD = \"TABLE\", … }",
        )
    } else if at("key") {
        (
            "is neither a field nor a list of fields",
            "write \"FIELD\", [\"FIELD\", …], or { KIND = \"FIELD\", … }",
        )
    } else if at("files") {
        (
            "is neither a path nor a list of paths",
            "write \"data/*.parquet\", or a list of such texts",
        )
    } else if at("embeddings") {
        (
            "is neither a path nor a number of dimensions",
            "write { NAME = \"PATH\" } or { NAME = 384 }",
        )
    } else if at("request") {
        ("is no text, number or boolean", "write { FIELD = VALUE }")
    } else {
        (
            "is neither a path nor a list of paths",
            "write \"PATH\" or [\"PATH\", …]",
        )
    };
    problems.add(path, message, Some(hint.into()));
}

/// Keys that only a source with a `method` may have.
pub(super) const APART: [&str; 10] = [
    "proto",
    "proto_path",
    "descriptors",
    "reflection",
    "rows",
    "deleted",
    "position",
    "chunk_size",
    "request",
    "delivery",
];

/// Keys that it shares with files.
const SHARED: [&str; 3] = ["key", "fields", "embeddings"];

/// Checks the keys of a source with a `method`, and that no other source has them.
pub(super) fn check(name: &str, pipeline: &Value, source: &Value, problems: &mut Problems<'_>) {
    let at = |key| ["pipelines", name, "source", key];
    let has = |key: &str| {
        source
            .get(key)
            .is_some_and(|value| *value != Value::Bool(false))
    };
    if !has("method") {
        for key in APART.into_iter().chain(SHARED).filter(|key| has(key)) {
            let hint = "name the method to call as `method`, or remove this key".to_owned();
            problems.add(&at(key), "has no effect without `method`", Some(hint));
        }
        return;
    }
    if has("dataset") {
        let hint = "keep `dataset` for a server that speaks forebay.v1, and `method` for any other";
        problems.add(
            &at("dataset"),
            "`method` is given as well",
            Some(hint.into()),
        );
    }
    let given = ["proto", "descriptors", "reflection"];
    let mut given = given.into_iter().filter(|key| has(key));
    match (given.next(), given.next()) {
        (None, _) => {
            let hint = "name .proto files as `proto`, a descriptor set as `descriptors`, or write `reflection = true`";
            let message = "is declared by nothing";
            problems.add(&at("method"), message, Some(hint.into()));
        }
        (Some(first), Some(second)) => {
            let message = format!("`{first}` is given as well");
            problems.add(&at(second), message, Some("keep one of them".into()));
        }
        (Some(_), None) => {}
    }
    if !has("position") {
        let hint = "name the request's field that gets it: { request = \"after_id\" } goes on after the last key, { field = \"next_page_token\", request = \"page_token\" } where the response says it";
        problems.add(&at("position"), "missing", Some(hint.into()));
    }
    let kinds = source.get("rows").and_then(Value::as_object);
    if let Some(kinds) = kinds {
        check_kinds(name, pipeline, source, kinds, problems);
    }
}

fn check_kinds(
    name: &str,
    pipeline: &Value,
    source: &Value,
    kinds: &serde_json::Map<String, Value>,
    problems: &mut Problems<'_>,
) {
    for (key, what) in [("missing", "missing rows are"), ("tables", "tables are")] {
        if pipeline.get(key).is_some_and(|value| value != "keep") {
            let hint = match key {
                "tables" => "remove it",
                _ => "remove it, or give each kind a pipeline of its own with `rows = \"FIELD\"`",
            };
            let message = format!("{what} not sought where `source.rows` has kinds of rows");
            let message = match key {
                "tables" => "`source.rows` names the tables already".to_owned(),
                _ => message,
            };
            problems.add(&["pipelines", name, key], message, Some(hint.into()));
        }
    }
    if source.get("deleted").is_some() {
        let hint = "remove it, or give each kind a pipeline of its own with `rows = \"FIELD\"`";
        let message = "rows of several kinds are not removed by key";
        problems.add(
            &["pipelines", name, "source", "deleted"],
            message,
            Some(hint.into()),
        );
    }
    let keys = source.get("key").and_then(Value::as_object);
    for kind in keys.into_iter().flat_map(serde_json::Map::keys) {
        if !kinds.contains_key(kind) {
            let path = ["pipelines", name, "source", "key", kind];
            let hint = "name it in `rows`, or remove its key".to_owned();
            problems.add(
                &path,
                "the key of a kind that `rows` does not have",
                Some(hint),
            );
        }
    }
}
