//! Parses the text of a case file, and collects all its problems.

mod expectation;
mod fields;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytestring::ByteString;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::expectation::{expect, verdict};
use self::fields::{fields, named};
use super::expect::Expect;
use super::literal;
use super::literal::TYPES;
use super::reader::{Node, Reader};
use super::suite::{Case, CaseFailure, CaseRow, Suite};
use crate::config::ConfigError;
use crate::plugin::Settings;
use crate::row::{Column, EmbeddingColumn, FieldType, Schema, Stage};

/// Parses a case file.
pub(super) fn suite(path: &Path, text: &str) -> Result<Suite, ConfigError> {
    let mut reader = Reader::new(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        reader.wrong_syntax(error);
    }
    let span = document.span();
    let root = Spanned::new(span, DeValue::Table(document.into_inner()));
    // Problems that follow from a syntax error are not reported.
    let suite = if syntax.is_empty() {
        read(&mut reader, path, &root)
    } else {
        None
    };
    match suite {
        Some(suite) if reader.problems.is_empty() => Ok(suite),
        _ => Err(ConfigError {
            path: path.to_owned(),
            problems: reader.problems,
        }),
    }
}

fn read(reader: &mut Reader<'_>, path: &Path, root: &Node<'_>) -> Option<Suite> {
    let entries = reader.entries(root, "", &["settings", "columns", "case"])?;
    let mut schema = Schema::default();
    if let Some(columns) = entries.get("columns") {
        read_columns(reader, columns, &mut schema);
    }
    let settings = settings(reader, entries.get("settings"), "settings");
    let mut cases = Vec::new();
    let mut names = HashSet::new();
    let tables = match entries.get("case") {
        Some(node) => reader.list(node, "case").unwrap_or_default(),
        None => Vec::new(),
    };
    for table in tables {
        let Some(case) = case(reader, table) else {
            continue;
        };
        if !names.insert(case.name.clone()) {
            reader.wrong::<()>(
                table,
                "case.name",
                format!("duplicate case name `{}`", case.name),
            );
        }
        name_columns(&mut schema, &case);
        cases.push(case);
    }
    Some(Suite {
        path: path.to_owned(),
        settings,
        schema: Arc::new(schema),
        cases,
    })
}

fn read_columns(reader: &mut Reader<'_>, node: &Node<'_>, schema: &mut Schema) {
    let Some(columns) = reader.table(node, "columns") else {
        return;
    };
    for (name, node) in columns.iter() {
        let key = format!("columns.{name}");
        let Some(text) = reader.text(node, &key) else {
            continue;
        };
        match TYPES.iter().find(|(known, _)| *known == text) {
            Some((_, field_type)) => add_column(schema, name, Some(*field_type)),
            None => {
                let known: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
                let message = format!(
                    "unknown type `{text}`; valid types are {}",
                    known.join(", ")
                );
                reader.wrong::<()>(node, &key, message);
            }
        }
    }
}

/// Adds the columns and embeddings that a case names to those of its file.
fn name_columns(schema: &mut Schema, case: &Case) {
    let fields = case.rows.iter().flat_map(|row| &row.fields);
    let known = case.failures.iter().flat_map(|failure| &failure.fields);
    for (name, value) in fields.chain(known) {
        add_column(schema, name, literal::type_of(value));
    }
    for row in &case.rows {
        for (name, vector) in &row.embeddings {
            if schema.embedding(name).is_none() {
                schema.embeddings.push(EmbeddingColumn {
                    name: name.clone(),
                    dimensions: vector.dimensions(),
                });
            }
        }
        if let Some(Expect::Accept { fields, .. }) = &row.expect {
            for (name, value) in fields {
                add_column(schema, name, literal::type_of(value));
            }
        }
    }
}

/// Adds a column if its name is new, and sets its type if that was unknown.
pub(super) fn add_column(schema: &mut Schema, name: &str, field_type: Option<FieldType>) {
    match schema.columns.iter_mut().find(|column| column.name == name) {
        Some(column) => column.field_type = column.field_type.or(field_type),
        None => schema.columns.push(Column {
            name: name.to_owned(),
            field_type,
        }),
    }
}

