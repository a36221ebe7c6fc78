//! The database: all of the host's SQL is in here.
//!
//! [`Store::begin`] claims a pipeline's partitions and says from where to go on;
//! [`Writer::commit`] writes a chunk, and all that belongs to it, in one transaction. The
//! [`Committed`] it returns can be made nowhere else, so nothing can be acknowledged or
//! notified before its rows are durable.

pub mod catalog;
pub mod checkpoint;
mod copy;
pub mod dead_letter;
mod digest;
mod encode;
pub mod index;
pub mod ledger;
pub mod outbox;
mod statements;
pub mod target;
mod writer;

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::DatabaseUrl;
pub use writer::{CommitError, Committed, DeadLetter, Totals, Writer};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Connections of one host: a writer for each partition of each running pipeline, and one for
/// everything else. They are opened when they are needed.
const MAX_CONNECTIONS: u32 = 32;

/// What went wrong with the database, by what is to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server is away or in trouble: worth trying again, nothing is lost.
    #[error("database: {0}")]
    Away(String),
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
    match (code.get(..2).unwrap_or_default(), code.as_str()) {
        // Cardinality violation (two keys that differ only for us, such as `a` and `a ` in a
        // `char` column), data exception, integrity constraint violation, program limit
        // exceeded (an index entry that is too large), and what a trigger raises by itself.
        ("21" | "22" | "23" | "54", _) | (_, "P0001") => Blame::Row,
        // Connection, transaction rollback, resources, locks, operator intervention, system.
        ("08" | "40" | "53" | "55" | "57" | "58" | "XX", _) | (_, "25006") => Blame::Server,
        _ => Blame::Statement,
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match blame(&error) {
            Blame::Server => Self::Away(error.to_string()),
            Blame::Row | Blame::Statement => Self::Failed(error.to_string()),
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
}

impl Store {
    /// Connects.
    ///
    /// # Errors
    /// If the URL is none, or the server does not answer within ten seconds.
    pub async fn connect(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(&url.0)
            .map_err(|error| StoreError::Failed(format!("{url} is not a connection URL: {error}")))?
            .application_name("forebay")
            // The writer only ever looks rows up by key. Without this the planner reads a
            // table that has grown since it was last analysed from end to end for each chunk.
            .options([
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
            ])
            .log_statements(tracing::log::LevelFilter::Trace)
            .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(5));
        let copies = options.get_socket().is_some() || options.get_host().starts_with('/');
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(|error| match blame(&error) {
                Blame::Server => StoreError::Away(format!("{url}: {error}")),
                Blame::Row | Blame::Statement => StoreError::Failed(format!("{url}: {error}")),
            })?;
        Ok(Self { pool, copies })
    }

    /// Brings the schema `forebay` up to date. Can be run at any time, by several hosts.
    ///
    /// # Errors
    /// If a migration fails, or the database was migrated by a newer host.
    pub async fn migrate(&self) -> Result<usize, StoreError> {
        let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        migrator.create_schema("forebay");
        migrator.dangerous_set_table_name("forebay.migration");
        migrator
            .run(&self.pool)
            .await
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(migrator.iter().count())
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
