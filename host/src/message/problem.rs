//! What is wrong with a configuration beside the descriptors that it is about.

use std::fmt;

/// Something in the configuration of a source that its descriptors do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key below `source`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Problem {
    pub(super) fn new(
        key: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`source.{}` {}", self.key, self.message)
    }
}