fn settings(reader: &mut Reader<'_>, node: Option<&Node<'_>>, key: &str) -> Settings {
    let Some(entries) = node.and_then(|node| reader.table(node, key)) else {
        return Settings::new();
    };
    let setting = |(name, node): (&str, &Node<'_>)| {
        let value = reader.text(node, &format!("{key}.{name}"))?;
        Some((name.to_owned(), value))
    };
    entries.iter().filter_map(setting).collect()
}

fn case(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Case> {
    let known = ["name", "settings", "refused", "row", "failure"];
    let entries = reader.entries(node, "case", &known)?;
    let Some(name) = entries.get("name") else {
        return reader.wrong(node, "case", "`name` is missing");
    };
    let name = reader.text(name, "case.name")?;
    let refused = match entries.get("refused") {
        Some(node) => Some(reader.text(node, "case.refused")?),
        None => None,
    };
    let mut nodes = |name: &str| match entries.get(name) {
        Some(node) => reader
            .list(node, &format!("case.{name}"))
            .unwrap_or_default(),
        None => Vec::new(),
    };
    let (rows, failures) = (nodes("row"), nodes("failure"));
    if refused.is_some() == (!rows.is_empty() || !failures.is_empty()) {
        let message = "a case must have rows (`[[case.row]]`), failures (`[[case.failure]]`) or both, or only `refused`";
        reader.wrong::<()>(node, "case", message);
    }
    Some(Case {
        line: reader.line(&node.span()),
        settings: settings(reader, entries.get("settings"), "case.settings"),
        name,
        refused,
        rows: rows
            .into_iter()
            .filter_map(|node| row(reader, node))
            .collect(),
        failures: failures
            .into_iter()
            .filter_map(|node| failure(reader, node))
            .collect(),
    })
}

fn row(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<CaseRow> {
    let key = "case.row";
    let entries = reader.entries(node, key, &["key", "fields", "embeddings", "expect"])?;
    let Some(row_key) = entries.get("key") else {
        return reader.wrong(node, key, "`key` is missing");
    };
    Some(CaseRow {
        line: reader.line(&node.span()),
        key: ByteString::from(reader.text(row_key, "case.row.key")?),
        fields: fields(reader, entries.get("fields"), "case.row.fields"),
        embeddings: named(
            reader,
            entries.get("embeddings"),
            "case.row.embeddings",
            Reader::vector,
        ),
        expect: match entries.get("expect") {
            Some(node) => Some(expect(reader, node)?),
            None => None,
        },
    })
}

fn failure(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<CaseFailure> {
    let key = "case.failure";
    let known = [
        "key", "stage", "code", "message", "attempt", "fields", "expect",
    ];
    let entries = reader.entries(node, key, &known)?;
    let mut text = |name: &str, default: Option<&str>| match (entries.get(name), default) {
        (Some(node), _) => reader.text(node, &format!("{key}.{name}")),
        (None, Some(default)) => Some(default.to_owned()),
        (None, None) => reader.wrong(node, key, format!("`{name}` is missing")),
    };
    let (row_key, stage) = (text("key", Some("")), text("stage", None));
    let (code, message) = (text("code", None), text("message", Some("")));
    let stage = stage?;
    let Ok(stage) = stage.parse::<Stage>() else {
        return reader.wrong(
            node,
            key,
            format!("unknown stage `{stage}`; valid stages are decode, transform, validate, write"),
        );
    };
    let attempt = match entries.get("attempt") {
        Some(node) => match u32::try_from(reader.integer(node, key)?) {
            Ok(attempt) if attempt > 0 => attempt,
            _ => {
                return reader.wrong(node, key, format!("`attempt` must be 1 to {}", u32::MAX));
            }
        },
        None => 1,
    };
    Some(CaseFailure {
        line: reader.line(&node.span()),
        key: ByteString::from(row_key?),
        stage,
        code: code?,
        message: message?,
        attempt,
        fields: fields(reader, entries.get("fields"), "case.failure.fields"),
        expect: match entries.get("expect") {
            Some(node) => Some(verdict(reader, node)?),
            None => None,
        },
    })
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
