//! From the text of a file to a checked [`Config`], collecting every problem on the way.

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;
use toml::de::DeTable;

use super::build::build;
use super::problems::{Problem, Problems, line_of};
use super::{Config, ConfigError, Limits, database, missing, plugins, schema};
use crate::config::schedule::Schedule;

/// The default of `source.chunk_rows`, and the width of everything else that is per chunk.
pub(super) const CHUNK_ROWS: u32 = 300;

pub(super) fn check(
    path: &Path,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let syntax_error = |error: &toml::de::Error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let message = format!("not valid TOML: {}", error.message());
        ConfigError {
            path: path.into(),
            problems: vec![Problem {
                line,
                key: String::new(),
                message,
                hint: None,
            }],
        }
    };
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

/// Unknown and missing keys, types, ranges and formats: all that the schema says.
fn check_shape(document: &Value, problems: &mut Problems<'_>) {
    let schema = schema();
    let mut options = jsonschema::options().should_validate_formats(true);
    for format in FORMATS {
        options = options.with_format(format.name, format.accepts);
    }
    let Ok(validator) = options.build(&schema) else {
        problems.add(&[], "the schema of the configuration is broken", None);
        return;
    };
    for error in validator.iter_errors(document) {
        let location = error.instance_path().to_string();
        let parts: Vec<String> = location.split('/').skip(1).map(unescaped).collect();
        let path: Vec<&str> = parts.iter().map(String::as_str).collect();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = known_keys(&schema, &path);
                for key in unexpected {
                    let full: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                    problems.add(&full, "unknown key", Some(suggestion(key, &known)));
                }
            }
            ValidationErrorKind::Required { property } => {
                let full: Vec<&str> = path.iter().copied().chain(property.as_str()).collect();
                problems.add(&full, "missing", Some("add this key".into()));
            }
            ValidationErrorKind::MinProperties { .. } => {
                problems.add(
                    &path,
                    "empty",
                    Some("describe at least one, such as [pipelines.recruit]".into()),
                );
            }
            ValidationErrorKind::MinItems { .. } => {
                problems.add(&path, "empty", Some("name at least one".into()))
            }
            ValidationErrorKind::Enum { options } => {
                let instance = error.instance();
                problems.add(
                    &path,
                    format!("{instance} is not one of {}", listed(options)),
                    None,
                );
            }
            ValidationErrorKind::Type {
                kind: TypeKind::Single(expected),
            } => {
                let (wanted, hint) = described(expected.as_str());
                problems.add(&path, format!("is not {wanted}"), Some(hint.into()));
            }
            ValidationErrorKind::AnyOf { .. } if path.last() == Some(&"missing") => {
                missing::misspelled(&path, problems);
            }
            // A variable that is not set has no format either.
            ValidationErrorKind::Format { .. } if problems.concern(&path) => {}
            ValidationErrorKind::Format { format } => {
                if let Some(known) = FORMATS.iter().find(|known| known.name == format) {
                    let text = error.instance().as_str().filter(|_| !known.secret);
                    let shown = text.map(|text| format!("`{text}` ")).unwrap_or_default();
                    problems.add(
                        &path,
                        format!("{shown}is not {}", known.what),
                        Some(known.hint.into()),
                    );
                }
            }
            _ => problems.add(&path, error.to_string(), None),
        }
    }
}

/// All of them, however many.
fn listed(options: &Value) -> String {
    let options = options.as_array().into_iter().flatten();
    let options: Vec<String> = options.map(Value::to_string).collect();
    match options.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => options.concat(),
    }
}

/// A part of a JSON Pointer (RFC 6901).
fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// A type of JSON in words of TOML, and how to write it.
fn described(json_type: &str) -> (&'static str, &'static str) {
    match json_type {
        "string" => ("a text", "write the value in quotes"),
        "integer" => ("a whole number", "write it without quotes"),
        "array" => ("a list", "write [\"a\", \"b\"]"),
        _ => ("a table", "write { key = \"value\" }"),
    }
}

/// What a text has to be, by the name of its format in the schema.
pub(super) struct Format {
    pub name: &'static str,
    pub accepts: fn(&str) -> bool,
    pub what: &'static str,
    pub hint: &'static str,
    /// Not to be repeated in messages.
    pub secret: bool,
}

const FORMATS: [Format; 7] = [
    missing::SHARE,
    Format {
        name: "byte-size",
        accepts: |text| parse_size(text).is_some(),
        what: "a size",
        hint: "such as \"64MiB\"",
        secret: false,
    },
    Format {
        name: "time-span",
        accepts: |text| parse_duration(text).is_some(),
        what: "a duration",
        hint: "such as \"500ms\" or \"5m\"",
        secret: false,
    },
    Format {
        name: "grpc-address",
        accepts: is_address,
        what: "an address",
        hint: "write http://host:port, https://host:port or unix:/path",
        secret: false,
    },
    Format {
        name: "postgres-url",
        accepts: |text| text.starts_with("postgres://") || text.starts_with("postgresql://"),
        what: "a PostgreSQL URL",
        hint: "such as postgres://user@host/database; leave `url` out for an embedded server",
        secret: true,
    },
    Format {
        name: "socket-address",
        accepts: |text| SocketAddr::from_str(text).is_ok(),
        what: "an address and a port",
        hint: "such as 127.0.0.1:9464, or 0.0.0.0:9464 for every network",
        secret: false,
    },
    Format {
        name: "schedule",
        accepts: |text| Schedule::from_str(text).is_ok(),
        what: "a schedule, or has no time that ever comes",
        hint: "such as \"0 0 2 * * ?\": second, minute, hour, day, month, day of the week by name (MON to SUN)",
        secret: false,
    },
];

