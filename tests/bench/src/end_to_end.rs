//! End to end: `forebay run` with a source in another process, into the tables of a database
//! made for the run, on an embedded server of the bench's own with its usual durability.
//!
//! What a round compares has to run close together: the machine's speed drifts. So each round
//! takes the variants in another order, and a variant is compared with the mean of the round's
//! two runs without plugins, which are also compared with each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use forebay::embedded::{self, Embedded};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

use crate::figures::Spread;
use crate::sets::{Set, described};
use crate::source::Child;

/// The tables of the example.
const TABLES: &str = include_str!("../../../examples/recruit/tables.sql");

/// The database of the run in progress.
const DATABASE: &str = "forebay_bench";

/// What is needed to run variants.
pub(crate) struct Comparison<'a> {
    program: PathBuf,
    directory: PathBuf,
    source: &'a Child,
    rows: usize,
    dimensions: usize,
    server: Embedded,
}

/// One run.
#[derive(Clone, Copy)]
struct Run {
    rows_per_second: f64,
    /// Of the host, by row.
    cpu_microseconds: f64,
}

/// A variant over all rounds. Ratios and differences are to the runs without plugins.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) rows_per_second: Spread,
    pub(crate) cpu_microseconds: Spread,
    /// 1 is as fast; less is slower.
    pub(crate) throughput: Spread,
    /// Microseconds.
    pub(crate) cpu_more: Spread,
}

impl<'a> Comparison<'a> {
    /// Starts the server.
    pub(crate) async fn start(
        target: &Path,
        directory: &Path,
        source: &'a Child,
        (rows, dimensions): (usize, usize),
    ) -> anyhow::Result<Self> {
        let program = target.join("release").join("forebay");
        if !program.is_file() {
            bail!("{} is missing: run `make build`", program.display());
        }
        let settings = embedded::Settings {
            directory: directory.join(".forebay"),
            pg_dir: None,
            cache_directory: None,
            listen: None,
        };
        let server = embedded::start(&settings).await?;
        // It would come in the middle of some runs and not of others.
        for statement in [
            "alter system set autovacuum = off",
            "select pg_reload_conf()",
        ] {
            execute(server.url(), statement).await?;
        }
        Ok(Self {
            program,
            directory: directory.to_owned(),
            source,
            rows,
            dimensions,
            server,
        })
    }

    /// Stops the server.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        execute(
            self.server.url(),
            &format!("drop database if exists {DATABASE} with (force)"),
        )
        .await?;
        self.server.stop().await?;
        Ok(())
    }

    /// Runs the sets in turn with two runs without plugins.
    pub(crate) async fn rounds(&self, sets: &[&Set], rounds: usize) -> anyhow::Result<Vec<Row>> {
        let (none, again) = (Set::none("no plugins"), Set::none("no plugins, again"));
        let mut variants = vec![&none];
        variants.extend(sets);
        variants.push(&again);
        let mut runs: Vec<Vec<Run>> = vec![Vec::new(); variants.len()];
        // One round warms up (the server's files, the cache of compiled plugins) and is not
        // counted.
        for round in 0..=rounds {
            eprintln!("end to end: round {round} of {rounds}");
            for place in 0..variants.len() {
                let at = (place + round) % variants.len();
                let (Some(variant), Some(runs)) = (variants.get(at), runs.get_mut(at)) else {
                    continue;
                };
                let run = self.run(variant).await?;
                if round > 0 {
                    runs.push(run);
                }
            }
        }
        Ok(compared(&variants, &runs))
    }

    /// One run into a database of its own.
    async fn run(&self, set: &Set) -> anyhow::Result<Run> {
        let url = self.database().await?;
        let home = self.directory.join("host");
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        let plugins = home.join("plugins");
        fs::create_dir_all(&plugins)?;
        let mut names = Vec::new();
        for file in &set.files {
            names.push(described(file));
            fs::copy(file, plugins.join(file.file_name().unwrap_or_default()))?;
        }
        let pipeline = Child::pipeline(self.source.url(), &names);
        let config = format!("database.url = {url:?}\nplugins.directory = {plugins:?}\n{pipeline}");
        let (config_path, report) = (home.join("forebay.toml"), home.join("report.json"));
        fs::write(&config_path, config)?;
        let output = Command::new(&self.program)
            .args(["run", "--config"])
            .arg(&config_path)
            .arg("--report")
            .arg(&report)
            .stdin(Stdio::null())
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("the run with {} failed:\n{said}", set.label);
        }
        self.read(&fs::read(&report)?)
            .with_context(|| format!("the run with {}", set.label))
    }

    /// Makes the database anew, with empty tables and nothing left to write behind.
    async fn database(&self) -> anyhow::Result<String> {
        let server = self.server.url();
        execute(
            server,
            &format!("drop database if exists {DATABASE} with (force)"),
        )
        .await?;
        execute(server, &format!("create database {DATABASE}")).await?;
        let url = server.replacen("/forebay?", &format!("/{DATABASE}?"), 1);
        let column = format!("vector({})", self.dimensions);
        execute(&url, &TABLES.replace("vector(1536)", &column)).await?;
        execute(&url, "checkpoint").await?;
        Ok(url)
    }

    /// What the host reports of itself.
    fn read(&self, report: &[u8]) -> anyhow::Result<Run> {
        let report: Value = serde_json::from_slice(report)?;
        let report = report.get(0).unwrap_or(&report);
        let number = |pointer: &str| {
            report
                .pointer(pointer)
                .and_then(Value::as_f64)
                .with_context(|| format!("the report has no {pointer}"))
        };
        let inserted = number("/rows/inserted")?;
        if inserted != self.rows as f64 {
            bail!(
                "{inserted} of {} clean rows were written: {}",
                self.rows,
                report.pointer("/codes").unwrap_or(&Value::Null)
            );
        }
        Ok(Run {
            rows_per_second: number("/rows_per_second")?,
            cpu_microseconds: number("/cpu_microseconds_per_row")?,
        })
    }
}

/// The variants' rows; the first and the last variant are those without plugins.
fn compared(variants: &[&Set], runs: &[Vec<Run>]) -> Vec<Row> {
    let (Some(none), Some(again)) = (runs.first(), runs.last()) else {
        return Vec::new();
    };
    let last = variants.len().saturating_sub(1);
    let rows = variants.iter().zip(runs).enumerate();
    rows.map(|(at, (set, runs))| {
        let of = |figure: fn(&Run) -> f64, compare: fn(f64, f64) -> f64| {
            let base = none.iter().zip(again).map(|(a, b)| match at {
                // The control: one against the other.
                at if at == last => figure(a),
                _ => f64::midpoint(figure(a), figure(b)),
            });
            Spread::of(
                runs.iter()
                    .zip(base)
                    .map(|(run, base)| compare(figure(run), base)),
            )
        };
        Row {
            label: set.label.clone(),
            rows_per_second: of(|run| run.rows_per_second, |it, _| it),
            cpu_microseconds: of(|run| run.cpu_microseconds, |it, _| it),
            throughput: of(|run| run.rows_per_second, |it, base| it / base),
            cpu_more: of(|run| run.cpu_microseconds, |it, base| it - base),
        }
    })
    .collect()
}

async fn execute(url: &str, statements: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
        .with_context(|| statements.to_owned())?;
    connection.close().await?;
    Ok(())
}
