//! Environment variables in texts of the file: `${NAME}`, and files of secrets: `${file:PATH}`.

use serde_json::Value;

use super::problems::Problems;
use super::secret::move_files;

/// The reason why a text cannot be expanded.
#[derive(Debug)]
enum ExpandError {
    Unclosed,
    Unset(String),
}

impl ExpandError {
    fn message(&self) -> String {
        match self {
            Self::Unclosed => "`${` without `}`".into(),
            Self::Unset(name) => format!("the environment variable {name} is not set"),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Unclosed => "write $${ for a literal ${".into(),
            Self::Unset(name) => format!("set {name}, or write the value here"),
        }
    }
}

/// Replaces `${NAME}` by the value of the environment variable; `$${` stands for `${`.
pub(super) fn substitute(
    value: &mut Value,
    path: &mut Vec<String>,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems<'_>,
) {
    match value {
        Value::String(text) if text.contains("${") && !is_reported(path, problems) => {
            match expand(text, variable) {
                Ok(expanded) => *text = expanded,
                Err(error) => {
                    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
                    problems.add(&parts, error.message(), Some(error.hint()));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                substitute(item, path, variable, problems);
            }
        }
        Value::Object(entries) => {
            move_files(entries, path, problems);
            for (key, entry) in entries {
                path.push(key.clone());
                substitute(entry, path, variable, problems);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_reported(path: &[String], problems: &Problems<'_>) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    problems.has_one_at(&path)
}

fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
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
            return Err(ExpandError::Unclosed);
        };
        let Some(value) = variable(name) else {
            return Err(ExpandError::Unset(name.to_owned()));
        };
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
