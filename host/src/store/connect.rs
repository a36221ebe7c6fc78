//! Opens connections and applies settings to them.
//!
//! Between two transactions, Forebay keeps no session state except prepared statements. So it
//! works through a pooler that gives each transaction a different server connection, if the
//! pooler keeps prepared statements (PgBouncer from 1.21 on); one that does not is refused.
//! Settings are made once on a connection that is Forebay's own; on a shared one they are made
//! in each transaction, and end with it.
//!
//! The startup of a connection sets `application_name` only: poolers refuse other settings.

use std::io::ErrorKind;
use std::sync::{Arc, Once};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, SqlSafeStr, SqlStr,
};
use tokio::time::{Instant, sleep, timeout};

use super::access;
use super::capacity::allowed;
use super::error::{
    ANSWER, Blame, DatabaseFailure, READ_ONLY, StoreError, blame, explained, is_login, unusable,
};
use super::message::described;
use super::session::Sharing;
use super::{no_delay, session, tls};
use crate::config::{DatabaseUrl, Sessions};
use crate::printable::printable;

/// Maximum wait for a server that is not there, but may be starting.
const STARTING: Duration = Duration::from_secs(1);
/// Interval of looking for it.
const POLL: Duration = Duration::from_millis(100);

/// Number of connections of a host that are not for writers.
const OTHERS: u32 = 2;

/// A database that holds the target tables and the schema `forebay`.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) pool: PgPool,
    /// The port of the server; `None` for a Unix socket.
    port: Option<u16>,
    pub(super) sharing: Sharing,
    begin: SqlStr,
}

impl Store {
    /// Connects.
    ///
    /// # Errors
    /// Fails if the URL is invalid, the server does not respond within twenty seconds, or the
    /// connection goes through an unsupported pooler.
    pub async fn connect(url: &DatabaseUrl, sessions: &Sessions) -> Result<Self, StoreError> {
        let Connected {
            pool,
            sharing,
            port,
            begin,
        } = connect(url, sessions).await?;
        Ok(Self {
            pool,
            port,
            sharing,
            begin,
        })
    }

    /// True if a pooler may give a connection to another client after each transaction.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    /// True if the server is reached by a Unix socket: its disk may be visible here.
    pub(super) fn is_local(&self) -> bool {
        self.port.is_none()
    }

    /// True if `COPY` runs at full speed over the connections that are open now: always, unless
    /// TCP_NODELAY cannot be set, which is said once.
    pub(super) fn copies_at_full_speed(&self) -> bool {
        static SAID: Once = Once::new();
        let Some(port) = self.port else { return true };
        let set = no_delay::set(port);
        match &set {
            Ok(connections) => tracing::debug!(port, connections, "TCP_NODELAY is set"),
            Err(error) => SAID.call_once(|| {
                tracing::warn!(
                    port,
                    %error,
                    "TCP_NODELAY cannot be set on the connections to the database: new rows are inserted, not copied, and take a third longer"
                );
            }),
        }
        set.is_ok()
    }

    /// The statement that begins a transaction, for `begin_with`: on shared connections, it makes
    /// the settings that end with the transaction.
    pub(crate) fn begin_statement(&self) -> SqlStr {
        self.begin.clone()
    }

    /// Number of connections for all writers together.
    #[must_use]
    pub fn writers(&self) -> usize {
        let all = self.pool.options().get_max_connections();
        all.saturating_sub(OTHERS).max(1) as usize
    }

