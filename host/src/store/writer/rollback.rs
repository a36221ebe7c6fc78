//! Why an attempt to write a chunk was rolled back, and the mode of the next attempt.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::policy::{Halted, TooManyDeadLetters};
use crate::store::{Blame, StoreError, blame};

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

impl WriteMode {
    /// The statements that begin an attempt; `begin` begins the transaction.
    pub(super) fn begin(self, begin: &SqlStr) -> SqlStr {
        let more = match self {
            Self::Trusting => return begin.clone(),
            Self::Isolating => "savepoint wave; savepoint part",
            Self::Immediate => "set constraints all immediate; savepoint wave; savepoint part",
        };
        AssertSqlSafe(format!("{}; {more}", begin.as_str())).into_sql_str()
    }
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

impl Rollback {
    /// For an error of the commit itself.
    pub(super) fn of_commit(error: sqlx::Error) -> Self {
        match blame(&error) {
            Blame::Refusal => Self::RowAtCommit,
            Blame::Server => error.into(),
        }
    }
}

impl<E: Into<CommitError>> From<E> for Rollback {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
