//! How commands end.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::error::PipelineError;

/// The exit code of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Halted = 3,
    DeadLetters = 4,
    Differs = 5,
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a command that ends with this error.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let usage = error.is::<UsageError>() || error.is::<ConfigError>();
        match error.downcast_ref::<PipelineError>() {
            Some(PipelineError::Unfit(_)) => Self::Usage,
            Some(PipelineError::Overdue(_)) => Self::Interrupted,
            Some(PipelineError::Halted(_)) => Self::Halted,
            Some(PipelineError::TooManyDeadLetters(_)) => Self::DeadLetters,
            _ if usage => Self::Usage,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A signal ended a command before its work was done: exit code 130.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// An error in how the command is used: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);
