//! Why an attempt to write a chunk was rolled back, and the mode of the next attempt.

use crate::policy::{Halted, TooManyDeadLetters};
use crate::store::StoreError;

/// Why a chunk was not committed. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The database failed, or another host has taken over.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy halted the pipeline.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// The chunk would exceed the limit of dead letters.
    #[error(transparent)]
    TooManyDeadLetters(#[from] TooManyDeadLetters),
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How the rows of a chunk are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// All at once: nearly always succeeds.
    Trusting,
    /// In savepoints, to find the rows to blame. Deferred constraints stay deferred, so that rows
    /// of the chunk may refer to each other.
    Isolating,
    /// Like `Isolating`, with no constraint deferred.
    Immediate,
}
/// Why an attempt was rolled back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rollback {
    /// A statement failed because of a row's value.
    #[error("a row was refused")]
    Row,
    /// The commit failed because of a row's value.
    #[error("a row was refused at commit")]
    RowAtCommit,
    /// Another transaction was waiting for this one before its turn.
    #[error("another transaction was waiting for this one")]
    InTheWay,
    /// Anything else.
    #[error("{0}")]
    Error(CommitError),
}

impl<E: Into<CommitError>> From<E> for Rollback {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
