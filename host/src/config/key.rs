//! The key `key` of a pipeline: the column by which rows are found.

use std::collections::BTreeMap;

use serde_json::Value;

use super::file::Key as Raw;
use super::problems::Problems;
use super::suggestion::closest;

/// The column by which rows are found, where it is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyChoice {
    /// The primary key, or another one if only that is possible.
    #[default]
    Found,
    /// This column, in every table that has it.
    Column(String),
    /// A column for each of these tables, by the name in `tables`.
    Tables(BTreeMap<String, String>),
}

/// Reports a value of `key` that has none of its forms.
pub(super) fn report_invalid(path: &[&str], problems: &mut Problems<'_>) {
    problems.add(
        path,
        "is neither a column nor a column for each table",
        Some("write \"COLUMN\" or { TABLE = \"COLUMN\" }".into()),
    );
}

/// Checks that a pipeline chooses keys only of tables that it has.
pub(super) fn check_tables(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let tables = pipeline.get("tables").and_then(Value::as_array);
    let chosen = pipeline.get("key").and_then(Value::as_object);
    let (Some(tables), Some(chosen)) = (tables, chosen) else {
        return;
    };
    let tables: Vec<&str> = tables.iter().filter_map(Value::as_str).collect();
    for table in chosen.keys().map(String::as_str) {
        if !tables.contains(&table) {
            let hint = match closest(table, tables.iter().copied()) {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => format!("name it in pipelines.{name}.tables, or remove its key"),
            };
            problems.add(
                &["pipelines", name, "key", table],
                "the key of a table that the pipeline does not have",
                Some(hint),
            );
        }
    }
}

/// The checked choice.
pub(super) fn key(raw: Option<Raw>) -> KeyChoice {
    match raw {
        None => KeyChoice::Found,
        Some(Raw::Column(column)) => KeyChoice::Column(column),
        Some(Raw::Tables(columns)) => KeyChoice::Tables(columns),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use insta::assert_snapshot;

    use crate::config::{Config, ConfigError, KeyChoice};

    fn parse(line: &str) -> Result<KeyChoice, ConfigError> {
        let text = format!(
            "[pipelines.p]\nsource = {{ grpc = \"http://localhost:1\", dataset = \"d\" }}\ntables = [\"docs\", \"app.parts\"]\n{line}"
        );
        let config = Config::parse(Path::new("forebay.toml"), &text, &|_| None)?;
        Ok(config.pipelines.into_iter().next().unwrap().key)
    }

    #[test]
    fn both_forms_are_understood() {
        assert_eq!(parse("").unwrap(), KeyChoice::Found);
        let column = KeyChoice::Column("doc_uuid".into());
        assert_eq!(parse("key = \"doc_uuid\"").unwrap(), column);
        let columns = [("docs", "uuid"), ("app.parts", "doc")];
        let columns = columns.map(|(table, column)| (table.into(), column.into()));
        assert_eq!(
            parse("key = { docs = \"uuid\", \"app.parts\" = \"doc\" }").unwrap(),
            KeyChoice::Tables(columns.into())
        );
    }

    #[test]
    fn anything_else_is_reported() {
        let mut said = String::new();
        for line in [
            "key = [\"a\", \"b\"]",
            "key = \"\"",
            "key = { docs = 1 }",
            "key = { dosc = \"uuid\", part = \"doc\" }",
        ] {
            said += &format!("{}\n", parse(line).unwrap_err());
        }
        assert_snapshot!(said, @r#"
        forebay.toml:4: pipelines.p.key: is neither a column nor a column for each table
          hint: write "COLUMN" or { TABLE = "COLUMN" }
        forebay.toml:4: pipelines.p.key: is neither a column nor a column for each table
          hint: write "COLUMN" or { TABLE = "COLUMN" }
        forebay.toml:4: pipelines.p.key: is neither a column nor a column for each table
          hint: write "COLUMN" or { TABLE = "COLUMN" }
        forebay.toml:4: pipelines.p.key.dosc: the key of a table that the pipeline does not have
          hint: did you mean `docs`?
        forebay.toml:4: pipelines.p.key.part: the key of a table that the pipeline does not have
          hint: name it in pipelines.p.tables, or remove its key
        "#);
    }
}
