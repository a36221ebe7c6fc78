//! Why a pipeline stops, by who is to blame.

use std::{fmt, time::Duration};

use crate::{
    policy::Halted,
    retry::Retry,
    source::SourceError,
    store::{CommitError, StoreError, target::Misfit},
};

/// Why a pipeline did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Found before the first row; all of it.
    #[error("{}", Unfit(.0))]
    Unfit(Vec<Misfit>),
    /// The source's fault.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The database's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy's decision, or a broken plugin.
    #[error("{0}")]
    Halted(#[from] Halted),
    /// Away for too long.
    #[error("gave up after {}: {last}", humantime::format_duration(*.after))]
    GaveUp {
        /// As configured.
        after: Duration,
        /// What was wrong the last time.
        last: String,
    },
    /// A bug, or a system out of resources.
    #[error("{0}")]
    Broken(String),
}

struct Unfit<'a>(&'a [Misfit]);

impl fmt::Display for Unfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, misfit) in self.0.iter().enumerate() {
            let newline = if index > 0 { "\n" } else { "" };
            write!(
                f,
                "{newline}{}: {}\n  hint: {}",
                misfit.place, misfit.message, misfit.hint
            )?;
        }
        Ok(())
    }
}

impl From<CommitError> for PipelineError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Self::Store(error),
            CommitError::Halted(halted) => Self::Halted(halted),
        }
    }
}

impl Retry for PipelineError {
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Source(SourceError::Away { .. })
                | Self::Store(StoreError::Away(_) | StoreError::Conflict(_))
        )
    }
}
