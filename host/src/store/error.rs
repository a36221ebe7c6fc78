//! What went wrong with the database, and what is to be done about it.

use std::time::Duration;

use sqlx::postgres::PgDatabaseError;

/// How long a server may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// What is said of a pooler that forgets prepared statements.
const FORGETFUL: &str = "a pooler stands before it that gives each transaction another connection, \
and does not keep prepared statements";

/// What is said of a pooler that knows no transactions.
const HASTY: &str =
    "a pooler in statement pooling mode stands before it, which knows no transactions";

/// What can be worked with.
const USABLE: &str = "use PgBouncer in transaction mode from version 1.21 on with \
max_prepared_statements above 0, or in session mode, or connect to the server itself";

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
        let message = explained(&error).unwrap_or_else(|| error.to_string());
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

/// What the server's own words for an error leave out.
pub(super) fn explained(error: &sqlx::Error) -> Option<String> {
    if let Some(pooler) = unusable(error) {
        return Some(format!("{pooler}\n  hint: {USABLE}"));
    }
    if let sqlx::Error::PoolTimedOut = error {
        let seconds = ANSWER.as_secs();
        return Some(format!(
            "no connection within {seconds} s: database.connections are all in use, or the server takes no more"
        ));
    }
    match error.as_database_error()?.code()?.as_ref() {
        "55P03" => Some(format!(
            "{error}: another session holds it for longer than database.lock_timeout"
        )),
        "57014" => Some(format!(
            "{error}: database.statement_timeout says how long one may take"
        )),
        _ => None,
    }
}

/// What is wrong with the pooler that an error comes from or that has caused it.
pub(super) fn unusable(error: &sqlx::Error) -> Option<&'static str> {
    let error = error.as_database_error()?;
    match error.code()?.as_ref() {
        // Duplicate, and missing, prepared statement.
        "42P05" | "26000" => Some(FORGETFUL),
        // PgBouncer's own words; it has no code for itself.
        "08P01" if error.message().contains("statement pooling mode") => Some(HASTY),
        _ => None,
    }
}
