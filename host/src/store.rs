//! The database: all of the host's SQL is in here.
//!
//! [`Store::begin`] claims a pipeline's partitions and says from where to go on;
//! [`Writer::commit`] writes a chunk, and all that belongs to it, in one transaction. The
//! [`Committed`] it returns can be made nowhere else, so nothing can be acknowledged or
//! notified before its rows are durable.

pub mod catalog;
pub mod checkpoint;
mod connect;
mod copy;
pub mod dead_letter;
mod digest;
mod encode;
pub mod index;
mod keyed;
pub mod ledger;
mod migrate;
pub mod missing;
pub mod outbox;
pub mod preflight;
pub mod refresh;
mod statements;
pub mod target;
mod writer;

use sqlx::{PgPool, SqlStr, postgres::PgDatabaseError};

use self::connect::{Connected, Sharing};
use crate::config::{DatabaseUrl, Sessions};
pub use writer::{Behind, CommitError, Committed, DeadLetter, Totals, Turn, Writer};

/// Connections of a host that are not for writers.
const OTHERS: u32 = 2;

/// What went wrong with the database, by what is to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server is away or in trouble: worth trying again, nothing is lost.
    #[error("database: {0}")]
    Away(String),
    /// Somebody else's transaction was in the way: worth trying again at once.
    #[error("database: {0}")]
    Conflict(String),
    /// Another host owns the partition now.
    #[error("another host has taken over partition `{0}`")]
    Fenced(String),
    /// Asking again will not help.
    #[error("database: {0}")]
    Failed(String),
}

/// What an SQL error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The values of some row.
    Row,
    /// The server or the way to it.
    Server,
    /// The statement, the schema or the permissions.
    Statement,
}

/// Classifies by SQLSTATE (PostgreSQL documentation, appendix A).
pub(crate) fn blame(error: &sqlx::Error) -> Blame {
    let sqlx::Error::Database(error) = error else {
        return match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Blame::Server,
            _ => Blame::Statement,
        };
    };
    let code = error.code().unwrap_or_default().into_owned();
    let position = error
        .try_downcast_ref::<PgDatabaseError>()
        .and_then(PgDatabaseError::position);
    match (code.get(..2).unwrap_or_default(), code.as_str()) {
        // Cardinality violation (two keys that differ only for us, such as `a` and `a ` in a
        // `char` column), data exception, integrity constraint violation, program limit
        // exceeded (an index entry that is too large), and what a trigger raises by itself.
        ("21" | "22" | "23" | "54", _) | (_, "P0001") => Blame::Row,
        // A syntax error within a value, such as a `tsvector`; in a statement it has a position.
        (_, "42601") if position.is_none() => Blame::Row,
        // Connection, transaction rollback, resources, locks, operator intervention, system.
        ("08" | "40" | "53" | "55" | "57" | "58" | "XX", _) | (_, "25006") => Blame::Server,
        _ => Blame::Statement,
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let message = connect::explained(&error).unwrap_or_else(|| error.to_string());
        // Class 40, "transaction rollback": deadlocks, and transactions that cannot be put in
        // an order.
        let code = error.as_database_error().and_then(|error| error.code());
        match blame(&error) {
            _ if code.is_some_and(|code| code.starts_with("40")) => Self::Conflict(message),
            Blame::Server => Self::Away(message),
            Blame::Row | Blame::Statement => Self::Failed(message),
        }
    }
}

/// A database that holds the target tables and the schema `forebay`.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    /// Whether `COPY` is as fast as it should be. Over TCP it waits 40 ms for each chunk, since
    /// sqlx 0.9.0 does not set TCP_NODELAY (its issue 4335); a Unix socket knows no such wait.
    copies: bool,
    sharing: Sharing,
    begin: SqlStr,
}

impl Store {
    /// Connects.
    ///
    /// # Errors
    /// If the URL is none, the server does not answer within twenty seconds, or a pooler
    /// stands before it that cannot be worked with.
    pub async fn connect(url: &DatabaseUrl, sessions: &Sessions) -> Result<Self, StoreError> {
        let Connected {
            pool,
            sharing,
            local,
            begin,
        } = connect::connect(url, sessions).await?;
        Ok(Self {
            pool,
            copies: local,
            sharing,
            begin,
        })
    }

    /// Whether a pooler gives a connection to somebody else after each transaction.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    /// What begins a transaction, for `begin_with`: on connections that are shared with others,
    /// it makes the settings that end with the transaction.
    pub(crate) fn begin_statement(&self) -> SqlStr {
        self.begin.clone()
    }

    /// Connections that writers may take, all together.
    #[must_use]
    pub fn writers(&self) -> usize {
        let all = self.pool.options().get_max_connections();
        all.saturating_sub(OTHERS).max(1) as usize
    }

    /// The pool, for queries of the command line and of tests.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
