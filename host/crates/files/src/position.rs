//! How far a file has been read.

use serde::{Deserialize, Serialize};

/// How far a file has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file, as [`identity`](crate::identity::identity) knows it.
    pub file: String,
    /// Rows that were read.
    pub row: u64,
    /// The row group of the next row, from 0 on, if the file has groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// Lines that were read, if the file has lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Their bytes, uncompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
}

impl Position {
    /// The position that a text stands for, if it does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As a text, for the checkpoint.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
