//! Where runs take place: an embedded server of the bench's own with its usual durability, and a
//! database made anew for each.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use forebay::embedded;
use forebay::embedded::Embedded;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

use crate::ceiling::Column;
use crate::figures::Metered;
use crate::process;

/// The tables of the example.
const TABLES: &str = include_str!("../../../examples/recruit/tables.sql");

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

/// A database over both ways to it.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) unix: String,
    pub(crate) tcp: String,
}

/// The server, the program that is measured, and a directory for what it needs.
pub(crate) struct Lab {
    pub(crate) program: PathBuf,
    pub(crate) directory: PathBuf,
    server: Embedded,
    tcp: String,
    postmaster: u32,
    /// Open all the time, so that connecting is no part of what is measured.
    connection: Mutex<PgConnection>,
}

impl Lab {
    /// Starts the server.
    pub(crate) async fn start(target: &Path, directory: &Path) -> anyhow::Result<Self> {
        let program = target.join("release").join("forebay");
        ensure!(
            program.is_file(),
            "{} is missing: run `make build`",
            program.display()
        );
        let settings = embedded::Settings {
            directory: directory.join(".forebay"),
            pg_dir: None,
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
        Ok(Self {
            program,
            directory: directory.to_owned(),
            tcp: tcp_url(&mut connection).await?,
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
        execute(&mut inside, &TABLES.replace("vector(1536)", &column)).await?;
        if tables.index == Index::Hnsw {
            execute(&mut inside, CREATE_INDEX).await?;
        }
        inside.close().await?;
        execute(&mut connection, "checkpoint").await?;
        let tcp = self.tcp.clone();
        Ok(Urls { unix, tcp })
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
    let free = |address: &Ipv4Addr| TcpListener::bind((*address, 5432)).is_ok();
    let mut free = addresses.filter(free);
    free.next()
        .context("no loopback address has port 5432 free")
}

/// It is asked for, since a server that a killed bench has left behind is adopted as it is.
async fn tcp_url(connection: &mut PgConnection) -> anyhow::Result<String> {
    let address = "select current_setting('listen_addresses')";
    let address: String = sqlx::query_scalar(address).fetch_one(connection).await?;
    ensure!(
        !address.is_empty(),
        "the bench's server was left running without TCP: stop it first"
    );
    Ok(format!(
        "postgres://forebay@{address}/{DATABASE}?sslmode=disable"
    ))
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
