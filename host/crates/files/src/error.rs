//! What is wrong with a file.

use std::fmt;
use std::io;
use std::path::Path;

/// A file that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub struct FileError {
    /// Path of the file, as it was named.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// True if it may be right when it is tried again.
    pub may_pass: bool,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl FileError {
    /// An error that comes again each time.
    #[must_use]
    pub fn new(path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.display().to_string(),
            message: message.into(),
            hint: None,
            may_pass: false,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the operating system.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, IsADirectory, NotFound, PermissionDenied};
        let this = Self::new(path, error.to_string());
        match error.kind() {
            NotFound => {
                this.hint("put it back, or start a new run without it: `forebay checkpoint reset`")
            }
            PermissionDenied => this.hint("let the user of this host read it"),
            InvalidData | InvalidInput | IsADirectory => this,
            io::ErrorKind::UnexpectedEof => {
                this.hint("it is cut off: write it whole, under another name, and rename it then")
            }
            // A network file system that is away, for example.
            _ => Self {
                may_pass: true,
                ..this
            },
        }
    }
}

impl FileError {
    pub(crate) fn parquet(path: &Path, error: &parquet::errors::ParquetError) -> Self {
        Self::unreadable(path, "Parquet", error)
    }

    pub(crate) fn arrow(path: &Path, error: &arrow_schema::ArrowError) -> Self {
        Self::unreadable(path, "Arrow or Parquet", error)
    }

    fn unreadable(path: &Path, format: &str, error: &dyn fmt::Display) -> Self {
        Self::new(path, format!("is not readable as {format}: {error}"))
            .hint("if it is still being written, write it under another name and rename it then")
    }
}
