//! The end of a run: notifications, its record, its report, and the run that follows where it rolls over.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::figures::{plugin_reports, stages};
use super::prepare::Pipeline;
use crate::error::PipelineError;
use crate::partition::{RollOver, Tally};
use crate::plugin::PluginStats;
use crate::progress::Progress;
use crate::report::{ChunkSeconds, IndexReport, Missing, Report, Usage};
use crate::store::StoreError;
use crate::store::run::{Run, Status};
use crate::{failpoints, notify, rollout};

impl Pipeline {
    /// Delivers pending notifications, then records how the run ended. After a crash between the two
    /// the next start continues this run, and only the record is left to write.
    pub(super) async fn deliver_and_finish(
        &self,
        run: &Run,
        status: Status,
        message: Option<&str>,
        stop: &CancellationToken,
    ) -> Result<notify::Outcome, StoreError> {
        let store = &self.host.store;
        let outcome = self.deliver(run, stop).await?;
        failpoints::point!("finish.before");
        store.finish(run, status, message).await?;
        failpoints::point!("finish.after");
        Ok(outcome)
    }

    /// Delivers pending notifications.
    async fn deliver(
        &self,
        run: &Run,
        stop: &CancellationToken,
    ) -> Result<notify::Outcome, StoreError> {
        let (store, notify) = (&self.host.store, self.config.notify.as_ref());
        notify::deliver(store, &self.config.name, run, notify, stop).await
    }

    /// The report of a stopped run whose end the database did not record: of this start, as far as
    /// the host knows. The run is unfinished, and the next start continues it.
    pub(super) fn unrecorded(
        &self,
        run: &Run,
        outcome: &RunOutcome,
        error: Option<PipelineError>,
    ) -> Ended {
        let rows = outcome.work.tally.rows;
        let mut message =
            "the database did not answer: the counts are those of this start".to_owned();
        if let Some(error) = &error {
            message = format!("{error}; {message}");
        }
        let report = Report {
            pipeline: self.config.name.clone(),
            run_id: run.id.to_string(),
            status: Status::Interrupted,
            message: Some(message),
            starts: run.starts,
            rows,
            this_start: rows,
            seconds: outcome.seconds,
            rows_per_second: rows.received as f64 / outcome.seconds,
            chunk_seconds: outcome.chunks,
            notify: match self.config.notify {
                Some(_) => notify::Outcome::pending(),
                None => notify::Outcome::default(),
            },
            peak_memory_bytes: Usage::now().peak_memory,
            ..Report::default()
        };
        Ended {
            report,
            error,
            next: None,
        }
    }

    /// Ends the run, and reports. Begins the next one if it rolls over.
    pub(super) async fn end(
        &self,
        run: &Run,
        outcome: &RunOutcome,
        ended: &Result<(), PipelineError>,
        roll_over: &RollOver,
        stop: &CancellationToken,
    ) -> Result<(Report, Option<Run>), PipelineError> {
        let store = &self.host.store;
        let missing = self.missing(run, ended, stop).await?;
        let is_owing = ended.is_ok()
            && stop.is_cancelled()
            && self.is_owing(run, &outcome.work.indexes).await?;
        let status = match is_owing {
            true => Status::Interrupted,
            false => status(ended, missing.as_ref(), stop),
        };
        let message = ended.as_ref().err().map(ToString::to_string);
        if matches!(status, Status::Succeeded | Status::HeldBack) && run.starts == 1 {
            self.rollout.whole_run_succeeded();
        }
        rollout::follow(&self.rollout, store).await?;
        let rolls_over = self.rolls_over(run, roll_over, ended, stop).await?;
        let notify = match ended {
            // Another host has taken over the run, and its notifications.
            Err(PipelineError::Store(StoreError::Fenced(_))) => notify::Outcome::pending(),
            _ if rolls_over => self.deliver(run, stop).await?,
            _ => {
                self.deliver_and_finish(run, status, message.as_deref(), stop)
                    .await?
            }
        };
        let next = match rolls_over {
            true => Some(self.begin_next(run, status, message.as_deref()).await?),
            false => None,
        };
        let report = Report {
            status,
            message,
            next_run_id: next.as_ref().map(|next| next.id.to_string()),
            missing,
            notify,
            ..self.report(run, outcome).await?
        };
        Ok((report, next))
    }

    /// The counts of a run, and what this start of it cost.
    async fn report(&self, run: &Run, outcome: &RunOutcome) -> Result<Report, StoreError> {
        let store = &self.host.store;
        let totals = store.totals(run.id).await?;
        let tally = &outcome.work.tally;
        let rows = tally.rows.received;
        Ok(Report {
            pipeline: self.config.name.clone(),
            run_id: run.id.to_string(),
            starts: run.starts,
            rows: totals.rows,
            dropped_known: totals.dropped_known,
            stale: store.stale_rows(run).await?,
            resolved: totals.resolved,
            codes: totals.codes.into_iter().map(Into::into).collect(),
            chunks: totals.chunks,
            bytes_received: totals.bytes_received,
            this_start: tally.rows,
            seconds: outcome.seconds,
            rows_per_second: rows as f64 / outcome.seconds,
            stages_seconds: stages(tally),
            chunk_seconds: outcome.chunks,
            plugins: plugin_reports(&self.rollout.chain(), &outcome.work.stats),
            indexes: outcome.work.indexes.clone(),
            checkpoint: store.checkpoints(&self.config.name).await?,
            cpu_microseconds_per_row: outcome.cpu.as_secs_f64() * 1e6 / rows.max(1) as f64,
            peak_memory_bytes: Usage::now().peak_memory,
            ..Report::default()
        })
    }
}

/// The status of a run that has nothing left to do but its record.
fn status(
    ended: &Result<(), PipelineError>,
    missing: Option<&Missing>,
    stop: &CancellationToken,
) -> Status {
    match ended {
        Ok(()) => missing.map_or(Status::Succeeded, Missing::ends),
        Err(error) => error.status(stop.is_cancelled()),
    }
}

/// How a run ended.
pub(super) struct Ended {
    pub report: Report,
    pub error: Option<PipelineError>,
    /// The run that goes on, if this one rolled over.
    pub next: Option<Run>,
}

/// What a start has done.
#[derive(Default)]
pub(super) struct Work {
    pub tally: Tally,
    pub indexes: Vec<IndexReport>,
    pub stats: Vec<Vec<PluginStats>>,
}

impl Work {
    /// What is known of a start that did not come to its end.
    pub(super) fn of(progress: &Progress) -> Self {
        let tally = Tally {
            rows: progress.committed(),
            ..Tally::default()
        };
        Self {
            tally,
            ..Self::default()
        }
    }
}

/// Results and costs of a start.
pub(super) struct RunOutcome {
    pub work: Work,
    pub seconds: f64,
    pub cpu: Duration,
    pub chunks: Option<ChunkSeconds>,
}

pub(super) fn log_end(report: &Report) {
    let Report {
        pipeline, run_id, ..
    } = report;
    let (status, rows) = (report.status.as_str(), &report.rows);
    tracing::info!(
        pipeline,
        run = run_id,
        status,
        rows = rows.received,
        inserted = rows.inserted,
        updated = rows.updated,
        unchanged = rows.unchanged,
        dropped = rows.dropped,
        dead_lettered = rows.dead_lettered,
        seconds = (report.seconds * 10.0).round() / 10.0,
        "run ended"
    );
}
