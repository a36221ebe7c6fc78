//! Appends cases to a file, with rows exactly as the plugin received them.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table};

use super::expect::Answer;
use super::harness::Harness;
use super::literal::TYPES;
use super::suite::{CaseFailure, CaseRow, Suite};
use super::update::of_key;
use super::{literal, suite, update};
use crate::config::{ConfigError, Problem};
use crate::plugin::{Plugin, Settings, apart};
use crate::row::{Batch, Column, Schema, Value};

/// A case to be written.
#[derive(Clone, Debug, Default)]
pub struct NewCase {
    /// Name of the case; a case whose name is already in the file is not written again.
    pub name: String,
    /// Comment, which may have several lines.
    pub comment: String,
    /// Settings passed to `configure`.
    pub settings: Settings,
    /// Each with its expected outcome as TOML.
    pub rows: Vec<(CaseRow, Option<String>)>,
    /// Each with its expected outcome as TOML.
    pub failures: Vec<(CaseFailure, Option<String>)>,
}

/// Copies a row of a batch in its current state.
#[must_use]
pub fn row(batch: &Batch, index: u32) -> CaseRow {
    let embeddings = batch.schema.embeddings.iter().enumerate();
    let embedding = |(at, column): (usize, &crate::row::EmbeddingColumn)| {
        let vector = batch.embeddings.get(index as usize, at)?;
        Some((column.name.clone(), vector.clone()))
    };
    CaseRow {
        key: batch.keys.get(index as usize).cloned().unwrap_or_default(),
        fields: fields(batch, index),
        embeddings: embeddings.filter_map(embedding).collect(),
        ..CaseRow::default()
    }
}

/// Copies the fields of a row that are not null.
#[must_use]
pub fn fields(batch: &Batch, index: u32) -> Vec<(String, Value)> {
    let fields = batch.schema.columns.iter().zip(batch.row(index));
    fields
        .filter(|(_, value)| **value != Value::Null)
        .map(|(column, value)| (column.name.clone(), value.clone()))
        .collect()
}

/// The current answer of a plugin to a row, as an expectation in TOML; `None` if the plugin fails.
///
/// # Errors
/// If the plugin refuses its settings.
pub fn answer(
    plugin: &std::sync::Arc<Plugin>,
    settings: &Settings,
    schema: &std::sync::Arc<Schema>,
    row: &CaseRow,
) -> Result<Option<String>, String> {
    apart(|| {
        let mut harness = Harness::new(plugin, settings, schema)?;
        let answers = harness.rows(&[row]).unwrap_or_default();
        Ok(first(&answers))
    })
}

/// The current decision of the policy about a failure, as an expectation in TOML; `None` if the
/// policy fails.
///
/// # Errors
/// If the plugin refuses its settings.
pub fn decision(
    plugin: &std::sync::Arc<Plugin>,
    settings: &Settings,
    schema: &std::sync::Arc<Schema>,
    failure: &CaseFailure,
) -> Result<Option<String>, String> {
    apart(|| {
        let mut harness = Harness::new(plugin, settings, schema)?;
        let answers = harness.failures(std::slice::from_ref(failure));
        Ok(first(&answers))
    })
}

fn first(answers: &[Answer]) -> Option<String> {
    answers
        .first()
        .and_then(|answer| update::of_answer(answer, None))
}

/// Appends cases to a file, which is created if necessary; returns the number of new cases. The
/// existing text stays as it is; unknown columns are added to `[columns]`.
///
/// # Errors
/// If the file is not a case file, cannot take the new cases, or cannot be read or written.
pub fn append(path: &Path, columns: &[Column], cases: &[NewCase]) -> anyhow::Result<usize> {
    let existing = match suite::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => anyhow::bail!("cannot read {}: {error}", path.display()),
    };
    let (text, new) = appended(path, &existing, columns, cases)?;
    if new > 0 {
        std::fs::write(path, text)
            .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
    }
    Ok(new)
}

fn appended(
    path: &Path,
    existing: &str,
    columns: &[Column],
    cases: &[NewCase],
) -> anyhow::Result<(String, usize)> {
    let suite = Suite::parse(path, existing)?;
    let is_new = |case: &&NewCase| !suite.cases.iter().any(|known| known.name == case.name);
    let new: Vec<&NewCase> = cases.iter().filter(is_new).collect();
    let document: DocumentMut = existing.parse()?;
    if let Some(problem) = misfit(&document, &suite, &new) {
        let (path, problems) = (path.to_owned(), vec![problem]);
        return Err(ConfigError { path, problems }.into());
    }
    let mut text = with_columns(existing, document, &suite.schema, columns);
    for case in &new {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&written(case));
    }
    let text = update::like(existing, &text);
    // A text that cannot be read back must not be written.
    Suite::parse(path, &text)?;
    Ok((text, new.len()))
}

