//! A PostgreSQL server of a test's own, which can be stopped, be a standby, and ask for passwords.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay::embedded;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::PATIENCE;

/// The superuser, who needs no password, and the name of his database.
const SUPERUSER: &str = "forebay";

/// A server with pgvector. Stopped, and removed, at the end of its test.
pub struct Server {
    directory: TempDir,
    program: PathBuf,
    data: PathBuf,
    sockets: String,
    child: Option<Child>,
}

/// What a server is when it starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// It takes writes.
    Primary,
    /// It takes none until it is promoted.
    Standby,
}

impl Server {
    /// Makes one, and starts it.
    pub async fn new() -> Self {
        // Another user runs the server of root.
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let settings = embedded::Settings {
            directory: directory.path().join(".forebay"),
            pg_dir: None,
            cache_directory: None,
            listen: None,
        };
        let lease = embedded::start(&settings).await.unwrap();
        let mut connection = PgConnection::connect(lease.url()).await.unwrap();
        let mut show = async |setting: &str| -> String {
            let show = sqlx::query_scalar(AssertSqlSafe(format!("show {setting}")));
            show.fetch_one(&mut connection).await.unwrap()
        };
        let data = PathBuf::from(show("data_directory").await);
        connection.close().await.unwrap();
        let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap();
        let program = format!("/proc/{}/exe", pid.lines().next().unwrap());
        let program = fs::read_link(program).unwrap();
        lease.stop().await.unwrap();
        let sockets = directory.path().join("sockets");
        fs::create_dir(&sockets).unwrap();
        let owner = fs::metadata(&data).unwrap();
        chown(&sockets, Some(owner.uid()), Some(owner.gid())).unwrap();
        let mut server = Self {
            directory,
            program,
            data,
            sockets: sockets.display().to_string(),
            child: None,
        };
        server.start(As::Primary).await;
        server.execute("create extension vector").await;
        server
    }

    /// Where its files are; empty otherwise.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Connects to it as a role.
    pub fn url(&self, role: &str) -> String {
        let host = self.sockets.replace('/', "%2F");
        format!("postgres:///{SUPERUSER}?host={host}&port=5432&user={role}")
    }

    /// Runs statements as the superuser.
    pub async fn execute(&self, statements: &str) {
        let mut connection = self.connect().await;
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        statements.execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The one number that a query returns.
    pub async fn number(&self, query: &str) -> i64 {
        let mut connection = self.connect().await;
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_one(&mut connection).await.unwrap()
    }

    /// A connection of the superuser.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url(SUPERUSER)).await.unwrap()
    }

    /// Asks all roles but the superuser for a password from now on.
    pub async fn ask_for_passwords(&self) {
        let rules = format!("local all {SUPERUSER} trust\nlocal all all scram-sha-256\n");
        fs::write(self.data.join("pg_hba.conf"), rules).unwrap();
        self.execute("select pg_reload_conf()").await;
    }

    /// Starts it.
    pub async fn start(&mut self, role: As) {
        let signal = self.data.join("standby.signal");
        match role {
            As::Standby => fs::write(signal, "").unwrap(),
            As::Primary => drop(fs::remove_file(signal)),
        }
        let mut command = Command::new(&self.program);
        command.arg("-D").arg(&self.data).args(["-p", "5432"]);
        for setting in [
            "listen_addresses=",
            "wal_level=replica",
            "fsync=off",
            "shared_buffers=32MB",
            "max_connections=50",
            &format!("unix_socket_directories={}", self.sockets),
        ] {
            command.args(["-c", setting]);
        }
        let owner = fs::metadata(&self.data).unwrap();
        let own = fs::metadata("/proc/self").unwrap();
        if own.uid() != owner.uid() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.current_dir("/").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = self.directory.path().join("server.log");
        command.stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + PATIENCE;
        while PgConnection::connect(&self.url(SUPERUSER)).await.is_err() {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > end {
                let log = fs::read_to_string(&log).unwrap();
                panic!("the server does not start: {ended:?}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = Some(child);
    }

    /// Stops it, with all its connections.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let process = i32::try_from(child.id()).unwrap();
        kill(Pid::from_raw(process), Signal::SIGINT).unwrap();
        child.wait().unwrap();
    }

    /// Makes a standby the primary.
    pub async fn promote(&self) {
        self.execute("select pg_promote()").await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
