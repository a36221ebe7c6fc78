//! `forebay run`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, UsageError};
use super::global::Global;
use super::output::print_json;
use super::{progress, screen, session, stop, summary};
use crate::config;
use crate::config::Config;
use crate::error::PipelineError;
use crate::pipeline::{Host, Pipeline};
use crate::progress::Progress;
use crate::report::Report;
use crate::store::run::Status;

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// Names of the pipelines [default: all]
    pipelines: Vec<String>,
    /// Write the report to this file as JSON: an object, or an array for several pipelines
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Ignore `missing_limit` and the source's `row_count` for this run
    #[arg(long)]
    allow_missing: bool,
    /// Ignore `dead_letter_limit` for this run
    #[arg(long)]
    allow_dead_letters: bool,
}

impl Run {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        let mut chosen = choose(&config, &self.pipelines)?;
        for pipeline in &mut chosen {
            if self.allow_missing {
                pipeline.missing.limit_percent = 100.0;
                pipeline.missing.is_allowed = true;
            }
            if self.allow_dead_letters {
                pipeline.dead_letter_limit_percent = 100.0;
            }
        }
        let stop = stop::on_signal()?;
        let database = tokio::select! {
            database = session::Database::wait_for(global, &config) => database?,
            () = stop.cancelled() => return Ok(Exit::Interrupted),
        };
        let result = async {
            let host = session::host(&config, &database).await?;
            let _watching = host.plugins.watch(&host.store);
            run(&host, &chosen, &stop).await
        }
        .await;
        database.close().await?;
        let (reports, exit) = result?;
        if let Some(path) = &self.report {
            write_report(path, &reports)?;
        }
        if global.json {
            print_reports(&reports)?;
        } else {
            for report in &reports {
                print!("{}", summary::text(report, screen::columns()));
            }
        }
        Ok(exit)
    }
}

pub(super) fn choose(config: &Config, names: &[String]) -> anyhow::Result<Vec<config::Pipeline>> {
    if names.is_empty() {
        return Ok(config.pipelines.clone());
    }
    let find = |name: &String| {
        let known: Vec<&str> = config
            .pipelines
            .iter()
            .map(|pipeline| pipeline.name.as_str())
            .collect();
        let found = config
            .pipelines
            .iter()
            .find(|pipeline| pipeline.name == *name)
            .cloned();
        found.ok_or_else(|| {
            UsageError(format!(
                "unknown pipeline `{name}`; configured: {}",
                known.join(", ")
            ))
            .into()
        })
    };
    names.iter().map(find).collect()
}

/// Runs pipelines one after the other. All are prepared before the first one runs, so that misfits
/// are reported before a row is moved.
async fn run(
    host: &Host,
    chosen: &[config::Pipeline],
    stop: &CancellationToken,
) -> anyhow::Result<(Vec<Report>, Exit)> {
    let mut pipelines = Vec::new();
    for config in chosen {
        let prepared = tokio::select! {
            prepared = Pipeline::prepare(host, config) => prepared,
            () = stop.cancelled() => return Ok((Vec::new(), Exit::Interrupted)),
        };
        pipelines.push((
            &config.name,
            prepared.with_context(|| format!("pipeline {}", config.name))?,
        ));
    }
    let (mut reports, mut exit) = (Vec::new(), Exit::Done);
    for (name, pipeline) in pipelines {
        if stop.is_cancelled() {
            break;
        }
        let (report, ended) = run_one(name, &pipeline, stop).await?;
        exit = exit.max(ended);
        reports.push(report);
    }
    Ok((reports, exit))
}

/// Runs a pipeline and shows its progress.
pub(super) async fn run_one(
    name: &str,
    pipeline: &Pipeline,
    stop: &CancellationToken,
) -> anyhow::Result<(Report, Exit)> {
    let progress = Arc::new(Progress::default());
    let shown = progress::show(name, &progress);
    let ended = pipeline.run(&progress, stop).await;
    drop(shown);
    let (report, error) = ended?;
    if let Some(error) = &error {
        tracing::error!(pipeline = name, %error, "run ended early");
    }
    let exit = match report.status {
        _ if matches!(error, Some(PipelineError::TooManyDeadLetters(_))) => Exit::DeadLetters,
        Status::Succeeded => Exit::Done,
        Status::Failed => Exit::Failed,
        Status::Halted | Status::HeldBack => Exit::Halted,
        Status::Interrupted => Exit::Interrupted,
    };
    Ok((report, exit))
}

fn print_reports(reports: &[Report]) -> anyhow::Result<()> {
    match reports {
        [report] => print_json(report),
        reports => print_json(&reports),
    }
}

/// Writes reports to a file atomically.
pub(super) fn write_report(path: &Path, reports: &[Report]) -> anyhow::Result<()> {
    let text = match reports {
        [report] => serde_json::to_string_pretty(report)?,
        reports => serde_json::to_string_pretty(reports)?,
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(permissions())
            .tempfile_in(directory)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        std::io::Write::write_all(&mut file, b"\n")?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write the report to {}", path.display()))
}

/// The usual permissions of files; a temporary file is private by default.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
