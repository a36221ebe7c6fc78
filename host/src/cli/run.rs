//! `forebay run`

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::global::Global;
use super::output::print_json;
use super::report_file::ReportFile;
use super::{progress, screen, session, stop, summary, words};
use crate::config;
use crate::config::Config;
use crate::error::{PipelineError, with_causes};
use crate::pipeline::{Host, Pipeline};
use crate::printable::lines;
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
        let file = self.report.as_deref().map(ReportFile::check).transpose()?;
        let stop = stop::on_signal()?;
        let database = session::Database::wait_for(global, &config, &stop).await?;
        let result = async {
            let host = tokio::select! {
                host = session::host(&config, &database) => host?,
                () = stop.cancelled() => return anyhow::Ok(Runs::interrupted()),
            };
            let _watching = host.plugins.watch(&host.store);
            anyhow::Ok(run(&host, &chosen, &stop).await)
        }
        .await;
        database.close_after(&stop).await?;
        let runs = result?;
        let written = match &file {
            Some(file) if !runs.reports.is_empty() => file.write(&runs.reports).await,
            _ => Ok(()),
        };
        runs.show(global)?;
        written?;
        Ok(runs.exit)
    }
}

/// What became of the chosen pipelines.
struct Runs {
    /// In the order of the pipelines, also of those whose run could not be begun.
    reports: Vec<Report>,
    /// Why they could not, each with its pipeline.
    errors: Vec<anyhow::Error>,
    exit: Exit,
}

impl Runs {
    fn interrupted() -> Self {
        Self {
            reports: Vec::new(),
            errors: Vec::new(),
            exit: Exit::Interrupted,
        }
    }

    fn show(&self, global: &Global) -> anyhow::Result<()> {
        for error in &self.errors {
            eprintln!("error: {}", lines(&with_causes(error.as_ref())));
        }
        let nothing_ran = self.errors.len() == self.reports.len();
        if global.json {
            print_reports(&self.reports)
        } else {
            // What stands above says it all.
            for report in self.reports.iter().filter(|_| !nothing_ran) {
                print!("{}", summary::text(report, screen::columns()));
            }
            Ok(())
        }
    }
}

pub(super) fn choose(config: &Config, names: &[String]) -> anyhow::Result<Vec<config::Pipeline>> {
    if names.is_empty() {
        return Ok(config.pipelines.clone());
    }
    let find = |name: &String| {
        let known = config
            .pipelines
            .iter()
            .map(|pipeline| pipeline.name.as_str());
        let found = config
            .pipelines
            .iter()
            .find(|pipeline| pipeline.name == *name)
            .cloned();
        found.ok_or_else(|| words::unknown("pipeline", name, "configured", known).into())
    };
    names.iter().map(find).collect()
}

/// Runs pipelines one after the other. All are prepared before the first one runs: a misfit is
/// reported before a row is moved. A pipeline whose source is away keeps no other from running.
async fn run(host: &Host, chosen: &[config::Pipeline], stop: &CancellationToken) -> Runs {
    let prepare = chosen.iter().map(|config| Pipeline::prepare(host, config));
    let prepared = tokio::select! {
        prepared = join_all(prepare) => prepared,
        () = stop.cancelled() => return Runs::interrupted(),
    };
    let misfit = |it: &Result<_, _>| matches!(it, Err(PipelineError::Unfit(_)));
    let may_run = !prepared.iter().any(misfit);
    let (mut reports, mut errors, mut exit) = (Vec::new(), Vec::new(), Exit::Done);
    for (config, prepared) in chosen.iter().zip(prepared) {
        let ended = match prepared {
            Ok(_) if !may_run => {
                tracing::warn!(
                    pipeline = config.name,
                    "not run, because another pipeline does not fit"
                );
                continue;
            }
            Ok(_) if stop.is_cancelled() => {
                exit = exit.max(Exit::Interrupted);
                break;
            }
            Ok(pipeline) => run_one(&config.name, &pipeline, stop).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok((report, ended)) => {
                exit = exit.max(ended);
                reports.push(report);
            }
            Err(error) => {
                reports.push(host.not_begun(&config.name, &error).await);
                let error = anyhow::Error::new(error).context(format!("pipeline {}", config.name));
                exit = exit.max(Exit::of(&error));
                errors.push(error);
            }
        }
    }
    Runs {
        reports,
        errors,
        exit,
    }
}

/// Runs a pipeline and shows its progress.
pub(super) async fn run_one(
    name: &str,
    pipeline: &Pipeline,
    stop: &CancellationToken,
) -> Result<(Report, Exit), PipelineError> {
    let progress = Arc::new(Progress::default());
    let shown = progress::show(name, &progress);
    let ended = pipeline.run(&progress, stop, |_| ()).await;
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
