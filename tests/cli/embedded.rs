//! The embedded server, for real: each test has a directory of its own and a PostgreSQL in it.
//! The installation comes from the machine or the user's cache, and is fetched once if need be.

use std::fs;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use forebay::embedded;
use forebay::embedded::{Embedded, Error, Settings, Stopped};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use sqlx::{Connection, PgConnection};
use support::Place;
use tempfile::TempDir;

/// A directory that the server's account can enter also when the tests run as root.
fn directory() -> TempDir {
    // Where TMPDIR is, a socket's path may be too long.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        pg_dir: None,
        cache_directory: None,
        listen: None,
    }
}

async fn integer(url: &str, query: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let number = sqlx::query_scalar(query)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    number
}

async fn execute(url: &str, statements: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// When the server last started: tells an adopted one from a new one.
async fn started(url: &str) -> i64 {
    let query = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1e6)::int8";
    integer(url, query).await
}

fn pid_file(server: &Embedded) -> PathBuf {
    server.data_directory().join("postmaster.pid")
}

fn pid(server: &Embedded) -> Pid {
    let text = fs::read_to_string(pid_file(server)).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn holds_vectors_and_keeps_them() {
    let directory = directory();
    let settings = settings(directory.path());
    let server = embedded::start(&settings).await.unwrap();
    execute(
        server.url(),
        "CREATE EXTENSION vector;
         CREATE TABLE kept (v vector(3) NOT NULL);
         INSERT INTO kept VALUES ('[1,2,3]');
         CREATE INDEX ON kept USING hnsw (v vector_l2_ops)",
    )
    .await;
    assert_eq!(server.stop().await.unwrap(), Stopped::Stopped);
    assert!(!embedded::status(&settings).unwrap().running);

    let server = embedded::start(&settings).await.unwrap();
    assert_eq!(integer(server.url(), "SELECT count(*) FROM kept").await, 1);
    assert!(
        server
            .version()
            .starts_with(|digit: char| digit.is_ascii_digit())
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_last_user_stops_it() {
    let directory = directory();
    let settings = settings(directory.path());
    let (first, second) = tokio::join!(embedded::start(&settings), embedded::start(&settings));
    let (first, second) = (first.unwrap(), second.unwrap());
    let begin = started(first.url()).await;
    assert_eq!(first.stop().await.unwrap(), Stopped::InUse);
    assert_eq!(started(second.url()).await, begin);
    assert_eq!(second.stop().await.unwrap(), Stopped::Stopped);
    assert_eq!(
        embedded::shut_down(&settings).await.unwrap(),
        Stopped::NotRunning
    );
}

#[tokio::test]
async fn a_host_that_was_killed_leaves_it_to_the_next() {
    let directory = directory();
    let settings = settings(directory.path());
    let killed = embedded::start(&settings).await.unwrap();
    let begin = started(killed.url()).await;
    // What the end of a process does: the lease goes, the server stays.
    drop(killed);
    let next = embedded::start(&settings).await.unwrap();
    assert_eq!(started(next.url()).await, begin);
    assert_eq!(next.stop().await.unwrap(), Stopped::Stopped);
}

#[tokio::test]
async fn a_kept_server_runs_until_it_is_shut_down() {
    let directory = directory();
    let settings = settings(directory.path());
    assert_eq!(
        embedded::shut_down(&settings).await.unwrap(),
        Stopped::NotRunning
    );
    let status = embedded::keep(&settings).await.unwrap();
    assert!(status.running && status.kept);
    let begin = started(&status.url).await;
    let user = embedded::start(&settings).await.unwrap();
    assert_eq!(user.url(), status.url);
    assert_eq!(user.stop().await.unwrap(), Stopped::Kept);
    assert_eq!(started(&status.url).await, begin);

    let user = embedded::start(&settings).await.unwrap();
    assert_eq!(
        embedded::shut_down(&settings).await.unwrap(),
        Stopped::InUse
    );
    assert_eq!(user.stop().await.unwrap(), Stopped::Stopped);
    assert!(!embedded::status(&settings).unwrap().kept);
}

#[tokio::test]
async fn a_killed_server_recovers() {
    let directory = directory();
    let settings = settings(directory.path());
    let server = embedded::start(&settings).await.unwrap();
    execute(
        server.url(),
        "CREATE TABLE kept (i int); INSERT INTO kept VALUES (7)",
    )
    .await;
    // A session that is still there when the postmaster is not.
    let orphan = PgConnection::connect(server.url()).await.unwrap();
    kill(pid(&server), Signal::SIGKILL).unwrap();
    drop(server);
    let server = embedded::start(&settings).await.unwrap();
    assert_eq!(integer(server.url(), "SELECT sum(i) FROM kept").await, 7);
    drop(orphan);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_reused_process_id_does_not_stop_a_start() {
    let directory = directory();
    let settings = settings(directory.path());
    let server = embedded::start(&settings).await.unwrap();
    let (path, left) = (
        pid_file(&server),
        fs::read_to_string(pid_file(&server)).unwrap(),
    );
    let owner = fs::metadata(&path).unwrap();
    server.stop().await.unwrap();

    let mut dead = std::process::Command::new("true").spawn().unwrap();
    let dead_pid = dead.id();
    assert_eq!(dead.wait().unwrap().signal(), None);
    // As after a power cut: the file says ready, and its process is gone or somebody else's.
    for pid in [dead_pid, std::process::id()] {
        let (_, rest) = left.split_once('\n').unwrap();
        fs::write(&path, format!("{pid}\n{rest}")).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(!embedded::status(&settings).unwrap().running);
        let server = embedded::start(&settings).await.unwrap();
        assert_eq!(server.stop().await.unwrap(), Stopped::Stopped);
    }
}

#[tokio::test]
async fn a_long_or_strange_path_works() {
    let directory = directory();
    let long = directory
        .path()
        .join("a 'strange' \"$path\", 100% ü")
        .join("x".repeat(100));
    let settings = settings(&long);
    let server = embedded::start(&settings).await.unwrap();
    assert!(
        server.url().contains("?host=/tmp/forebay-"),
        "{}",
        server.url()
    );
    assert_eq!(integer(server.url(), "SELECT 1::int8").await, 1);
    let socket = server
        .url()
        .split_once("host=")
        .unwrap()
        .1
        .split_once('&')
        .unwrap()
        .0
        .to_owned();
    server.stop().await.unwrap();
    assert!(!Path::new(&socket).exists(), "{socket} is left behind");

    let short = directory.path().join("a 's' \"$p\", 9%ü");
    let settings = self::settings(&short);
    let server = embedded::start(&settings).await.unwrap();
    assert_eq!(integer(server.url(), "SELECT 1::int8").await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn only_its_owner_gets_to_the_socket() {
    let directory = directory();
    let settings = settings(directory.path());
    let server = embedded::start(&settings).await.unwrap();
    let url = server.url();
    let socket = url
        .split_once("host=")
        .unwrap()
        .1
        .split_once('&')
        .unwrap()
        .0;
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(socket), 0o700);
    assert_eq!(mode(&format!("{socket}/.s.PGSQL.5432")), 0o700);
    let query = "SELECT count(*) FROM pg_settings WHERE name = 'listen_addresses' AND setting = ''";
    assert_eq!(integer(url, query).await, 1);
    server.stop().await.unwrap();
}

/// All of 127.0.0.0/8 is this machine on Linux, so nobody else is in the way but a server that
/// listens everywhere.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_answers_over_tcp_where_it_is_told_to() {
    let directory = directory();
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = std::net::Ipv4Addr::new(127, 77, high, low);
    if std::net::TcpListener::bind((address, 5432)).is_err() {
        return support::skip("a server listens at port 5432 of every address: stop it");
    }
    let settings = Settings {
        listen: Some(address.into()),
        ..settings(directory.path())
    };
    let server = embedded::start(&settings).await.unwrap();
    let url = format!("postgres://forebay@{address}/forebay?sslmode=disable");
    let query = "SELECT count(*) FROM pg_stat_activity
        WHERE pid = pg_backend_pid() AND client_addr IS NOT NULL";
    assert_eq!(integer(&url, query).await, 1);
    assert_eq!(integer(server.url(), query).await, 0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_version_is_left_alone() {
    let directory = directory();
    let settings = settings(directory.path());
    let other = directory.path().join("postgres/9");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("PG_VERSION"), "9\n").unwrap();
    let error = embedded::start(&settings).await.unwrap_err();
    assert!(matches!(error, Error::Version { data: 9, .. }), "{error}");
    assert!(
        error.to_string().contains("was created by PostgreSQL 9"),
        "{error}"
    );
}

#[tokio::test]
async fn an_incomplete_installation_is_named() {
    let directory = directory();
    let pg_dir = directory.path().join("pg");
    let settings = Settings {
        pg_dir: Some(pg_dir.clone()),
        ..settings(&directory.path().join("state"))
    };
    let error = embedded::start(&settings).await.unwrap_err().to_string();
    assert!(error.contains("bin/postgres is missing"), "{error}");
    fs::create_dir_all(pg_dir.join("bin")).unwrap();
    fs::write(pg_dir.join("bin/postgres"), "").unwrap();
    fs::write(pg_dir.join("bin/initdb"), "").unwrap();
    let error = embedded::start(&settings).await.unwrap_err().to_string();
    assert!(
        error.contains("vector.control is missing; searched"),
        "{error}"
    );
}

#[tokio::test]
async fn a_failed_initialisation_leaves_nothing() {
    let directory = directory();
    let pg_dir = directory.path().join("pg");
    fs::create_dir_all(pg_dir.join("bin")).unwrap();
    fs::create_dir_all(pg_dir.join("share/extension")).unwrap();
    fs::write(pg_dir.join("share/extension/vector.control"), "").unwrap();
    for (name, script) in [
        ("postgres", "echo 'postgres (PostgreSQL) 18.6'"),
        (
            "initdb",
            "echo half > \"$2/PG_VERSION\"; echo 'No space left on device' >&2; exit 1",
        ),
    ] {
        let path = pg_dir.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    let state = directory.path().join("state");
    let settings = Settings {
        pg_dir: Some(pg_dir),
        ..settings(&state)
    };
    let error = embedded::start(&settings).await.unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
    let left = fs::read_dir(state.join("postgres")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["start.lock", "users.lock"]);
}

/// What another user may have prepared in a folder before root, or anybody, runs there.
#[tokio::test]
async fn i9_what_leads_elsewhere_is_refused() {
    let elsewhere = directory();
    let secret = elsewhere.path().join("secret");
    let refused = async |prepare: &dyn Fn(&Path), says: &str| {
        fs::write(&secret, "secret").unwrap();
        let directory = directory();
        let postgres = directory.path().join("postgres");
        fs::create_dir(&postgres).unwrap();
        prepare(&postgres);
        let started = embedded::start(&settings(directory.path())).await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret", "{error}");
        let data = fs::read_dir(&postgres).unwrap().flatten();
        let data: Vec<_> = data
            .map(|entry| entry.file_name())
            .filter(|name| *name == "18")
            .collect();
        (error, data.len())
    };
    for name in ["log", "start.lock", "users.lock", "keep"] {
        let link = |postgres: &Path| symlink(&secret, postgres.join(name)).unwrap();
        let (error, data) = refused(&link, "is a symbolic link, and is not used").await;
        assert!(error.contains(name) && data == 0, "{error}");
        let fifo = |postgres: &Path| mkfifo(&postgres.join(name), Mode::S_IRWXU).unwrap();
        let (error, data) = refused(&fifo, "is a FIFO or a socket, and is not used").await;
        assert!(error.contains(name) && data == 0, "{error}");
        let hard = |postgres: &Path| fs::hard_link(&secret, postgres.join(name)).unwrap();
        refused(&hard, "is a hard link, and is not used").await;
    }
    // A data directory that is somebody else's, and the pid of a process that is.
    let data = |postgres: &Path| {
        fs::write(elsewhere.path().join("PG_VERSION"), "18\n").unwrap();
        symlink(elsewhere.path(), postgres.join("18")).unwrap();
    };
    refused(&data, "18 is a symbolic link").await;
    let pid = |postgres: &Path| {
        fs::create_dir(postgres.join("18")).unwrap();
        fs::write(postgres.join("18/PG_VERSION"), "18\n").unwrap();
        mkfifo(&postgres.join("18/postmaster.pid"), Mode::S_IRWXU).unwrap();
    };
    refused(&pid, "postmaster.pid is a FIFO").await;
    let whole = directory();
    symlink(elsewhere.path(), whole.path().join("postgres")).unwrap();
    let error = embedded::start(&settings(whole.path())).await.unwrap_err();
    assert!(
        error.to_string().contains("postgres is a symbolic link"),
        "{error}"
    );

    if !nix::unistd::geteuid().is_root() {
        return support::skip("only root can be in a folder of another user: run as root");
    }
    let owned = |postgres: &Path| chown(postgres, Some(4321), Some(4321)).unwrap();
    refused(
        &owned,
        "belongs to uid 4321, and this process runs as uid 0",
    )
    .await;
    let owned = |postgres: &Path| {
        fs::write(postgres.join("log"), "").unwrap();
        chown(postgres.join("log"), Some(4321), Some(4321)).unwrap();
    };
    refused(&owned, "log belongs to uid 4321").await;
}

/// Without a schedule it would have nothing to do meanwhile.
const YEARLY: &str = "[pipelines.p]\nsource = { grpc = \"http://127.0.0.1:1\", dataset = \"d\" }\n\
    tables = [\"t\"]\nplugins = []\nschedule = \"0 0 0 1 JAN ?\"\n";

#[test]
fn i2_a_server_that_is_killed_is_started_again_while_serving() {
    let place = Place::new();
    place.write("forebay.toml", YEARLY);
    let mut host = Command::new(support::program());
    let mut host = support::isolate(&mut host)
        .current_dir(place.path())
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(host.stderr.take().unwrap()).lines();
    let mut until = |text: &str| {
        let line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains(text)));
        line.unwrap_or_else(|| panic!("not said: {text}")).unwrap()
    };
    let line = until("listening: http://");
    let (_, rest) = line.split_once("http://").unwrap();
    let address = rest.split('/').next().unwrap().to_owned();
    // The database is there, and the source is not.
    until("trying again");
    let data = place.path().join(".forebay/postgres/18/postmaster.pid");
    let read = || -> i32 {
        let text = fs::read_to_string(&data).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    };
    let before = read();
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    until("the embedded PostgreSQL has ended unexpectedly; starting it again");
    until("started PostgreSQL");
    assert_ne!(read(), before);
    let health = loop {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.contains("\"restarts\": 1") {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(health.contains("\"problem\": null"), "{health}");
    kill(Pid::from_raw(host.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    until("stopped PostgreSQL");
    assert_eq!(host.wait().unwrap().code(), Some(0));
}

#[test]
fn i13_no_signal_but_a_kill_leaves_the_server_behind() {
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new();
        // A source that nobody answers for: `check` asks for two seconds.
        place.write("forebay.toml", YEARLY);
        let mut check = Command::new(support::program());
        let mut check = support::isolate(&mut check)
            .current_dir(place.path())
            .args(["check", "--log", "info"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(check.stderr.take().unwrap()).lines();
        let mut until = |text: &str| {
            let said = |line: &std::io::Result<String>| {
                line.as_ref().is_ok_and(|line| line.contains(text))
            };
            assert!(log.any(|line| said(&line)), "not said: {text}");
        };
        until("trying again");
        kill(Pid::from_raw(check.id().try_into().unwrap()), signal).unwrap();
        until("stopped PostgreSQL");
        assert_eq!(check.wait().unwrap().code(), Some(130), "{signal}");
    }
}

/// Root runs the server as somebody else, who cannot enter a directory with mode 0700.
#[tokio::test]
async fn root_keeps_its_server_where_the_account_can_go() {
    if !nix::unistd::geteuid().is_root() {
        return support::skip("only root has a server run by another account: run as root");
    }
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
    let server = embedded::start(&settings(closed.path())).await.unwrap();
    let data = server.data_directory().to_owned();
    assert!(data.starts_with("/var/lib/forebay"), "{}", data.display());
    server.stop().await.unwrap();
    fs::remove_dir_all(data.parent().unwrap().parent().unwrap()).unwrap();
}
