//! One embedded server for all tests, and a database of it for each.
//!
//! The server is started by the first test that needs it and stopped when the test process has
//! ended, however it does: a child process waits for that. It does not wait for the disk, which
//! only a power cut would notice.

use std::io::PipeWriter;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forebay::embedded;
use forebay::embedded::Embedded;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::{PATIENCE, program, target};

/// Databases at a time: each test takes up to ten of the server's fifty connections. A test that
/// has one must not wait for another, or all could.
static ROOM: Semaphore = Semaphore::const_new(4);

static SERVER: OnceCell<Server> = OnceCell::const_new();

/// Makes names of databases unique in this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Over TCP, the server knows a member of this role by its password alone.
pub const WANTS_PASSWORD: &str = "forebay_wants_password";

const PREFIX: &str = "forebay_test";

struct Server {
    lease: Embedded,
    /// Where it listens besides its socket.
    address: IpAddr,
    /// Closed when this process ends, which is what the child waits for.
    _alive: PipeWriter,
}

/// How the host, and the test, reach a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A Unix socket.
    Unix,
    /// TCP, without TLS.
    Tcp,
}

/// An empty database with pgvector, dropped at the end of its test.
pub struct Database {
    /// Connects to it.
    pub url: String,
    /// The address of the server.
    pub address: IpAddr,
    /// Connections of the test.
    pub pool: PgPool,
    name: String,
    _room: SemaphorePermit<'static>,
}

impl Database {
    /// Waits for room, and makes one.
    pub async fn new() -> Self {
        Self::created("").await
    }

    /// As [`Database::new`], with a URL for this way to it.
    pub async fn over(over: Over) -> Self {
        let mut database = Self::new().await;
        if over == Over::Tcp {
            database.url = database.tcp("forebay");
        }
        database
    }

    /// Its URL over TCP for a role, which may have a password.
    pub fn tcp(&self, role: &str) -> String {
        let (address, name) = (self.address, &self.name);
        format!("postgres://{role}@{address}/{name}?sslmode=disable")
    }

    /// As [`Database::new`], with options of `create database`.
    pub async fn created(options: &str) -> Self {
        let room = ROOM.acquire().await.unwrap();
        let server = SERVER.get_or_init(start).await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}_{}_{number}", std::process::id());
        execute(
            server.lease.url(),
            format!("create database {name} {options}"),
        )
        .await;
        let url = server
            .lease
            .url()
            .replacen("/forebay?", &format!("/{name}?"), 1);
        execute(&url, "create extension vector".into()).await;
        let pool = PgPoolOptions::new()
            .max_connections(3)
            .connect(&url)
            .await
            .unwrap();
        Self {
            url,
            address: server.address,
            pool,
            name,
            _room: room,
        }
    }

    /// Runs statements.
    pub async fn execute(&self, statements: &str) {
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(&self.pool).await.unwrap();
    }

    /// The first column of a query, which has to be a text.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_all(&self.pool).await.unwrap()
    }

    /// The one number that a query returns.
    pub async fn number(&self, query: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_one(&self.pool).await.unwrap()
    }

    /// Runs statements in a transaction that stays open, with all its locks, until it is dropped
    /// or rolled back.
    pub async fn hold(&self, statements: &str) -> Transaction<'static, Postgres> {
        let mut transaction = self.pool.begin().await.unwrap();
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        statements.execute(&mut *transaction).await.unwrap();
        transaction
    }

    /// Waits until somebody waits for a lock.
    pub async fn until_blocked(&self) {
        self.until(
            "select exists (select from pg_stat_activity
                 where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0)",
        )
        .await;
    }

    /// Asks until a query says true.
    pub async fn until(&self, query: &str) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let answer = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
            if answer.fetch_one(&self.pool).await.unwrap() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("this does not become true: {query}");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(server) = SERVER.get() else { return };
        let drop_it = format!("drop database if exists {} with (force)", self.name);
        // The test's own runtime is busy being the one that drops this.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .unwrap()
                .block_on(execute(server.lease.url(), drop_it));
        });
        if dropped.join().is_err() {
            eprintln!("the database {} stays", self.name);
        }
    }
}

async fn start() -> Server {
    let home = target().join("test-db");
    let settings = embedded::Settings {
        directory: home.join(".forebay"),
        pg_dir: None,
        cache_directory: None,
        listen: free_address(),
    };
    let lease = embedded::start(&settings).await.unwrap();
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        execute(lease.url(), format!("alter system set {setting} = off")).await;
    }
    // The databases that other tests drop make checkpoints, and those remove what a test is still
    // to read of the log.
    execute(
        lease.url(),
        "alter system set wal_keep_size = '256MB'".into(),
    )
    .await;
    want_password(&lease).await;
    execute(lease.url(), "select pg_reload_conf()".into()).await;
    drop_leftovers(lease.url()).await;

    let (gone, alive) = std::io::pipe().unwrap();
    // It outlives this process on purpose.
    #[allow(clippy::zombie_processes)]
    Command::new("sh")
        .arg("-c")
        .arg("cat; exec \"$0\" db stop --config \"$1\"")
        .arg(program())
        .arg(home.join("forebay.toml"))
        .stdin(gone)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Server {
        address: address(lease.url()).await,
        lease,
        _alive: alive,
    }
}

/// A loopback address of this process's own, with PostgreSQL's port free. Where there is only
/// one, and others have it, it is the server that says so.
fn free_address() -> Option<IpAddr> {
    if cfg!(target_os = "linux") {
        let [.., high, low] = std::process::id().to_be_bytes();
        let own = Ipv4Addr::new(127, 1, high, low);
        if TcpListener::bind((own, 5432)).is_ok() {
            return Some(own.into());
        }
    }
    Some(Ipv4Addr::LOCALHOST.into())
}

/// Where the server listens: asked for, since one that is still there is adopted as it is.
async fn address(url: &str) -> IpAddr {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let address = sqlx::query_scalar("select current_setting('listen_addresses')");
    let address: String = address.fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let stop = "the tests' server was left running by an earlier version: `forebay db stop`";
    address.parse().expect(stop)
}

/// Members of the role [`WANTS_PASSWORD`] have to show one over TCP.
async fn want_password(lease: &Embedded) {
    let file = lease.data_directory().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    let rule = format!("host all +{WANTS_PASSWORD} all scram-sha-256\n");
    if !rules.starts_with(&rule) {
        execute(lease.url(), format!("create role {WANTS_PASSWORD}")).await;
        std::fs::write(&file, format!("{rule}{rules}")).unwrap();
    }
}

/// Drops databases of test processes that were killed.
async fn drop_leftovers(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let names: Vec<String> =
        sqlx::query_scalar("select datname::text from pg_database where starts_with(datname, $1)")
            .bind(PREFIX)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    for name in names {
        let process = name
            .split('_')
            .nth(2)
            .and_then(|process| process.parse().ok());
        if process.is_some_and(|process| kill(Pid::from_raw(process), None) == Err(Errno::ESRCH)) {
            execute(url, format!("drop database if exists {name} with (force)")).await;
        }
    }
}

async fn execute(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let statement = sqlx::raw_sql(AssertSqlSafe(statement));
    statement.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
