//! Settings of a session that must not be what the server, the database or the role says.

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::config::Sessions;

/// Ownership of the server's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// A connection is Forebay's as long as it is open.
    Own,
    /// A pooler may give a connection to other clients between two transactions.
    Shared,
}

/// The writer only looks up rows by key. Without these settings, the planner scans a table that
/// has grown since it was last analysed for each chunk. As there is one plan for each statement, it
/// is made once, and not for each chunk.
const PLANNER: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// What the server does about a host whose machine or network is gone: it asks after a minute of
/// silence, and gives the connection up, with its locks, after another half. A Unix socket has no
/// such settings, and ignores them.
const NETWORK: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "60"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "90000"),
];

/// The first versions with `transaction_timeout` and `idle_session_timeout`.
const TRANSACTION_TIMEOUT: i32 = 170_000;
const IDLE_SESSION_TIMEOUT: i32 = 140_000;

/// What the server says of a new session. Every name is qualified: a search path may have other
/// functions, operators and types before those of the server.
const TOLD: &str =
    "select pg_catalog.current_setting('server_version_num'::pg_catalog.text)::pg_catalog.int4,
    pg_catalog.current_setting('search_path'::pg_catalog.text),
    (pg_catalog.current_schemas(true))[1] operator(pg_catalog.=) 'pg_catalog'::pg_catalog.name,
    pg_catalog.current_setting('row_security'::pg_catalog.text)::pg_catalog.bool";

/// A new session before anything is set.
#[derive(Debug)]
pub(super) struct Told {
    version: i32,
    search_path: String,
    /// True if names are those of the server where a schema of the path has the same.
    is_safe: bool,
    row_security: bool,
}

/// Asks a new session.
pub(super) async fn ask(connection: &mut PgConnection) -> Result<Told, sqlx::Error> {
    let told = connection.fetch_one(TOLD).await?;
    Ok(Told {
        version: told.try_get(0)?,
        search_path: told.try_get(1)?,
        is_safe: told.try_get(2)?,
        row_security: told.try_get(3)?,
    })
}

/// The settings, by name.
pub(super) fn settings(
    sessions: &Sessions,
    sharing: Sharing,
    told: &Told,
) -> Vec<(&'static str, String)> {
    let timeouts = [
        ("statement_timeout", sessions.statement_timeout),
        ("lock_timeout", sessions.lock_timeout),
        (
            "idle_in_transaction_session_timeout",
            sessions.idle_in_transaction_timeout,
        ),
    ];
    let timeouts = timeouts.map(|(name, limit)| (name, limit.as_millis().to_string()));
    let mut settings: Vec<_> = timeouts.into();
    settings.extend(PLANNER.map(|(name, value)| (name, value.to_owned())));
    // The limits above bound every transaction but those that build an index, which take long.
    if told.version >= TRANSACTION_TIMEOUT {
        settings.push(("transaction_timeout", "0".to_owned()));
    }
    if !told.is_safe {
        let path = format!("pg_catalog, {}", told.search_path);
        settings.push(("search_path", path));
    }
    if !told.row_security {
        // Otherwise every statement on a table with policies is refused.
        settings.push(("row_security", "on".to_owned()));
    }
    if sharing == Sharing::Own {
        settings.extend(NETWORK.map(|(name, value)| (name, value.to_owned())));
        // A standby stays read-only whatever this says.
        settings.push(("default_transaction_read_only", "off".to_owned()));
        if told.version >= IDLE_SESSION_TIMEOUT {
            settings.push(("idle_session_timeout", "0".to_owned()));
        }
    }
    settings
}

/// False if the server takes no writes. Such a connection is not used again: the next one may find
/// the server that has become the primary.
pub(super) async fn is_writable(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let show = sqlx::raw_sql(AssertSqlSafe("show transaction_read_only"));
    let read_only: String = connection.fetch_one(show).await?.try_get(0)?;
    Ok(read_only == "off")
}
