//! The cases of a file, checked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytestring::ByteString;

use super::expect::{Expect, Verdict};
use super::parse;
use crate::config::{ConfigError, Problem};
use crate::plugin::Settings;
use crate::row::{Schema, Stage, Value, Vector};

/// Bytes of a file of cases.
const MAX_FILE: u64 = 64 << 20;

/// A file of cases.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Where it was read from.
    pub path: PathBuf,
    /// What `configure` gets in every case, in the order of the file.
    pub settings: Settings,
    /// The columns and embeddings that any case of the file names.
    pub schema: Arc<Schema>,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// Rows that a plugin gets in one call, and what it must make of them.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique in the file.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// On top of the file's.
    pub settings: Settings,
    /// A part of the message with which `configure` must refuse the settings.
    pub refused: Option<String>,
    /// For `transform` and `validate`.
    pub rows: Vec<CaseRow>,
    /// For `decide`.
    pub failures: Vec<CaseFailure>,
}

/// A row of a case.
#[derive(Clone, Debug, Default)]
pub struct CaseRow {
    /// From 1; 0 where it stands in no file.
    pub line: usize,
    /// Its key.
    pub key: ByteString,
    /// Its values by column; the others are null.
    pub fields: Vec<(String, Value)>,
    /// Its embeddings by name.
    pub embeddings: Vec<(String, Vector)>,
    /// What must become of it; `None`: anything but a failure of the plugin.
    pub expect: Option<Expect>,
}

/// A failed row of a case.
#[derive(Clone, Debug)]
pub struct CaseFailure {
    /// From 1; 0 where it stands in no file.
    pub line: usize,
    /// The row's key, which may be empty.
    pub key: ByteString,
    /// Where it failed.
    pub stage: Stage,
    /// Why, for machines.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// How often, from 1.
    pub attempt: u32,
    /// Its values by column.
    pub fields: Vec<(String, Value)>,
    /// What must become of it; `None`: anything but a failure of the plugin.
    pub expect: Option<Verdict>,
}

/// The text of a file of cases, which must be a file: a pipe could make the reader wait for ever.
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
    /// Reads a file of cases.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its line.
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

    /// Reads cases from a text; `path` is what errors name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        parse::suite(path, text)
    }

    /// What `configure` gets in a case: the file's settings, `more` over them, and over both the
    /// case's own.
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
