//! Errors of the database, classified by what to do about them.

use std::time::Duration;

use sqlx::postgres::PgDatabaseError;

use super::message::{described, of_server};

/// Maximum time for a server to respond.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Message about a pooler that loses prepared statements.
const LOSES_STATEMENTS: &str = "connected through a pooler that gives each transaction a different connection \
and loses prepared statements";

/// Message about a pooler without transactions.
const NO_TRANSACTIONS: &str =
    "connected through a pooler in statement pooling mode, which does not support transactions";

/// Hint about the connections that can be used.
const USABLE: &str = "use PgBouncer 1.21 or newer in transaction mode with max_prepared_statements \
above 0, or in session mode, or connect to the server directly";

/// What a server is that refuses a write as such.
pub(super) const READ_ONLY: &str = "the server is read-only, as a standby is, and one whose sessions \
have default_transaction_read_only set; it is waited for until it takes writes";

/// An error of the database, by what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server is away or in trouble: worth trying again, nothing is lost.
    #[error(transparent)]
    Away(DatabaseFailure),
    /// Another transaction was in the way: worth trying again at once.
    #[error(transparent)]
    Conflict(DatabaseFailure),
    /// Another host owns the partition now.
    #[error("another host has taken over partition `{0}`")]
    Fenced(String),
    /// The database has lost what was committed: worth trying again, from where it is.
    #[error(transparent)]
    Behind(Behind),
    /// Trying again will not help.
    #[error(transparent)]
    Failed(DatabaseFailure),
}

/// Commits that the server had confirmed are gone: the standby that took over had not received them,
/// or the database was replaced by an older copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database is behind what this host has committed: it has {found} chunks of partition \
     `{partition}` in this run, and {committed} were committed; a failover has lost the latest \
     commits, or the database is a restored copy. They are received again"
)]
pub struct Behind {
    /// Name of the partition.
    pub partition: String,
    /// Chunks that the server has confirmed.
    pub committed: i64,
    /// Chunks that it has.
    pub found: i64,
}

/// A failure of the database, explained. The message includes the text of the cause.
#[derive(Debug, thiserror::Error)]
#[error("database: {message}")]
pub struct DatabaseFailure {
    /// Message, with a hint where there is one.
    pub message: String,
    #[source]
    cause: Option<sqlx::Error>,
}

impl DatabaseFailure {
    pub(super) fn caused_by(message: String, cause: sqlx::Error) -> Self {
        Self {
            message,
            cause: Some(cause),
        }
    }
}

impl From<String> for DatabaseFailure {
    fn from(message: String) -> Self {
        Self {
            message,
            cause: None,
        }
    }
}

impl From<&str> for DatabaseFailure {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// True if the server takes no writes.
fn is_standby(error: &sqlx::Error) -> bool {
    let Some(error) = of_server(error) else {
        return false;
    };
    error.code() == "25006" || is_refused_begin(error)
}

/// A standby refuses to begin a transaction that may write, by the check of a setting.
fn is_refused_begin(error: &PgDatabaseError) -> bool {
    error.code() == "0A000" && error.routine() == Some("call_bool_check_hook")
}

/// Who raised an SQL error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The server or the connection to it is in trouble, whatever was written.
    Server,
    /// What was written was refused: for its values, or because of the table, the statement or the
    /// permissions. Which of these, only evidence tells: the same code can mean any of them.
    Refusal,
}

/// Routines of the server by which a function raises an error of its own, in PL/pgSQL and PL/Python.
/// The code is then the choice of who wrote the function, and says nothing about the server.
const RAISING: [&str; 2] = ["exec_stmt_raise", "PLy_elog_impl"];

