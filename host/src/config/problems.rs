//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// From 1; `None` if the problem is something that is absent.
    pub line: Option<usize>,
    /// Such as `pipelines.recruit.source.chunk_rows`; empty for the file as a whole.
    pub key: String,
    /// Description of the problem.
    pub message: String,
    /// Suggested remedy.
    pub hint: Option<String>,
}

/// All problems of a file.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let problem = Problem {
            line: None,
            key: String::new(),
            message: format!("cannot be read: {error}"),
            hint: Some(
                "name another file with --config, or start from examples/recruit/forebay.toml"
                    .into(),
            ),
        };
        Self {
            path: path.into(),
            problems: vec![problem],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// Collects problems and finds the lines of keys.
pub(super) struct Problems<'t> {
    text: &'t str,
    root: DeTable<'t>,
    found: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str, root: DeTable<'t>) -> Self {
        Self {
            text,
            root,
            found: Vec::new(),
        }
    }

    /// Notes a problem of the value at `path`.
    pub(super) fn add(&mut self, path: &[&str], message: impl Into<String>, hint: Option<String>) {
        let line = self.offset(path).map(|offset| line_of(self.text, offset));
        let problem = Problem {
            line,
            key: path.join("."),
            message: message.into(),
            hint,
        };
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// True if a problem of the value at `path` is noted already.
    pub(super) fn has_one_at(&self, path: &[&str]) -> bool {
        let key = path.join(".");
        self.found.iter().any(|problem| problem.key == key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All problems, in the order of the file.
    pub(super) fn into_error(mut self, path: &Path) -> ConfigError {
        self.found
            .sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        ConfigError {
            path: path.into(),
            problems: self.found,
        }
    }

    /// Offset of the last part of `path` that exists; `None` if not even its first does.
    fn offset(&self, path: &[&str]) -> Option<usize> {
        let mut table = &self.root;
        let mut offset = None;
        for part in path {
            let Some((key, value)) = find(table, part) else {
                break;
            };
            offset = Some(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        offset
    }
}

type Entry<'a, 't> = (
    &'a Spanned<toml::de::DeString<'t>>,
    &'a Spanned<DeValue<'t>>,
);

fn find<'a, 't>(table: &'a DeTable<'t>, name: &str) -> Option<Entry<'a, 't>> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

/// The line of an offset in bytes, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}
