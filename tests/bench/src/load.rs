//! `forebay run`: the program that is shipped, with a source in another process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};

use crate::lab;
use crate::lab::{Lab, Urls};
use crate::sets::{Set, described};
use crate::source;
use crate::source::Source;
use crate::source::dirt::Dirt;

/// A run of the host.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) plugins: &'a Set,
    pub(crate) source: &'a Source,
    pub(crate) source_over: Over,
    pub(crate) database_over: Over,
    pub(crate) expect: Expect,
    /// `pipelines.recruit.index`, unless it is left out.
    pub(crate) index: Option<&'static str>,
    /// A file with the rows, in place of the source.
    pub(crate) file: Option<&'a Path>,
    /// Rows that the database refuses.
    pub(crate) dirt: Option<Dirt>,
    /// Statements before the run, which are no part of it.
    pub(crate) before: Option<&'static str>,
    /// The role that the host connects as, if it is not the superuser.
    pub(crate) role: Option<&'static str>,
}

/// A way to the database, or to the source, which has the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Tcp,
    Unix,
    /// TLS to the server itself, where it has that.
    Tls,
    /// TCP to a relay.
    Relay,
    /// TLS to a relay, and from there without.
    RelayTls,
    /// TCP through a network that takes 1 ms in each direction.
    Far,
    /// TCP through the same relay, that lets all pass at once.
    Near,
}

/// What becomes of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// None is there: all are inserted.
    New,
    /// The same are there: all are unchanged.
    Unchanged,
    /// The second generation where the first is there: some are updated.
    Changed,
    /// So many are there unchanged, the others are inserted.
    Grown(usize),
}

/// What the host reports of itself, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    rows: Rows,
    codes: serde_json::Value,
    pub(crate) rows_per_second: f64,
    pub(crate) cpu_microseconds_per_row: f64,
    pub(crate) peak_memory_bytes: Option<f64>,
    pub(crate) chunk_seconds: Option<ChunkSeconds>,
}

#[derive(Debug, Deserialize)]
struct Rows {
    inserted: u64,
    updated: u64,
    unchanged: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct ChunkSeconds {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl<'a> Load<'a> {
    /// New rows in the usual way: gRPC over TCP, PostgreSQL over its Unix socket.
    pub(crate) fn new(plugins: &'a Set, source: &'a Source) -> Self {
        Self {
            plugins,
            source,
            source_over: Over::Tcp,
            database_over: Over::Unix,
            expect: Expect::New,
            index: None,
            file: None,
            dirt: None,
            before: None,
            role: None,
        }
    }

    /// The configuration, in a directory of its own that is made anew.
    fn config(&self, lab: &Lab, urls: &Urls) -> anyhow::Result<PathBuf> {
        let home = lab.directory.join("host");
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        let plugins = home.join("plugins");
        fs::create_dir_all(&plugins)?;
        let mut names = Vec::new();
        for file in &self.plugins.files {
            names.push(described(file));
            fs::copy(file, plugins.join(file.file_name().unwrap_or_default()))?;
        }
        let database = urls.over(self.database_over)?;
        let database = match self.role {
            Some(role) => database.replacen("user=forebay&", &format!("user={role}&"), 1),
            None => database,
        };
        let address = match self.source_over {
            Over::Unix => &self.source.unix_url,
            _ => &self.source.url,
        };
        let dirt = self.dirt.filter(|dirt| dirt.share > 0);
        let dataset = match (self.expect, dirt) {
            (_, Some(dirt)) => dirt.dataset(),
            (Expect::New | Expect::Unchanged | Expect::Grown(_), None) => source::FIRST.into(),
            (Expect::Changed, None) => source::CHANGED.into(),
        };
        let source = match self.file {
            Some(path) => format!("files = {path:?}"),
            None => format!("grpc = {address:?}, dataset = {dataset:?}"),
        };
        let mut config = format!(
            "database.url = {database:?}\nplugins.directory = {plugins:?}\n\
             [pipelines.recruit]\nsource = {{ {source} }}\n\
             plugins = {names:?}\ntables = [\"recruit_metadata\", \"recruit_embedding\"]\n"
        );
        if let Some(index) = self.index {
            config.push_str(&format!("index = {index:?}\n"));
        }
        if dirt.is_some() {
            config.push_str("dead_letter_limit = \"100%\"\n");
        }
        let path = home.join("forebay.toml");
        fs::write(&path, config)?;
        Ok(path)
    }

    /// Writes the configuration and makes the host's own tables, which is no part of a run.
    pub(crate) async fn prepare(&self, lab: &Lab, urls: &Urls) -> anyhow::Result<PathBuf> {
        let config = self.config(lab, urls)?;
        let rules = self.dirt.map(|dirt| dirt.why.rules());
        for statements in rules.into_iter().chain(self.before) {
            let mut connection = PgConnection::connect(&urls.unix).await?;
            lab::execute(&mut connection, statements).await?;
            connection.close().await?;
        }
        let mut command = Command::new(&lab.program);
        command.args(["migrate", "--config"]).arg(&config);
        let output = command.stdin(Stdio::null()).output().await?;
        self.ended_well(&output)?;
        Ok(config)
    }

    /// Starts the run.
    pub(crate) fn spawn(&self, lab: &Lab, config: &Path) -> anyhow::Result<Child> {
        let mut command = Command::new(&lab.program);
        command.args(["run", "--config"]).arg(config);
        command.arg("--report").arg(config.with_extension("json"));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command.stderr(Stdio::piped()).kill_on_drop(true).spawn()?)
    }

    /// What the run came to, which has to be what was expected.
    pub(crate) fn report(&self, config: &Path, output: &Output) -> anyhow::Result<Report> {
        self.ended_well(output)?;
        let report = fs::read(config.with_extension("json"))?;
        let report: Report = serde_json::from_slice(&report)?;
        let (shape, refused) = (
            self.source.shape,
            self.dirt.map(|it| it.refused(self.source.shape)),
        );
        let (all, changed) = (
            shape.rows - refused.unwrap_or_default(),
            shape.changed().len(),
        );
        let (inserted, updated, unchanged) = match self.expect {
            Expect::New => (all, 0, 0),
            Expect::Unchanged => (0, 0, all),
            Expect::Changed => (0, changed, all - changed),
            Expect::Grown(known) => (all - known, 0, known),
        };
        let Rows {
            inserted: i,
            updated: u,
            unchanged: n,
        } = report.rows;
        ensure!(
            [i, u, n] == [inserted, updated, unchanged].map(|rows| rows as u64),
            "with {}, {inserted} inserted, {updated} updated and {unchanged} unchanged rows were \
             expected: {:?}, {}",
            self.plugins.label,
            report.rows,
            report.codes
        );
        Ok(report)
    }

    fn ended_well(&self, output: &Output) -> anyhow::Result<()> {
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("the host with {} failed:\n{said}", self.plugins.label);
        }
        Ok(())
    }
}

/// Whether the host's configuration has a key of a pipeline.
pub(crate) async fn knows_key(lab: &Lab, key: &str) -> anyhow::Result<bool> {
    let mut command = Command::new(&lab.program);
    let output = command.args(["check", "--schema"]).output().await?;
    let schema: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`forebay check --schema` is no JSON")?;
    let pointer = format!("/$defs/Pipeline/properties/{key}");
    Ok(schema.pointer(&pointer).is_some())
}