pub(super) fn parse_size(text: &str) -> Option<usize> {
    let size = bytesize::ByteSize::from_str(text).ok()?;
    usize::try_from(size.as_u64())
        .ok()
        .filter(|bytes| *bytes > 0)
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| !duration.is_zero())
}

fn is_address(text: &str) -> bool {
    text.starts_with("unix:/")
        || ["http://", "https://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
            && tonic::transport::Endpoint::from_str(text).is_ok()
}

/// What keys say about each other. Looks at the document, so that it is reported together with
/// what is wrong with its shape.
fn check_relations(document: &Value, problems: &mut Problems<'_>) {
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
            "larger than limits.chunk",
            Some("a row must fit into a chunk".into()),
        );
    }
    plugins::check_stack(document, problems);
    database::check_timeouts(document, problems);
    missing::check_limits(document, problems);
    for (name, pipeline) in document
        .get("pipelines")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        check_bounds(name, pipeline, problems);
        plugins::check_names(name, pipeline, problems);
        let settings = pipeline.get("settings").and_then(Value::as_object);
        let (Some(plugins), Some(settings)) =
            (pipeline.get("plugins").and_then(Value::as_array), settings)
        else {
            continue;
        };
        for plugin in settings
            .keys()
            .filter(|plugin| !plugins.iter().any(|used| used == plugin.as_str()))
        {
            let hint = format!("name it in pipelines.{name}.plugins, or remove its settings");
            let message = "settings of a plugin that the pipeline does not use";
            problems.add(
                &["pipelines", name, "settings", plugin],
                message,
                Some(hint),
            );
        }
    }
}

/// A least number that is above the most.
fn check_bounds(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let bounds = [
        ("/source/chunk_rows", "/source/max_chunk_rows", CHUNK_ROWS),
        ("/writers", "/max_writers", 1),
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
        let message = format!("{most} is less than `{least_key}`, {least}");
        let hint = format!("leave it out to pin `{least_key}`");
        problems.add(&path, message, Some(hint));
    }
}

/// The keys the schema knows at `path`.
fn known_keys(schema: &Value, path: &[&str]) -> Vec<String> {
    let mut node = schema;
    for part in path {
        let next = node
            .pointer(&format!("/properties/{part}"))
            .or_else(|| node.get("additionalProperties"));
        let Some(next) = next else { return Vec::new() };
        node = resolve(schema, next);
    }
    let properties = node.get("properties").and_then(Value::as_object);
    properties
        .map(|known| known.keys().cloned().collect())
        .unwrap_or_default()
}

fn resolve<'s>(schema: &'s Value, mut node: &'s Value) -> &'s Value {
    while let Some(next) = node
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|target| schema.pointer(target.trim_start_matches('#')))
    {
        node = next;
    }
    node
}

fn suggestion(key: &str, known: &[String]) -> String {
    let closest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match closest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "remove it".into(),
        None => format!("remove it; known here: {}", known.join(", ")),
    }
}

/// Puts environment variables in the place of `${NAME}`; `$${` stands for `${`.
fn substitute<'d>(
    value: &mut Value,
    path: &mut Vec<String>,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems<'d>,
) {
    match value {
        Value::String(text) if text.contains("${") => match expand(text, variable) {
            Ok(expanded) => *text = expanded,
            Err((message, hint)) => {
                let parts: Vec<&str> = path.iter().map(String::as_str).collect();
                problems.add(&parts, message, Some(hint));
            }
        },
        Value::Array(items) => {
            for item in items {
                substitute(item, path, variable, problems);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                path.push(key.clone());
                substitute(entry, path, variable, problems);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, (String, String)> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = reference.get(2..).unwrap_or_default();
            continue;
        }
        let Some((name, after)) = reference.get(2..).unwrap_or_default().split_once('}') else {
            return Err((
                "`${` without `}`".into(),
                "write $${ for the characters themselves".into(),
            ));
        };
        let Some(value) = variable(name) else {
            return Err((
                format!("the environment variable {name} is not set"),
                format!("set {name}, or write the value here"),
            ));
        };
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

pub(super) fn size(text: Option<String>, default: usize) -> usize {
    text.as_deref().and_then(parse_size).unwrap_or(default)
}

pub(super) fn duration(text: Option<String>, default: Duration) -> Duration {
    text.as_deref().and_then(parse_duration).unwrap_or(default)
}