/// The reason why a case file cannot take the new cases, if any.
fn misfit(document: &DocumentMut, suite: &Suite, new: &[&NewCase]) -> Option<Problem> {
    let problem = |key: String, message: &str| Problem {
        line: None,
        key,
        message: message.to_owned(),
        hint: Some("write the new cases to another file".to_owned()),
    };
    if document.get("case").is_some_and(Item::is_value) {
        let message = "is an inline list, but new cases are appended as `[[case]]` tables";
        return Some(problem("case".to_owned(), message));
    }
    // A case's settings override the file's, but cannot remove one.
    let has = |case: &NewCase, key: &str| case.settings.iter().any(|(known, _)| known == key);
    let (foreign, _) = suite
        .settings
        .iter()
        .find(|(key, _)| new.iter().any(|case| !has(case, key)))?;
    let message = "applies to every case of this file, but the new cases ran without it";
    Some(problem(format!("settings.{foreign}"), message))
}

/// Adds the missing types of columns to the text.
fn with_columns(
    text: &str,
    mut document: DocumentMut,
    known: &Schema,
    columns: &[Column],
) -> String {
    let is_known = |column: &Column| {
        let known = known.columns.iter().find(|known| known.name == column.name);
        known.is_some_and(|known| known.field_type.is_some())
    };
    let missing: Vec<_> = columns
        .iter()
        .filter(|column| !is_known(column))
        .filter_map(|column| Some((column.name.as_str(), type_name(column)?)))
        .collect();
    if missing.is_empty() {
        return text.to_owned();
    }
    if text.trim().is_empty() {
        let lines = missing
            .iter()
            .map(|(name, type_name)| format!("{} = \"{type_name}\"\n", of_key(name)));
        return format!("{text}[columns]\n{}", lines.collect::<String>());
    }
    let table = document
        .entry("columns")
        .or_insert_with(|| Item::Table(Table::new()));
    if let Some(table) = table.as_table_like_mut() {
        for (name, type_name) in missing {
            table.insert(name, toml_edit::value(type_name));
        }
    }
    document.to_string()
}

fn type_name(column: &Column) -> Option<&'static str> {
    let mut types = TYPES.iter();
    let found = types.find(|(_, field_type)| Some(*field_type) == column.field_type);
    found.map(|(name, _)| *name)
}

/// Writes a case as TOML.
#[must_use]
pub fn written(case: &NewCase) -> String {
    let mut out = String::new();
    for line in case.comment.lines() {
        // Comments must not contain control characters, but plugin messages may.
        let line = line.replace(|c: char| c.is_control(), " ");
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
    out.push_str(&format!(
        "[[case]]\nname = {}\n",
        literal::of_text(&case.name)
    ));
    if !case.settings.is_empty() {
        let settings = case.settings.iter();
        let settings =
            settings.map(|(key, value)| format!("{} = {}", of_key(key), literal::of_text(value)));
        out.push_str(&format!("settings = {}\n", table(settings.collect())));
    }
    let line = |name: &str, value: &str| format!("  {name} = {value}\n");
    for (row, expect) in &case.rows {
        out.push_str("\n  [[case.row]]\n");
        out.push_str(&line("key", &literal::of_text(&row.key)));
        out.push_str(&fields_line(&row.fields));
        if !row.embeddings.is_empty() {
            let embeddings = row.embeddings.iter();
            let embeddings = embeddings
                .map(|(name, vector)| format!("{} = {}", of_key(name), literal::of_vector(vector)));
            out.push_str(&line("embeddings", &table(embeddings.collect())));
        }
        out.extend(expect.iter().map(|expect| line("expect", expect)));
    }
    for (failure, expect) in &case.failures {
        out.push_str("\n  [[case.failure]]\n");
        if !failure.key.is_empty() {
            out.push_str(&line("key", &literal::of_text(&failure.key)));
        }
        out.push_str(&line("stage", &literal::of_text(failure.stage.as_str())));
        out.push_str(&line("code", &literal::of_text(&failure.code)));
        out.push_str(&line("message", &literal::of_text(&failure.message)));
        if failure.attempt > 1 {
            out.push_str(&line("attempt", &failure.attempt.to_string()));
        }
        out.push_str(&fields_line(&failure.fields));
        out.extend(expect.iter().map(|expect| line("expect", expect)));
    }
    out
}

fn fields_line(fields: &[(String, Value)]) -> String {
    if fields.is_empty() {
        return String::new();
    }
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{} = {}", of_key(name), literal::of_value(value)));
    format!("  fields = {}\n", table(fields.collect()))
}

fn table(members: Vec<String>) -> String {
    format!("{{ {} }}", members.join(", "))
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
