//! The host as a process of its own, with a directory and a database of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Database, Over, PATIENCE, guests, program, recruit_tables, target};

/// A configuration and a database for it.
pub struct Home {
    /// Empty but for what the test makes.
    pub database: Database,
    /// Environment variables of its commands.
    pub environment: Vec<(&'static str, String)>,
    directory: TempDir,
    starts: AtomicU32,
}

impl Home {
    /// With an empty database, and no configuration.
    pub async fn new() -> Self {
        Self::with(Database::new().await)
    }

    /// With this database, and no configuration.
    pub fn with(database: Database) -> Self {
        Self {
            database,
            environment: Vec::new(),
            directory: tempfile::tempdir().unwrap(),
            starts: AtomicU32::new(0),
        }
    }

    /// Where its configuration is, and commands are run.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// With the tables of the recruit example, for vectors of so many dimensions.
    pub async fn recruit(dimensions: usize) -> Self {
        Self::recruit_over(Over::Unix, dimensions).await
    }

    /// As [`Home::recruit`], with the database over this way to it.
    pub async fn recruit_over(over: Over, dimensions: usize) -> Self {
        let home = Self::with(Database::over(over).await);
        home.database.execute(&recruit_tables(dimensions)).await;
        home
    }

    /// Writes `forebay.toml`: this database, the built plugins and `pipelines`.
    pub fn configure(&self, pipelines: &str) {
        self.configure_with(&guests("plugins"), "", pipelines);
    }

    /// As [`Home::configure`], with plugins from elsewhere, and more keys before the pipelines.
    pub fn configure_with(&self, plugins: &Path, more: &str, pipelines: &str) {
        let url = &self.database.url;
        let text = format!(
            "database.url = {url:?}\nplugins.directory = {plugins:?}\n{more}\n{pipelines}\n"
        );
        std::fs::write(self.directory.path().join("forebay.toml"), text).unwrap();
    }

    /// A plugin directory with this one of the tests' own guests.
    pub fn only(&self, guest: &str) -> PathBuf {
        let directory = self.directory.path().join("plugins");
        let file = format!("{guest}.wasm");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::copy(guests("test-plugins").join(&file), directory.join(&file)).unwrap();
        directory
    }

    /// Configures the recruit pipeline in chunks of 100 rows; `more` is appended to it.
    pub fn configure_recruit(&self, source: &str, more: &str) {
        self.configure_recruit_in(100, source, more);
    }

    /// As [`Home::configure_recruit`], in chunks of so many rows.
    pub fn configure_recruit_in(&self, chunk_rows: u32, source: &str, more: &str) {
        self.configure(&format!(
            r#"
            [pipelines.recruit]
            source = {{ grpc = "{source}", dataset = "recruit", chunk_rows = {chunk_rows} }}
            plugins = ["recruit-normalize", "recruit-rules", "recruit-dlq"]
            tables = ["recruit_metadata", "recruit_embedding"]
            {more}"#
        ));
    }

    /// Puts another URL for that of the database into the configuration.
    pub fn go_through(&self, url: &str) {
        let file = self.directory.path().join("forebay.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let through = text.replace(&self.database.url, url);
        assert_ne!(text, through);
        std::fs::write(&file, through).unwrap();
    }

    /// Runs `forebay run` to its end.
    pub fn run(&self) -> Ended {
        self.start("").wait()
    }

    /// Starts `forebay run`, with `faults` at named points: see `host/src/fault.rs`.
    pub fn start(&self, faults: &str) -> Host {
        let report = format!(
            "report-{}.json",
            self.starts.fetch_add(1, Ordering::Relaxed)
        );
        let mut host = self.start_command(&["run", "--report", &report], faults);
        host.report = Some(self.directory.path().join(report));
        host
    }

    /// Starts any command.
    pub fn start_command(&self, arguments: &[&str], faults: &str) -> Host {
        let mut child = Command::new(program())
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("XDG_CACHE_HOME", target().join("test-cache"))
            .env("HOME", target().join("test-cache"))
            .env("FOREBAY_LOG", "info,forebay=debug")
            .env("FAILPOINTS", faults)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                // Nobody listens to a host that is left alone.
                drop(sender.send(line));
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        Host {
            child,
            lines,
            log: String::new(),
            stdout: Some(stdout),
            report: None,
        }
    }
}

/// A host at work. Killed if a test leaves it alone.
pub struct Host {
    child: Child,
    lines: Receiver<String>,
    log: String,
    stdout: Option<JoinHandle<std::io::Result<String>>>,
    report: Option<PathBuf>,
}

impl Host {
    /// Waits until the host has logged a line with `text` in it.
    pub fn until(&mut self, text: &str) {
        assert!(
            self.until_or_end(text),
            "the host ended without saying {text:?}:\n{}",
            self.log
        );
    }

    /// Waits for a line with `text` in it, or for the host's end: then false.
    pub fn until_or_end(&mut self, text: &str) -> bool {
        let began = Instant::now();
        while let Some(line) = self.next_line() {
            if line.contains(text) {
                return true;
            }
            // A host that never ends says something all the time.
            assert!(
                began.elapsed() < 5 * PATIENCE,
                "the host does not say {text:?}"
            );
        }
        false
    }

    /// The next line of the log; `None` when there are no more.
    pub fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.log.push_str(&line);
                self.log.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the host hangs:\n{}", self.log),
        }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(process), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        while self.next_line().is_some() {}
        let status = self.child.wait().unwrap();
        let report = self
            .report
            .as_ref()
            .and_then(|report| std::fs::read(report).ok());
        Ended {
            status,
            log: std::mem::take(&mut self.log),
            stdout: self.stdout.take().unwrap().join().unwrap().unwrap(),
            report: report.map_or(Value::Null, |report| {
                serde_json::from_slice(&report).unwrap()
            }),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Fails where it has ended and been waited for.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() && !self.log.is_empty() {
            eprintln!("the host's log:\n{}", self.log);
        }
    }
}

/// A host that has ended.
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard error.
    pub log: String,
    /// What it wrote to standard output.
    pub stdout: String,
    /// Null if none was written.
    pub report: Value,
}

impl Ended {
    /// The report of a host that ended with this exit code.
    #[track_caller]
    pub fn exit(self, code: i32) -> Value {
        let Self { status, log, .. } = &self;
        assert_eq!(status.code(), Some(code), "{status}; its log:\n{log}");
        self.report
    }

    /// The report of a run that came to its end.
    #[track_caller]
    pub fn done(self) -> Value {
        let log = self.log.clone();
        let report = self.exit(0);
        assert_eq!(report["status"], "succeeded", "{report:#}\n{log}");
        report
    }

    /// Asserts that the log has a line with `text`.
    #[track_caller]
    pub fn said(&self, text: &str) -> &Self {
        assert!(self.log.contains(text), "no {text:?} in:\n{}", self.log);
        self
    }
}
