//! Unknown and missing keys, types, ranges and formats: all that the schema says.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::format::FORMATS;
use super::problems::Problems;
use super::schema::schema;
use super::suggestion::closest;
use super::{key, method, missing};

/// Checks a document against the schema.
pub(super) fn check_shape(document: &Value, problems: &mut Problems<'_>) {
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
        report(&schema, &path, &error, problems);
    }
}

/// Reports what is wrong with the value at `path`.
fn report(schema: &Value, path: &[&str], error: &ValidationError<'_>, problems: &mut Problems<'_>) {
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_keys(schema, path);
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
            let hint = "add at least one, such as [pipelines.recruit]";
            problems.add(path, "is empty", Some(hint.into()));
        }
        ValidationErrorKind::MinItems { .. } => {
            problems.add(path, "is empty", Some("name at least one".into()));
        }
        ValidationErrorKind::Enum { options } => {
            let message = format!("{} is not one of {}", error.instance(), listed(options));
            problems.add(path, message, None);
        }
        // What is neither a limit nor the table of a plugin.
        ValidationErrorKind::Type { .. } if is_unknown_limit(schema, path) => {
            let key = path.last().copied().unwrap_or_default();
            let known = known_keys(schema, &["plugins", "limits"]);
            problems.add(path, "unknown key", Some(suggestion(key, &known)));
        }
        ValidationErrorKind::Type {
            kind: TypeKind::Single(expected),
        } => {
            let (wanted, hint) = described(expected.as_str());
            problems.add(path, format!("is not {wanted}"), Some(hint.into()));
        }
        ValidationErrorKind::AnyOf { .. } if method::is_of_source(path) => {
            method::report_invalid(path, problems);
        }
        ValidationErrorKind::AnyOf { .. } if path.last() == Some(&"missing") => {
            missing::report_invalid(path, problems);
        }
        ValidationErrorKind::AnyOf { .. } if path.last() == Some(&"key") => {
            key::report_invalid(path, problems);
        }
        // A variable that is not set has no format either.
        ValidationErrorKind::Format { .. } if problems.has_one_at(path) => {}
        ValidationErrorKind::Format { format } => {
            report_format(path, format, error.instance(), problems);
        }
        _ => problems.add(path, error.to_string(), None),
    }
}

/// Reports a text that is not in its format.
fn report_format(path: &[&str], format: &str, value: &Value, problems: &mut Problems<'_>) {
    if let Some(known) = FORMATS.iter().find(|known| known.name == format) {
        let text = value.as_str().filter(|_| !known.secret);
        let shown = text.map(|text| format!("`{text}` ")).unwrap_or_default();
        let message = format!("{shown}is not {}", known.what);
        problems.add(path, message, Some(known.hint.into()));
    }
}

/// A list of all options, for a message.
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

/// The TOML name of a JSON type, and how to write a value of it.
fn described(json_type: &str) -> (&'static str, &'static str) {
    match json_type {
        "string" => ("a string", "write the value in quotes"),
        "integer" => ("an integer", "write it without quotes"),
        "array" => ("an array", "write [\"a\", \"b\"]"),
        _ => ("a table", "write { key = \"value\" }"),
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

/// True for a key of `[plugins.limits]` that is no limit. A table there has the limits of a plugin.
fn is_unknown_limit(schema: &Value, path: &[&str]) -> bool {
    matches!(path, ["plugins", "limits", key]
        if !known_keys(schema, &["plugins", "limits"]).iter().any(|known| known == key))
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
    match closest(key, known.iter().map(String::as_str)) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "remove it".into(),
        None => format!("remove it; known keys: {}", known.join(", ")),
    }
}
