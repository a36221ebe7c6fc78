//! A file of cases, parsed and checked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytestring::ByteString;

use super::expect::{Expect, Verdict};
use super::parse;
use crate::config::{ConfigError, Problem};
use crate::plugin::Settings;
use crate::row::{Schema, Stage, Value, Vector};

/// Maximum size of a case file in bytes.
const MAX_FILE: u64 = 64 << 20;

/// A file of cases.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Path of the file.
    pub path: PathBuf,
    /// Settings passed to `configure` in every case, in file order.
    pub settings: Settings,
    /// The columns and embeddings named by any case of the file.
    pub schema: Arc<Schema>,
    /// The cases in file order.
    pub cases: Vec<Case>,
}

/// Rows passed to a plugin in one call, and the answers that are expected.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name, unique in the file.
    pub name: String,
    /// Line number from 1.
    pub line: usize,
    /// Settings that override the file's.
    pub settings: Settings,
    /// Part of the message with which `configure` must refuse the settings.
    pub refused: Option<String>,
    /// Rows for `transform` and `validate`.
    pub rows: Vec<CaseRow>,
    /// Failures for `decide`.
    pub failures: Vec<CaseFailure>,
}

/// A row of a case.
#[derive(Clone, Debug, Default)]
pub struct CaseRow {
    /// Line number from 1; 0 if the row is not from a file.
    pub line: usize,
    /// Key of the row.
    pub key: ByteString,
    /// Values by column; columns not listed are null.
    pub fields: Vec<(String, Value)>,
    /// Embeddings by name.
    pub embeddings: Vec<(String, Vector)>,
    /// Expected outcome; `None` accepts anything except a plugin failure.
    pub expect: Option<Expect>,
}

/// A failed row of a case.
#[derive(Clone, Debug)]
pub struct CaseFailure {
    /// Line number from 1; 0 if the row is not from a file.
    pub line: usize,
    /// Key of the row, which may be empty.
    pub key: ByteString,
    /// Stage that rejected the row.
    pub stage: Stage,
    /// Error code.
    pub code: String,
    /// Error message.
    pub message: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Values by column.
    pub fields: Vec<(String, Value)>,
    /// Expected outcome; `None` accepts anything except a plugin failure.
    pub expect: Option<Verdict>,
}

/// Reads the text of a case file. It must be a regular file: a pipe could block the reader
/// forever.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > MAX_FILE {
        let message = format!("it is larger than {} MiB", MAX_FILE >> 20);
        return Err(io::Error::other(message));
    }
    std::fs::read_to_string(path)
}

impl Suite {
    /// Reads a case file.
    ///
    /// # Errors
    /// All problems of the file, each with its line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |message: String| ConfigError {
            path: path.to_owned(),
            problems: vec![Problem {
                line: None,
                key: String::new(),
                message,
                hint: None,
            }],
        };
        let text = read(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        Self::parse(path, &text)
    }

    /// Parses cases from a text; `path` appears in errors.
    ///
    /// # Errors
    /// All problems of the file, each with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        parse::suite(path, text)
    }

    /// Settings passed to `configure` in a case: the file's settings, overridden by `more`, then by
    /// the case's own.
    #[must_use]
    pub fn settings(&self, case: &Case, more: &[(String, String)]) -> Settings {
        let mut settings = self.settings.clone();
        for (key, value) in more.iter().chain(&case.settings) {
            match settings.iter_mut().find(|(known, _)| known == key) {
                Some((_, known)) => known.clone_from(value),
                None => settings.push((key.clone(), value.clone())),
            }
        }
        settings
    }
}
