//! From the text of a file to a checked [`Config`], collecting every problem on the way.

use std::path::Path;

use serde_json::Value;
use toml::de::DeTable;

use super::build::build;
use super::checked::{Config, Limits};
use super::format::parse_size;
use super::problems::{ConfigError, Problem, Problems, line_of};
use super::shape::check_shape;
use super::variables::substitute;
use super::{auth, database, defaults, environment, key, missing, plugins, source};

impl Config {
    /// Reads and checks a file. `${NAME}` in a text stands for an environment variable.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is invalid; the error lists all its problems.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        Self::parse(path, &text, &environment::variable)
    }

    /// Checks the text of a file; `path` is for messages and relative paths.
    ///
    /// # Errors
    /// Fails if the text is invalid; the error lists all its problems.
    pub fn parse(
        path: &Path,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let syntax_error = |error: &toml::de::Error| syntax_error(path, text, error);
        let table = DeTable::parse(text).map_err(|error| syntax_error(&error))?;
        let mut document: Value = toml::from_str(text).map_err(|error| syntax_error(&error))?;
        let mut problems = Problems::new(text, table.into_inner());

        substitute(&mut document, &mut Vec::new(), variable, &mut problems);
        check_shape(&document, &mut problems);
        check_relations(&document, &mut problems);
        if !problems.is_empty() {
            return Err(problems.into_error(path));
        }
        match serde_json::from_value(document) {
            Ok(file) => Ok(build(path, file)),
            Err(error) => {
                problems.add(&[], error.to_string(), None);
                Err(problems.into_error(path))
            }
        }
    }
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let problem = Problem {
        line: error.span().map(|span| line_of(text, span.start)),
        key: String::new(),
        message: format!("not valid TOML: {}", error.message()),
        hint: None,
    };
    ConfigError {
        path: path.into(),
        problems: vec![problem],
    }
}

/// Checks keys against each other. Looks at the document, so that its problems are reported
/// together with those of its shape.
fn check_relations(document: &Value, problems: &mut Problems<'_>) {
    check_limits(document, problems);
    plugins::check_stack(document, problems);
    plugins::check_own_limits(document, problems);
    database::check_timeouts(document, problems);
    database::check_url(document, problems);
    let pipelines = document.get("pipelines").and_then(Value::as_object);
    for (name, pipeline) in pipelines.into_iter().flatten() {
        check_tables(name, pipeline, problems);
        missing::check_limit(name, pipeline, problems);
        key::check_tables(name, pipeline, problems);
        check_bounds(name, pipeline, problems);
        source::check(name, pipeline, problems);
        auth::check(name, pipeline, problems);
        plugins::check_names(name, pipeline, problems);
        plugins::check_settings(name, pipeline, problems);
    }
}

/// Checks that a pipeline has tables.
fn check_tables(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let kinds = pipeline
        .pointer("/source/rows")
        .is_some_and(Value::is_object);
    if pipeline.is_object() && pipeline.get("tables").is_none() && !kinds {
        let path = ["pipelines", name, "tables"];
        problems.add(&path, "missing", Some("add this key".into()));
    }
}

/// Checks that a row fits into a chunk.
fn check_limits(document: &Value, problems: &mut Problems<'_>) {
    let default = Limits::default();
    let size = |name: &str, default| match document.pointer(&format!("/limits/{name}")) {
        Some(value) => value.as_str().and_then(parse_size),
        None => Some(default),
    };
    if let (Some(row), Some(chunk)) = (size("row", default.row), size("chunk", default.chunk))
        && row > chunk
    {
        problems.add(
            &["limits", "row"],
            "is larger than limits.chunk",
            Some("a row must fit into a chunk".into()),
        );
    }
}

/// Checks that no minimum is above its maximum.
fn check_bounds(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let bounds = [
        (
            "/source/chunk_rows",
            "/source/max_chunk_rows",
            defaults::CHUNK_ROWS,
        ),
        ("/writers", "/max_writers", defaults::WRITERS),
    ];
    for (least_key, most_key, default) in bounds {
        let number = |key| pipeline.pointer(key).and_then(Value::as_u64);
        let least = number(least_key).unwrap_or(u64::from(default));
        let Some(most) = number(most_key).filter(|most| *most < least) else {
            continue;
        };
        let keys = most_key.split('/').skip(1);
        let path: Vec<&str> = ["pipelines", name].into_iter().chain(keys).collect();
        let least_key = least_key.rsplit('/').next().unwrap_or_default();
        let message = format!("{most} is less than `{least_key}` ({least})");
        let hint = format!("leave it out to pin `{least_key}`");
        problems.add(&path, message, Some(hint));
    }
}
