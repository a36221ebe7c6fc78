//! Which format a file has, by its name.

use std::ffi::OsStr;
use std::path::Path;

use crate::FileError;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, as a file (Feather version 2) or as a stream.
    Arrow,
    /// A JSON object a line.
    JsonLines(Compression),
    /// Comma-separated values (RFC 4180), with a header.
    Csv(Compression),
}

/// Compression of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// gzip, in one member or several.
    Gzip,
    /// Zstandard, in one frame or several.
    Zstandard,
}

/// The endings that are known, for messages.
pub const ENDINGS: &str = ".parquet, .arrow, .arrows, .feather, .ipc, .jsonl, .ndjson, .csv, and the last three with .gz or .zst";

impl Kind {
    /// The format of a file with this name.
    ///
    /// # Errors
    /// If its ending is not known.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let (stem, compression) = if let Some(stem) = name.strip_suffix(".gz") {
            (stem, Compression::Gzip)
        } else if let Some(stem) = name.strip_suffix(".zst") {
            (stem, Compression::Zstandard)
        } else {
            (name.as_str(), Compression::None)
        };
        let ending = stem.rsplit_once('.').map_or("", |(_, ending)| ending);
        match (ending, compression) {
            ("jsonl" | "ndjson", _) => Ok(Self::JsonLines(compression)),
            ("csv", _) => Ok(Self::Csv(compression)),
            ("parquet", Compression::None) => Ok(Self::Parquet),
            ("arrow" | "arrows" | "feather" | "ipc", Compression::None) => Ok(Self::Arrow),
            _ => Err(FileError::new(path, "the format is not known by its name")
                .hint(format!("known endings: {ENDINGS}"))),
        }
    }

    /// True if each row is a line.
    #[must_use]
    pub fn is_lines(self) -> bool {
        matches!(self, Self::JsonLines(_) | Self::Csv(_))
    }
}