    /// Returns when the database answers, and takes writes.
    ///
    /// # Errors
    /// If it does not.
    pub async fn answers(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        match session::is_writable(&mut connection).await? {
            true => Ok(()),
            false => Err(StoreError::Away(READ_ONLY.into())),
        }
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

/// A server as its first two connections find it.
#[derive(Debug)]
struct Server {
    sharing: Sharing,
    /// Number of connections that it allows.
    allowed: u32,
    told: session::Told,
}

/// Connections, and the statement that begins a transaction on them.
#[derive(Debug)]
pub(super) struct Connected {
    pub pool: PgPool,
    pub sharing: Sharing,
    /// The port of the server; `None` for a Unix socket.
    pub port: Option<u16>,
    /// One statement or several, sent together.
    pub begin: SqlStr,
}

/// Opens connections: the first two to detect a pooler, the others on demand.
pub(super) async fn connect(
    url: &DatabaseUrl,
    sessions: &Sessions,
) -> Result<Connected, StoreError> {
    let access = access::read(url)?;
    let options = access::options(url, &access, sessions)?;
    let is_local = options.get_socket().is_some() || options.get_host().starts_with('/');
    let port = (!is_local).then(|| options.get_port());
    let Server {
        sharing,
        allowed,
        told,
    } = match timeout(2 * ANSWER, detect_pooler(&options)).await {
        Ok(detected) => detected.map_err(|error| failed(url, error))?,
        Err(_) => {
            let message = format!("{url}: no response within {} s", 2 * ANSWER.as_secs());
            return Err(StoreError::Away(message.into()));
        }
    };
    let settings = session::settings(sessions, sharing, &told);
    let pool = PgPoolOptions::new()
        // The pool would mistake a refusal for a server that is starting, and wait.
        .max_connections(sessions.connections.min(allowed).max(1))
        .acquire_timeout(ANSWER)
        .before_acquire(|connection, _| Box::pin(session::is_writable(connection)));
    let (pool, begin) = match sharing {
        Sharing::Own => (
            with_settings(pool, statements("set", &settings)),
            "begin".to_owned(),
        ),
        Sharing::Shared => {
            tracing::debug!("connections are shared with others by a pooler");
            let settings = statements("set local", &settings);
            (pool, format!("begin read write; {settings}"))
        }
    };
    let pool = pool.connect_lazy_with(options);
    access::follow(&pool, url, sessions, access);
    Ok(Connected {
        pool,
        sharing,
        port,
        begin: AssertSqlSafe(begin).into_sql_str(),
    })
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

fn failed(url: &DatabaseUrl, error: sqlx::Error) -> StoreError {
    let nothing_there = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
    let tls = tls::explained(&error);
    let message = match explained(&error).or_else(|| tls.clone()) {
        Some(explained) => format!("{url}: {explained}"),
        None if matches!(&error, sqlx::Error::Io(error) if nothing_there.contains(&error.kind())) =>
        {
            format!(
                "{url}: {error}\n  hint: nothing listens there: is the server running, and are host and port right?"
            )
        }
        None => format!("{url}: {}", described(&error)),
    };
    let message = match url.files().last().filter(|_| is_login(&error)) {
        Some(file) => format!(
            "{message}\n  hint: the secret is read from {} for each connection: renew it there",
            printable(&file.to_string_lossy())
        ),
        None => message,
    };
    let is_renewed = is_login(&error) && url.files().next().is_some();
    let is_away =
        blame(&error) == Blame::Server && unusable(&error).is_none() && tls.is_none() || is_renewed;
    let failure = DatabaseFailure::caused_by(message, error);
    if is_away {
        StoreError::Away(failure)
    } else {
        StoreError::Failed(failure)
    }
}

/// Detects a pooler. Two connections that are open at once share a server process only if a
/// pooler switches between them. And a process that is older than its connection has served
/// another client before: a pooler that keeps it between clients may also switch between
/// transactions.
///
/// Both connections prepare a statement of the same name, which fails if the pooler does not keep
/// the statements of its clients apart.
///
/// Also finds out what the server says of itself.
async fn detect_pooler(options: &PgConnectOptions) -> Result<Server, sqlx::Error> {
    let began = Instant::now();
    let mut first = first_connection(options).await?;
    let (one, age) = backend(&mut first).await?;
    let is_older = age > began.elapsed();

    let began = Instant::now();
    let mut second = options.connect().await?;
    let looked = backend(&mut second).await;
    if looked.as_ref().err().and_then(unusable).is_some() {
        // The statement of the first connection would be in the way of other clients.
        drop(second.execute("deallocate sqlx_s_1").await);
    }
    let (other, age) = looked?;
    let is_shared = one == other || is_older || age > began.elapsed();
    // A pooler in statement mode refuses to begin a transaction.
    first.execute("begin").await?;
    let told = session::ask(&mut first).await?;
    // The server's own functions, whatever the search path has before them.
    first.execute("set local search_path = pg_catalog").await?;
    let allowed = if is_shared {
        u32::MAX
    } else {
        allowed(&mut first).await?
    };
    first.execute("rollback").await?;
    first.close().await?;
    second.close().await?;
    let sharing = if is_shared {
        Sharing::Shared
    } else {
        Sharing::Own
    };
    Ok(Server {
        sharing,
        allowed,
        told,
    })
}

/// Connects to a server that may be just starting: it refuses for a moment.
async fn first_connection(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let began = Instant::now();
    loop {
        let error = match options.connect().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let code = error.as_database_error().and_then(|error| error.code());
        let limit = match (&error, code.as_deref()) {
            // It cannot connect now, or has too many connections.
            (_, Some("57P03" | "53300")) => ANSWER,
            (sqlx::Error::Io(error), _) if error.kind() == ErrorKind::ConnectionRefused => STARTING,
            _ => return Err(error),
        };
        if began.elapsed() > limit {
            return Err(error);
        }
        sleep(POLL).await;
    }
}

/// The server process of a connection, and its age.
async fn backend(connection: &mut PgConnection) -> Result<(i32, Duration), sqlx::Error> {
    // The age is hidden from a role that is not the session's own: then only the process counts.
    let (process, age): (i32, Option<f64>) = sqlx::query_as(
        "select a.pid, extract(epoch from pg_catalog.clock_timestamp() operator(pg_catalog.-) a.backend_start)::pg_catalog.float8
         from pg_catalog.pg_stat_activity a where a.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()",
    )
    .fetch_one(connection)
    .await?;
    Ok((
        process,
        Duration::try_from_secs_f64(age.unwrap_or_default()).unwrap_or_default(),
    ))
}
