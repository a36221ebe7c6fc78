//! Findings of a preflight.

use serde::Serialize;

use crate::route::Misfit;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run would fail, or lose what it has written.
    Error,
    /// Data may be lost, or the run may fail later.
    Warning,
    /// Something costs speed, or is good to know.
    Advice,
}

/// A finding about the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Severity.
    pub severity: Severity,
    /// Such as `database` or `recruit_embedding.vector`.
    pub place: String,
    /// The observation.
    pub message: String,
    /// Suggested remedy.
    pub hint: String,
}

impl Finding {
    pub(super) fn new(
        severity: Severity,
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            place: place.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl From<Finding> for Misfit {
    fn from(finding: Finding) -> Self {
        Self {
            place: finding.place,
            message: finding.message,
            hint: finding.hint,
        }
    }
}
