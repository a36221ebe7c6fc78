//! Where runs take place: an embedded server of the bench's own with its usual durability, and a
//! database made anew for each.

use std::fs;
use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use forebay::embedded;
use forebay::embedded::Embedded;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

use crate::ceiling::Column;
use crate::figures::Metered;
use crate::load::Over;
use crate::{process, relay};

/// The tables of the example.
const TABLES: &str = include_str!("../../../examples/recruit/tables.sql");

/// PostgreSQL's port, which the embedded server has on an address of its own.
const PORT: u16 = 5432;

/// What the far network takes in each direction.
const DELAY: Duration = Duration::from_millis(1);

const PLAIN: &str = "alter table recruit_embedding alter column vector set storage plain";

/// The database of the run in progress.
const DATABASE: &str = "forebay_bench";

/// Target tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    pub(crate) column: Column,
    pub(crate) dimensions: usize,
    pub(crate) index: Index,
}

/// Whether there is a vector index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    None,
    Hnsw,
}

/// Makes a vector index.
pub(crate) const CREATE_INDEX: &str = "create index recruit_embedding_hnsw on recruit_embedding using hnsw (vector vector_cosine_ops)";

/// A database over all ways to it.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) unix: String,
    tcp: SocketAddr,
    has_tls: bool,
    relays: Relays,
}

/// Where the relays before the server listen.
#[derive(Clone, Copy, Debug)]
struct Relays {
    plain: SocketAddr,
    tls: SocketAddr,
    far: SocketAddr,
    near: SocketAddr,
}

impl Urls {
    /// The URL for a way; an error if the server has no TLS.
    pub(crate) fn over(&self, over: Over) -> anyhow::Result<String> {
        let (address, mode) = match over {
            Over::Unix => return Ok(self.unix.clone()),
            Over::Tcp => (self.tcp, "disable"),
            Over::Tls => {
                ensure!(self.has_tls, "the server has no TLS");
                (self.tcp, "require")
            }
            Over::Relay => (self.relays.plain, "disable"),
            Over::RelayTls => (self.relays.tls, "require"),
            Over::Far => (self.relays.far, "disable"),
            Over::Near => (self.relays.near, "disable"),
        };
        Ok(format!(
            "postgres://forebay@{address}/{DATABASE}?sslmode={mode}"
        ))
    }
}

/// The server, the program that is measured, and a directory for what it needs.
pub(crate) struct Lab {
    pub(crate) program: PathBuf,
    pub(crate) directory: PathBuf,
    server: Embedded,
    tcp: SocketAddr,
    /// True if the server has TLS itself, as the embedded one has not.
    pub(crate) has_tls: bool,
    relays: Relays,
    postmaster: u32,
    /// Open all the time, so that connecting is no part of what is measured.
    connection: Mutex<PgConnection>,
}

impl Lab {
    /// Starts the server.
    pub(crate) async fn start(
        target: &Path,
        directory: &Path,
        pg_dir: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let program = target.join("release").join("forebay");
        ensure!(
            program.is_file(),
            "{} is missing: run `make build`",
            program.display()
        );
        let home = match &pg_dir {
            Some(_) => directory.join("pg-dir"),
            None => directory.to_owned(),
        };
        let settings = embedded::Settings {
            directory: home.join(".forebay"),
            pg_dir,
            cache_directory: None,
            listen: Some(IpAddr::V4(free_address()?)),
        };
        let server = embedded::start(&settings).await?;
        let pid_file = server.data_directory().join("postmaster.pid");
        let pid = fs::read_to_string(&pid_file)?;
        let pid = pid.lines().next().and_then(|line| line.parse().ok());
        let mut connection = PgConnection::connect(server.url()).await?;
        // It would come in the middle of some runs and not of others.
        for statement in [
            "alter system set autovacuum = off",
            "select pg_reload_conf()",
        ] {
            execute(&mut connection, statement).await?;
        }
        let socket: PgConnectOptions = server.url().parse()?;
        let socket = socket.get_socket().context("the server has no socket")?;
        let socket = socket.join(format!(".s.PGSQL.{PORT}"));
        let relays = Relays {
            plain: relay::start(socket.clone(), false).await?,
            tls: relay::start(socket.clone(), true).await?,
            far: relay::start_far(socket.clone(), DELAY)?,
            near: relay::start_far(socket, Duration::ZERO)?,
        };
        Ok(Self {
            program,
            directory: directory.to_owned(),
            tcp: address(&mut connection).await?,
            has_tls: has_tls(&mut connection, server.data_directory()).await?,
            relays,
            postmaster: pid.context("the server has no process id")?,
            server,
            connection: Mutex::new(connection),
        })
    }

