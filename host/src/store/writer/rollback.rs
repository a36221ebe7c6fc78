//! Why an attempt to write a chunk was rolled back, and how the next one is made.

use crate::policy::Halted;
use crate::store::StoreError;

/// Why a chunk was not committed. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The database's fault, or another host's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy's decision.
    #[error(transparent)]
    Halted(#[from] Halted),
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How a chunk's rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// All at once: nearly always right.
    Trusting,
    /// In savepoints, looking for the rows to blame. Deferred constraints stay deferred, so that
    /// rows of the chunk may refer to each other.
    Isolating,
    /// The same with no constraint deferred.
    Immediate,
}
/// Why an attempt was rolled back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rollback {
    /// Some row's value is to blame, as a statement found.
    #[error("a row is refused")]
    Row,
    /// The same, found by the commit.
    #[error("a row is refused at commit")]
    RowAtCommit,
    /// Before its turn, and somebody waited for it.
    #[error("it was in the way of another transaction")]
    InTheWay,
    #[error("{0}")]
    Error(CommitError),
}

impl<E: Into<CommitError>> From<E> for Rollback {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
