//! What the tests of the command share: a directory with a server of its own, and the command.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::{isolate, program, recruit_tables};

/// A directory in which commands are run. Its server is stopped at the end, however that comes.
pub struct Place(TempDir);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Ended {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// The program in a directory, with nothing of the user's around it.
pub fn forebay(directory: &Path) -> Command {
    let mut command = Command::new(program());
    isolate(&mut command)
        .current_dir(directory)
        // Texts are as wide as here on every terminal.
        .env("COLUMNS", "100");
    command
}

impl Place {
    /// An empty directory.
    #[expect(
        clippy::new_without_default,
        reason = "a default does not make directories"
    )]
    pub fn new() -> Self {
        // Where TMPDIR is, a socket's path may be too long.
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        // The server's account has to enter also when the tests run as root.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Self(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Runs a command in it to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(forebay(self.path()).args(arguments))
    }

    /// Runs a command that has to succeed; what it printed.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    /// As [`Place::done`]; what it printed as JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.done(arguments)).unwrap()
    }

    /// Runs a command on a terminal of `columns`, with `variables` such as `NO_COLOR=1`. Returns
    /// what the terminal got, which is both outputs.
    #[cfg(target_os = "linux")]
    pub fn on_terminal(&self, columns: u16, variables: &str, arguments: &[&str]) -> String {
        let (program, arguments) = (program(), arguments.join(" "));
        let line = format!(
            "stty rows 24 cols {columns}; exec env -u NO_COLOR -u COLUMNS {variables} '{}' {arguments}",
            program.display()
        );
        let mut child = isolate(&mut Command::new("script"))
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Open until the end: otherwise `script` sends an end of file, which the terminal shows.
        let input = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(input);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments}: {text}");
        text.replace("\r\n", "\n")
    }

    /// Starts the server, so that it is there for all that follows.
    pub fn start_server(&self) {
        self.done(&["db", "start"]);
    }

    /// Connects to its server.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.done(&["db", "url"]).trim())
            .await
            .unwrap()
    }

    /// Runs statements on its server.
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
        self.execute(&recruit_tables(dimensions)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.path().join(".forebay").exists() {
            self.run(&["db", "stop"]);
        }
    }
}