    /// Removes the last database, and stops the server.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let mut connection = self.connection.into_inner();
        let drop = format!("drop database if exists {DATABASE} with (force)");
        execute(&mut connection, &drop).await?;
        connection.close().await?;
        self.server.stop().await?;
        Ok(())
    }

    /// Makes the database anew, with empty tables and nothing left to write behind.
    pub(crate) async fn database(&self, tables: Tables) -> anyhow::Result<Urls> {
        let mut connection = self.connection.lock().await;
        let drop = format!("drop database if exists {DATABASE} with (force)");
        execute(&mut connection, &drop).await?;
        execute(&mut connection, &format!("create database {DATABASE}")).await?;
        let unix = self
            .server
            .url()
            .replacen("/forebay?", &format!("/{DATABASE}?"), 1);
        let mut inside = PgConnection::connect(&unix).await?;
        let column = format!("{}({})", tables.column.name(), tables.dimensions);
        // Said apart, because `create table` takes it from PostgreSQL 16 on.
        let create = TABLES.replace("vector(1536)", &column);
        execute(&mut inside, &create.replace(" storage plain", "")).await?;
        execute(&mut inside, PLAIN).await?;
        if tables.index == Index::Hnsw {
            execute(&mut inside, CREATE_INDEX).await?;
        }
        inside.close().await?;
        execute(&mut connection, "checkpoint").await?;
        Ok(Urls {
            unix,
            tcp: self.tcp,
            has_tls: self.has_tls,
            relays: self.relays,
        })
    }

    /// Does some work, and says what the server used for it.
    pub(crate) async fn metered<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Metered)> {
        let mut connection = self.connection.lock().await;
        let wal = wal_bytes(&mut connection).await?;
        let cpu = process::family_cpu_seconds(self.postmaster);
        let done = work.await?;
        let used = Metered {
            server_cpu_seconds: process::family_cpu_seconds(self.postmaster) - cpu,
            wal_bytes: wal_bytes(&mut connection).await? - wal,
        };
        Ok((done, used))
    }
}

/// A loopback address on which nobody answers at PostgreSQL's port.
fn free_address() -> anyhow::Result<Ipv4Addr> {
    let addresses = (1..=100).map(|last| Ipv4Addr::new(127, 0, 0, last));
    let free = |address: &Ipv4Addr| TcpListener::bind((*address, PORT)).is_ok();
    let mut free = addresses.filter(free);
    free.next()
        .context("no loopback address has port 5432 free")
}

/// It is asked for, since a server that a killed bench has left behind is adopted as it is.
async fn address(connection: &mut PgConnection) -> anyhow::Result<SocketAddr> {
    let address = "select current_setting('listen_addresses')";
    let address: String = sqlx::query_scalar(address).fetch_one(connection).await?;
    ensure!(
        !address.is_empty(),
        "the bench's server was left running without TCP: stop it first"
    );
    Ok((address.parse::<IpAddr>()?, PORT).into())
}

/// Switches TLS on in a server that has it.
async fn has_tls(connection: &mut PgConnection, data: &Path) -> anyhow::Result<bool> {
    let owner = fs::metadata(data)?;
    // The names that the server looks for.
    for (name, pem) in [
        ("server.crt", relay::CERTIFICATE),
        ("server.key", relay::KEY),
    ] {
        let file = data.join(name);
        fs::write(&file, pem)?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        chown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    let on = sqlx::raw_sql("alter system set ssl = on");
    if on.execute(&mut *connection).await.is_err() {
        return Ok(false);
    }
    execute(connection, "select pg_reload_conf()").await?;
    // It is told, and does so in a moment.
    for _ in 0..100 {
        let ssl: String = sqlx::query_scalar("select current_setting('ssl')")
            .fetch_one(&mut *connection)
            .await?;
        if ssl == "on" {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(false)
}

async fn wal_bytes(connection: &mut PgConnection) -> anyhow::Result<f64> {
    let position = "select (pg_current_wal_insert_lsn() - '0/0')::float8";
    Ok(sqlx::query_scalar(position).fetch_one(connection).await?)
}

/// Runs statements that answer nothing.
pub(crate) async fn execute(connection: &mut PgConnection, statements: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(connection)
        .await
        .with_context(|| statements.to_owned())?;
    Ok(())
}
