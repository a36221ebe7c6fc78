//! Errors from loading a plugin.

use std::io;
use std::path::{Path, PathBuf};

use super::limits::MAX_MESSAGE;
use super::sanitize::line;

/// Reason why a file was not loaded as a plugin, or why a plugin directory cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}; {hint}", line(path.display().to_string(), MAX_MESSAGE))]
pub struct LoadError {
    /// Path of the file, or of the directory.
    pub path: PathBuf,
    /// Description of the problem.
    pub what: String,
    /// Suggested remedy.
    pub hint: String,
}

impl LoadError {
    /// Creates the error for a plugin directory that cannot be read.
    pub(super) fn of_directory(directory: &Path, error: &io::Error) -> Self {
        Self {
            path: directory.to_owned(),
            what: format!("cannot read the plugin directory: {error}"),
            hint: "check `directory` under `[plugins]`".to_owned(),
        }
    }
}

/// Problem with a file, and a suggested remedy.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) what: String,
    pub(super) hint: String,
}

impl Problem {
    /// Creates a problem from its description and hint.
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// Creates the error for the file at this path. The texts may contain names from the file and
    /// messages from the guest, so they are sanitized.
    pub(super) fn at(self, path: &Path) -> LoadError {
        LoadError {
            path: path.to_owned(),
            what: line(self.what, MAX_MESSAGE),
            hint: line(self.hint, MAX_MESSAGE),
        }
    }
}
