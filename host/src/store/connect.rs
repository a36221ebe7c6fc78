//! How connections are opened, and what is set on them.
//!
//! Forebay keeps no state of a session between two transactions but prepared statements. So it
//! works through a pooler that gives each transaction another connection of the server, if the
//! pooler keeps prepared statements (PgBouncer from 1.21 on); one that does not is refused. Where
//! a connection is Forebay's own, settings are made once on it; where it is shared, they are made
//! in each transaction, and end with it.
//!
//! Nothing but `application_name` is asked for when a connection begins: poolers refuse the rest.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, SqlSafeStr, SqlStr,
};
use tokio::time::{Instant, timeout};

use super::capacity::allowed;
use super::error::{ANSWER, Blame, StoreError, blame, explained, unusable};
use crate::config::{DatabaseUrl, Sessions};

/// The writer only ever looks rows up by key. Without this the planner reads a table that has
/// grown since it was last analysed from end to end for each chunk.
const PLANNER: [&str; 3] = ["enable_seqscan", "enable_hashjoin", "enable_mergejoin"];

/// Connections of a host that are not for writers.
const OTHERS: u32 = 2;

/// A database that holds the target tables and the schema `forebay`.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) pool: PgPool,
    /// Whether `COPY` is as fast as it should be. Over TCP it waits 40 ms for each chunk, since
    /// sqlx 0.9.0 does not set TCP_NODELAY (its issue 4335); a Unix socket knows no such wait.
    pub(super) copies: bool,
    pub(super) sharing: Sharing,
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
        } = connect(url, sessions).await?;
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

/// Whose the server's connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Each is Forebay's for as long as it is open.
    Own,
    /// A pooler gives it to others between two transactions.
    Shared,
}

/// Connections, and how a transaction begins on them.
#[derive(Debug)]
pub(super) struct Connected {
    pub pool: PgPool,
    pub sharing: Sharing,
    /// Whether the way is a Unix socket.
    pub local: bool,
    /// One statement or several, sent together.
    pub begin: SqlStr,
}

/// Opens connections: the first two to see whose they are, the others when they are needed.
pub(super) async fn connect(
    url: &DatabaseUrl,
    sessions: &Sessions,
) -> Result<Connected, StoreError> {
    let options = options(url, sessions)?;
    let local = options.get_socket().is_some() || options.get_host().starts_with('/');
    let (sharing, allowed) = match timeout(2 * ANSWER, look(&options)).await {
        Ok(looked) => looked.map_err(|error| failed(url, &error))?,
        Err(_) => {
            let message = format!("{url}: no answer within {} s", 2 * ANSWER.as_secs());
            return Err(StoreError::Away(message));
        }
    };
    let timeouts = [
        ("statement_timeout", sessions.statement_timeout),
        ("lock_timeout", sessions.lock_timeout),
    ]
    .map(|(name, limit)| (name, limit.as_millis().to_string()));
    let settings: Vec<(&str, String)> = timeouts
        .into_iter()
        .chain(PLANNER.map(|name| (name, "off".to_owned())))
        .collect();
    let pool = PgPoolOptions::new()
        // The pool would take a refusal for a server that is starting, and wait.
        .max_connections(sessions.connections.min(allowed).max(1))
        .acquire_timeout(ANSWER);
    let (pool, begin) = match sharing {
        Sharing::Own => (
            with_settings(pool, statements("set", &settings)),
            "begin".into(),
        ),
        Sharing::Shared => {
            tracing::debug!("connections are shared with others by a pooler");
            (
                pool,
                format!("begin; {}", statements("set local", &settings)),
            )
        }
    };
    Ok(Connected {
        pool: pool.connect_lazy_with(options),
        sharing,
        local,
        begin: AssertSqlSafe(begin).into_sql_str(),
    })
}

fn options(url: &DatabaseUrl, sessions: &Sessions) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(&url.0)
        .map_err(|error| StoreError::Failed(format!("{url} is not a connection URL: {error}")))?
        // All floats travel in binary.
        .extra_float_digits(None)
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(5));
    let name = sessions.application_name.as_deref();
    let name = name.or(options.get_application_name()).unwrap_or("forebay");
    Ok(options.clone().application_name(name))
}

fn statements(set: &str, settings: &[(&str, String)]) -> String {
    let statements = settings
        .iter()
        .map(|(name, value)| format!("{set} {name} = {value}"));
    statements.collect::<Vec<_>>().join("; ")
}

fn with_settings(pool: PgPoolOptions, settings: String) -> PgPoolOptions {
    let settings: Arc<str> = settings.into();
    pool.after_connect(move |connection, _| {
        let settings = Arc::clone(&settings);
        Box::pin(async move {
            let settings = sqlx::raw_sql(AssertSqlSafe(settings));
            connection.execute(settings).await.map(drop)
        })
    })
}

fn failed(url: &DatabaseUrl, error: &sqlx::Error) -> StoreError {
    let message = match explained(error) {
        Some(explained) => format!("{url}: {explained}"),
        None => format!("{url}: {error}"),
    };
    match blame(error) {
        Blame::Server if unusable(error).is_none() => StoreError::Away(message),
        Blame::Server | Blame::Row | Blame::Statement => StoreError::Failed(message),
    }
}

/// Finds out whose connections are. Two that are open at once have one server process only if
/// a pooler lends it in turns. And a process that is older than the connection to it was
/// another's before: whoever keeps it between clients may do so between transactions.
///
/// Both prepare a statement of the same name, which fails where the pooler does not keep apart
/// what belongs to whom.
///
/// Returns the number of connections that the server allows as well.
async fn look(options: &PgConnectOptions) -> Result<(Sharing, u32), sqlx::Error> {
    let began = Instant::now();
    // A pool waits for a server that is just starting.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER);
    let pool = pool.connect_with(options.clone()).await?;
    let mut first = pool.acquire().await?;
    let (one, age) = backend(&mut first).await?;
    let is_older = age > began.elapsed();

    let began = Instant::now();
    let mut second = options.connect().await?;
    let looked = backend(&mut second).await;
    if looked.as_ref().err().and_then(unusable).is_some() {
        // The first one's statement, which would be in the way of others.
        drop(second.execute("deallocate sqlx_s_1").await);
    }
    let (other, age) = looked?;
    let is_shared = one == other || is_older || age > began.elapsed();
    // A pooler that lends connections for a statement refuses to begin.
    first.execute("begin").await?;
    let allowed = if is_shared {
        u32::MAX
    } else {
        allowed(&mut first).await?
    };
    first.execute("rollback").await?;
    first.close().await?;
    pool.close().await;
    second.close().await?;
    let sharing = if is_shared {
        Sharing::Shared
    } else {
        Sharing::Own
    };
    Ok((sharing, allowed))
}

/// The server's process behind a connection, and its age.
async fn backend(connection: &mut PgConnection) -> Result<(i32, Duration), sqlx::Error> {
    // The age is hidden from a role that is not the session's own: then the process has to tell.
    let (process, age): (i32, Option<f64>) = sqlx::query_as(
        "select pid, extract(epoch from clock_timestamp() - backend_start)::float8
         from pg_stat_activity where pid = pg_backend_pid()",
    )
    .fetch_one(connection)
    .await?;
    Ok((
        process,
        Duration::try_from_secs_f64(age.unwrap_or_default()).unwrap_or_default(),
    ))
}
