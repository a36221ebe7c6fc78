//! What the tests of the command share: a directory with a server of its own, and the command.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses some of it"
)]

#[path = "support/isolation.rs"]
mod isolation;

use std::fs;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use isolation::isolate;

pub const TABLES: &str = include_str!("../examples/recruit/tables.sql");

/// Any free port of this machine.
pub const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Where `make plugins` puts the recruit plugins.
pub fn plugins() -> PathBuf {
    let directory = root().join("target/plugins");
    assert!(
        directory.join("recruit-rules.wasm").exists(),
        "run `make plugins` first"
    );
    directory
}

/// A directory in which commands are run. Its server is stopped at the end, however that comes.
pub struct Place(TempDir);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        // Where TMPDIR is, a socket's path may be too long.
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        // The server's account has to enter also when the tests run as root.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        let output = isolate(&mut Command::new(env!("CARGO_BIN_EXE_forebay")))
            .args(arguments)
            .current_dir(self.path())
            // Texts are as wide as here on every terminal.
            .env("COLUMNS", "100")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs a command that has to succeed; what it printed.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.done(arguments)).unwrap()
    }

    /// Starts the server, so that it is there for all that follows.
    pub fn start_server(&self) {
        self.done(&["db", "start"]);
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.done(&["db", "url"]).trim())
            .await
            .unwrap()
    }

    pub async fn execute(&self, statements: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// The rows of a query, each as JSON text.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let mut connection = self.connect().await;
        let query = AssertSqlSafe(format!("select to_jsonb(q)::text from ({query}) q"));
        sqlx::query_scalar(query)
            .fetch_all(&mut connection)
            .await
            .unwrap()
    }

    /// The example's tables for vectors of `dimensions`.
    pub async fn make_tables(&self, dimensions: usize) {
        self.execute(&TABLES.replace("vector(1536)", &format!("vector({dimensions})")))
            .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.path().join(".forebay").exists() {
            self.run(&["db", "stop"]);
        }
    }
}