/// Tells an error of the server from a refusal, by SQLSTATE (PostgreSQL documentation, appendix A).
pub(crate) fn blame(error: &sqlx::Error) -> Blame {
    let sqlx::Error::Database(error) = error else {
        return match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Blame::Server,
            _ => Blame::Refusal,
        };
    };
    let details = error.try_downcast_ref::<PgDatabaseError>();
    let routine = details.and_then(PgDatabaseError::routine);
    if routine.is_some_and(|routine| RAISING.contains(&routine)) {
        return Blame::Refusal;
    }
    let code = error.code().unwrap_or_default().into_owned();
    if details.is_some_and(is_refused_begin) {
        return Blame::Server;
    }
    match (code.get(..2).unwrap_or_default(), code.as_str()) {
        // Connection, transaction rollback, resources, operator intervention, system.
        ("08" | "40" | "53" | "57" | "58", _)
        // Read-only, as a server is that is no primary any more.
        | (_, "25006")
        // A transaction in which the host did nothing for too long, or that was too long in all.
        | (_, "25P03" | "25P04")
        // Locks, objects in use, and damaged data or indexes.
        | (_, "55P03" | "55006" | "XX001" | "XX002")
        // A pooler that loses prepared statements.
        | (_, "26000" | "42P05") => Blame::Server,
        _ => Blame::Refusal,
    }
}

/// True if the server does not let the role in. A host that was let in before waits for it: somebody
/// is renewing the password, and one of the two sides is first.
pub(super) fn is_login(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("28P01" | "28000"))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let message = explained(&error).unwrap_or_else(|| described(&error));
        // Class 40, "transaction rollback": deadlocks, and transactions that cannot be serialized.
        let code = error.as_database_error().and_then(|error| error.code());
        let is_conflict = code.is_some_and(|code| code.starts_with("40"));
        let (blame, is_unusable) = (blame(&error), unusable(&error).is_some());
        let is_login = is_login(&error);
        let failure = DatabaseFailure::caused_by(message, error);
        match blame {
            Blame::Server if is_conflict => Self::Conflict(failure),
            Blame::Server if !is_unusable => Self::Away(failure),
            Blame::Refusal if is_login => Self::Away(failure),
            Blame::Server | Blame::Refusal => Self::Failed(failure),
        }
    }
}

/// The message for an error that the server's own message does not explain.
pub(super) fn explained(error: &sqlx::Error) -> Option<String> {
    if let Some(pooler) = unusable(error) {
        return Some(format!("{pooler}\n  hint: {USABLE}"));
    }
    if let sqlx::Error::PoolTimedOut = error {
        let seconds = ANSWER.as_secs();
        return Some(format!(
            "no connection within {seconds} s: the server is away or accepts no more, or all of database.connections are in use"
        ));
    }
    if is_standby(error) {
        return Some(format!("{}: {READ_ONLY}", described(error)));
    }
    match error.as_database_error()?.code()?.as_ref() {
        "55P03" => Some(format!(
            "{}: another session held the lock for longer than database.lock_timeout",
            described(error)
        )),
        "25P03" => Some(format!(
            "{}: the host did nothing in it for longer than database.idle_in_transaction_timeout, as a host that was stopped",
            described(error)
        )),
        "25P04" => Some(format!(
            "{}: something other than Forebay sets transaction_timeout in its sessions",
            described(error)
        )),
        "57014" => Some(format!(
            "{}: database.statement_timeout limits the time of a statement",
            described(error)
        )),
        _ => None,
    }
}

/// The message about an unsupported pooler that has raised or caused an error.
pub(super) fn unusable(error: &sqlx::Error) -> Option<&'static str> {
    let error = error.as_database_error()?;
    match error.code()?.as_ref() {
        // Duplicate, and missing, prepared statement.
        "42P05" | "26000" => Some(LOSES_STATEMENTS),
        // PgBouncer's own message; its code is a general one.
        "08P01" if error.message().contains("statement pooling mode") => Some(NO_TRANSACTIONS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn an_explained_error_keeps_its_cause() {
        let error = StoreError::from(sqlx::Error::PoolTimedOut);
        insta::assert_snapshot!(error, @"database: no connection within 10 s: the server is away or accepts no more, or all of database.connections are in use");
        let source = error.source().and_then(|source| source.downcast_ref());
        assert!(matches!(source, Some(sqlx::Error::PoolTimedOut)));
        assert!(StoreError::Failed("a bug".into()).source().is_none());
    }
}
