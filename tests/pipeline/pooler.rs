//! The whole way through a real PgBouncer that gives each transaction another connection, while
//! another client uses it too. Skipped where there is no `pgbouncer` in `PATH` or in `/usr/sbin`.
//!
//! Before version 1.21, such as Debian 12 has, PgBouncer does not keep prepared statements, and
//! Forebay refuses it. The test that needs them kept puts a relay before it then that keeps them.

mod relay;
mod tls;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use support::{As, Home, Recruit, Script, Server, as_nobody, nowhere, row, skip};
use tempfile::TempDir;

/// Connections to the server for transactions: fewer than clients, so that they change hands.
const SERVER_CONNECTIONS: u32 = 3;

/// The first version that keeps prepared statements apart.
const KEEPS_STATEMENTS: (u32, u32) = (1, 21);

/// A PgBouncer before the tests' server.
struct Pooler {
    child: Child,
    _directory: TempDir,
    /// Where it listens, or what keeps statements before it.
    address: SocketAddr,
    sockets: PathBuf,
    database: String,
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join("pgbouncer"))
        .find(|program| program.is_file());
    if found.is_none() {
        skip("PgBouncer is not installed: apt-get install pgbouncer");
    }
    found
}

fn version(program: &Path) -> (u32, u32) {
    let output = Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = text.split_whitespace().nth(1).unwrap();
    let mut parts = number.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

impl Pooler {
    /// `statements`: for how many prepared statements of a client there is room.
    fn start(program: &Path, url: &str, mode: &str, statements: u32) -> Self {
        Self::start_with(program, url, mode, statements, |_| String::new())
    }

    /// With more settings, and with files that these name in a directory of its own.
    fn start_with(
        program: &Path,
        url: &str,
        mode: &str,
        statements: u32,
        more: impl FnOnce(&Path) -> String,
    ) -> Self {
        let (database, query) = url.split_once("///").unwrap().1.split_once('?').unwrap();
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let value = pairs.find(|(key, _)| *key == name).unwrap().1;
            value.replace("%2F", "/")
        };
        // Where TMPDIR is, a socket's path may be too long.
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let address = nowhere();
        let (host, server_port, user) = (value("host"), value("port"), value("user"));
        let statements = if version(program) >= KEEPS_STATEMENTS {
            format!("max_prepared_statements = {statements}")
        } else {
            String::new()
        };
        // Clients that keep their connections need one each.
        let size = if mode == "session" {
            32
        } else {
            SERVER_CONNECTIONS
        };
        let (sockets, ip, port) = (directory.path().display(), address.ip(), address.port());
        let settings = format!(
            "[databases]\n* = host={host} port={server_port} user={user}\n\
             [pgbouncer]\nlisten_addr = {ip}\nlisten_port = {port}\nunix_socket_dir = {sockets}\n\
             auth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n{statements}\n{more}\n",
            more = more(directory.path())
        );
        let file = directory.path().join("pgbouncer.ini");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(program);
        command
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        as_nobody(&mut command, directory.path());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines().map(Result::unwrap);
        let mut said = String::new();
        while !said.contains("process up") {
            let line = lines.next();
            said += &line.unwrap_or_else(|| panic!("pgbouncer ended: {said}"));
            said.push('\n');
        }
        // It stops where nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            sockets: directory.path().to_owned(),
            _directory: directory,
            address,
            database: database.to_owned(),
        }
    }

    /// One that keeps prepared statements, by itself if it can.
    fn keeping_statements(program: &Path, url: &str) -> Self {
        let mut pooler = Self::start(program, url, "transaction", 100);
        if version(program) < KEEPS_STATEMENTS {
            let (address, sockets) = (nowhere(), pooler.sockets.join("relay"));
            fs::create_dir(&sockets).unwrap();
            relay::start(address, &sockets, pooler.address);
            (pooler.address, pooler.sockets) = (address, sockets);
        }
        pooler
    }

    fn tcp(&self) -> String {
        let (address, database) = (self.address, &self.database);
        format!("postgres://forebay@{address}/{database}?sslmode=disable")
    }

    fn socket(&self) -> String {
        let directory = self.sockets.display().to_string();
        let (host, port) = (directory.replace('/', "%2F"), self.address.port());
        let database = &self.database;
        format!("postgres:///{database}?host={host}&port={port}&user=forebay&sslmode=disable")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Puts another URL into the configuration.
fn go_through(home: &Home, url: &str) {
    let file = home.path().join("forebay.toml");
    let text = fs::read_to_string(&file).unwrap();
    let through = text.replace(&home.database.url, url);
    assert_ne!(text, through);
    fs::write(&file, through).unwrap();
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    options.extra_float_digits(None).connect().await.unwrap()
}

/// Somebody else, with one transaction after the other, which are counted.
async fn neighbour(url: String, is_over: Arc<AtomicBool>, transactions: Arc<AtomicU64>) {
    let mut connection = connect(&url).await;
    while !is_over.load(Ordering::Relaxed) {
        let transaction = sqlx::raw_sql("begin; select 1; commit");
        transaction.execute(&mut connection).await.unwrap();
        transactions.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is set on each of the server's connections when nobody is in a transaction.
async fn settings(url: &str) -> Vec<String> {
    let mut connections = Vec::new();
    let mut found = Vec::new();
    for _ in 0..SERVER_CONNECTIONS {
        let mut connection = connect(url).await;
        let begin = sqlx::raw_sql("begin");
        begin.execute(&mut connection).await.unwrap();
        let setting = sqlx::query_scalar(
            "select string_agg(setting, ' ' order by name) from pg_settings
             where name in ('enable_seqscan', 'lock_timeout', 'statement_timeout')",
        );
        found.push(setting.fetch_one(&mut connection).await.unwrap());
        connections.push(connection);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_may_each_have_another_connection() {
    let Some(program) = program() else { return };
    for way in [Pooler::socket, Pooler::tcp] {
        let recruit = Recruit::new().await;
        let pooler = Pooler::keeping_statements(&program, &recruit.home.database.url);
        let url = way(&pooler);
        go_through(&recruit.home, &url);
        let is_over = Arc::new(AtomicBool::new(false));
        let transactions = Arc::new(AtomicU64::new(0));
        let neighbours: Vec<_> = (0..2)
            .map(|_| {
                (
                    pooler.tcp(),
                    Arc::clone(&is_over),
                    Arc::clone(&transactions),
                )
            })
            .map(|(url, is_over, count)| tokio::spawn(neighbour(url, is_over, count)))
            .collect();
        let home = &recruit.home;
        let ended = tokio::task::block_in_place(|| home.run());
        is_over.store(true, Ordering::Relaxed);
        for neighbour in neighbours {
            neighbour.await.unwrap();
        }
        ended.said("shared with others by a pooler");
        ended.done();
        assert!(transactions.load(Ordering::Relaxed) > 0);
        recruit.assert_undisturbed("a pooler").await;
        let untouched = vec!["on 0 0".to_owned(); SERVER_CONNECTIONS as usize];
        assert_eq!(settings(&pooler.tcp()).await, untouched);
    }
}

#[tokio::test]
async fn a_session_of_its_own_is_worked_with() {
    let Some(program) = program() else { return };
    let recruit = Recruit::new().await;
    let pooler = Pooler::start(&program, &recruit.home.database.url, "session", 0);
    go_through(&recruit.home, &pooler.socket());
    recruit.home.run().done();
    recruit.assert_undisturbed("a pooler of sessions").await;
}

#[tokio::test]
async fn a_pooler_that_cannot_be_worked_with_is_refused_at_once() {
    let Some(program) = program() else { return };
    let home = Home::recruit(8).await;
    home.configure_recruit("http://127.0.0.1:1", "");
    let direct = home.database.url.clone();
    let keeps = version(&program) >= KEEPS_STATEMENTS;
    let statement = if keeps {
        "statement pooling mode"
    } else {
        // It loses them, which shows first.
        "loses prepared statements"
    };
    for (mode, statements, says) in [
        ("transaction", 0, "loses prepared statements"),
        ("statement", 100, statement),
    ] {
        let pooler = Pooler::start(&program, &direct, mode, statements);
        home.configure_recruit("http://127.0.0.1:1", "");
        go_through(&home, &pooler.tcp());
        let ended = home.run();
        ended.said(says).said("hint: ");
        ended.exit(1);
        assert_eq!(settings(&direct).await[0], "on 0 0");
    }
    let schemas = "select count(*) from pg_namespace where nspname = 'forebay'";
    assert_eq!(home.database.number(schemas).await, 0);
}

#[tokio::test]
async fn a_standby_behind_it_is_waited_for() {
    let Some(program) = program() else { return };
    let home = Home::new().await;
    let mut server = Server::new().await;
    server
        .execute("create table items (id int primary key, number int, vector vector(2))")
        .await;
    let pooler = Pooler::keeping_statements(&program, &server.url("forebay"));
    let source = Script::new(2, &[]).chunk([row("1", &[0.5, 0.5])]).serve();
    home.configure(&source.pipeline(&["items"], ""));
    home.go_through(&pooler.socket());
    home.start_command(&["migrate"], "").wait().exit(0);
    server.stop();
    server.start(As::Standby).await;
    let mut host = home.start("");
    host.until("the server is read-only, as a standby is");
    server.promote().await;
    let ended = host.wait();
    ended.said("shared with others by a pooler");
    assert_eq!(ended.done()["rows"]["inserted"], 1);
}
