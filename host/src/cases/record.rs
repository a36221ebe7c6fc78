//! Writes cases down: rows as they met a plugin, exactly, behind what a file has already.

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
    /// Known by it: a case of a name that the file has is not written again.
    pub name: String,
    /// For people, in lines.
    pub comment: String,
    /// What `configure` gets.
    pub settings: Settings,
    /// Each with what must become of it, as TOML.
    pub rows: Vec<(CaseRow, Option<String>)>,
    /// Each with what must become of it, as TOML.
    pub failures: Vec<(CaseFailure, Option<String>)>,
}

/// A row of a batch with everything that it has now.
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

/// The fields of a row that are not null.
#[must_use]
pub fn fields(batch: &Batch, index: u32) -> Vec<(String, Value)> {
    let fields = batch.schema.columns.iter().zip(batch.row(index));
    fields
        .filter(|(_, value)| **value != Value::Null)
        .map(|(column, value)| (column.name.clone(), value.clone()))
        .collect()
}

/// What a plugin makes of a row now, as an expectation in TOML; `None` if it fails on it.
///
/// # Errors
///
/// When it refuses its settings.
pub fn answer(
    plugin: &std::sync::Arc<Plugin>,
    settings: &Settings,
    schema: &std::sync::Arc<Schema>,
    row: &CaseRow,
) -> Result<Option<String>, String> {
    apart(|| {
        let mut trial = Harness::new(plugin, settings, schema)?;
        let answers = trial.rows(&[row]).unwrap_or_default();
        Ok(first(&answers))
    })
}

/// What the policy decides about a failure now, as an expectation in TOML.
///
/// # Errors
///
/// When it refuses its settings.
pub fn decision(
    plugin: &std::sync::Arc<Plugin>,
    settings: &Settings,
    schema: &std::sync::Arc<Schema>,
    failure: &CaseFailure,
) -> Result<Option<String>, String> {
    apart(|| {
        let mut trial = Harness::new(plugin, settings, schema)?;
        let answers = trial.failures(std::slice::from_ref(failure));
        Ok(first(&answers))
    })
}

fn first(answers: &[Answer]) -> Option<String> {
    answers
        .first()
        .and_then(|answer| update::of_answer(answer, None))
}

/// Writes cases to the end of a file, which is made if it is not there; returns how many were
/// new. What the file has stays as it is; columns that it does not know are added to `[columns]`.
///
/// # Errors
///
/// When the file is there and is not one of cases that more can be added to, or cannot be
/// written.
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
    // What cannot be read back must not be written.
    Suite::parse(path, &text)?;
    Ok((text, new.len()))
}

/// Why a file of cases cannot have these as well.
fn misfit(document: &DocumentMut, suite: &Suite, new: &[&NewCase]) -> Option<Problem> {
    let problem = |key: String, message: &str| Problem {
        line: None,
        key,
        message: message.to_owned(),
        hint: Some("name another file for the new cases".to_owned()),
    };
    if document.get("case").is_some_and(Item::is_value) {
        let message = "is a list in brackets, and new cases are written as `[[case]]`";
        return Some(problem("case".to_owned(), message));
    }
    // A case's settings are on top of the file's, and nothing takes one away.
    let has = |case: &NewCase, key: &str| case.settings.iter().any(|(known, _)| known == key);
    let (foreign, _) = suite
        .settings
        .iter()
        .find(|(key, _)| new.iter().any(|case| !has(case, key)))?;
    let message = "every case of this file runs with it, and the new ones ran without";
    Some(problem(format!("settings.{foreign}"), message))
}

/// The text with the types of columns that it does not tell.
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

/// A case as TOML.
#[must_use]
pub fn written(case: &NewCase) -> String {
    let mut out = String::new();
    for line in case.comment.lines() {
        // Comments cannot have control characters, and messages of plugins can.
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
