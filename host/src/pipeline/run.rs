//! A run, from the claim of its partitions to its report.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::figures::{plugin_reports, stages};
use super::host::blocking;
use super::prepare::Pipeline;
use crate::decode::Decoder;
use crate::error::PipelineError;
use crate::partition::{Bounds, Partition, Tally};
use crate::plugin::PluginStats;
use crate::policy::DeadLetterLimit;
use crate::prepare::Preparer;
use crate::progress::Progress;
use crate::report::{ChunkSeconds, IndexReport, Missing, Report, Usage};
use crate::store::preflight::{Finding, Severity};
use crate::store::run::{Checkpoint, NewRun, Run, Status};
use crate::store::{Evidence, StoreError, Writer};
use crate::workers::Workers;
use crate::{failpoints, notify, rollout, workers};

impl Pipeline {
    /// Runs to the end of the dataset, or until `stop`. An error during the run is returned beside
    /// the report of what was done before it.
    ///
    /// # Errors
    /// If the run cannot be begun.
    pub async fn run(
        &self,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<(Report, Option<PipelineError>), PipelineError> {
        let (started, usage) = (Instant::now(), Usage::now());
        let store = &self.host.store;
        let new_run = self.new_run();
        let run = self
            .host
            .retrying(|| store.begin(&self.config.name, &self.dataset.partitions, new_run))
            .await?;
        failpoints::point!("run.begun");
        self.remember_mapping().await?;
        let (plugins, rollout) = (Arc::clone(&self.host.plugins), Arc::clone(&self.rollout));
        blocking(move || plugins.enter(&rollout)).await;
        rollout::follow(&self.rollout, store).await?;
        let before: u64 = run
            .partitions
            .iter()
            .map(|partition| partition.rows.unsigned_abs())
            .sum();
        progress.rows.store(before, Ordering::Relaxed);
        progress
            .expected
            .store(self.dataset.row_count.unwrap_or(0), Ordering::Relaxed);
        let pipeline = &self.config.name;
        tracing::info!(pipeline, run = %run.id, starts = run.starts, from_row = before, "run started");
        self.warn();

        let workers = Arc::new(self.start_workers()?);
        let (tally, indexes, ended) = self.run_with_indexes(&run, &workers, progress, stop).await;
        let ended = self.refresh(&run, ended, stop).await;
        let ended = self.try_again(&run, ended, &workers, stop).await;
        let outcome = RunOutcome {
            tally,
            indexes,
            seconds: started.elapsed().as_secs_f64(),
            cpu: Usage::now().cpu.saturating_sub(usage.cpu),
            chunks: progress.chunk_times.quantiles(),
            stats: Arc::into_inner(workers)
                .map(Workers::join)
                .unwrap_or_default(),
        };
        match (self.end(&run, &outcome, &ended, stop).await, ended) {
            (Ok(report), ended) => {
                let (status, rows) = (report.status.as_str(), report.rows.received);
                tracing::info!(pipeline, run = %run.id, status, rows, "run ended");
                Ok((report, ended.err()))
            }
            // The first error says more.
            (Err(_), Err(error)) => Err(error),
            (Err(error), Ok(())) => Err(error.into()),
        }
    }

    /// A writer for chunks apart from the stream of a partition.
    pub(super) async fn open_writer(
        &self,
        run: &Run,
        checkpoint: &Checkpoint,
        limit_percent: f64,
    ) -> Result<Writer, StoreError> {
        let notify = self.config.notify.as_ref();
        let notify = notify.map(|notify| notify.target.clone());
        let limit = DeadLetterLimit::new(limit_percent, checkpoint.recent.clone());
        let (store, evidence) = (&self.host.store, Evidence::default());
        let limit = Arc::new(limit);
        Writer::open(
            store,
            &self.targets,
            run,
            checkpoint,
            notify,
            limit,
            evidence,
        )
        .await
    }

    /// Position at which a run of this dataset begins.
    pub(super) fn new_run(&self) -> NewRun {
        match self.dataset.continues {
            true => NewRun::FromLastPosition,
            false => NewRun::FromTheStart,
        }
    }

    /// Logs the warnings, once for a run. Advice is left to `check`.
    fn warn(&self) {
        let pipeline = &self.config.name;
        for Finding {
            severity,
            place,
            message,
            hint,
        } in &self.findings
        {
            if *severity == Severity::Warning {
                tracing::warn!(pipeline, place, hint, "{message}");
            }
        }
    }

    pub(super) fn start_workers(&self) -> Result<Workers, PipelineError> {
        let preparers = (0..workers::count())
            .map(|_| {
                let decoder = Decoder {
                    schema: Arc::clone(&self.targets.schema),
                    key_type: self.targets.key_type,
                    max_row_bytes: self.host.config.limits.row,
                };
                Preparer::new(
                    decoder,
                    Arc::clone(&self.targets),
                    Arc::clone(&self.rollout),
                )
            })
            .collect();
        Workers::start(preparers)
            .map_err(|error| PipelineError::Broken(format!("cannot start workers: {error}")))
    }

    pub(super) async fn run_partitions(
        &self,
        run: &Run,
        workers: &Arc<Workers>,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> (Tally, Result<(), PipelineError>) {
        // A partition that fails stops the others, which drain first.
        let stop = stop.child_token();
        let room = Arc::new(Semaphore::new(self.host.config.limits.in_flight));
        let mut partitions = JoinSet::new();
        let open = run.partitions.iter().filter(|it| !it.complete);
        let bounds = self.bounds(open.clone().count());
        for checkpoint in open {
            let partition = Partition {
                store: self.host.store.clone(),
                source: self.source.clone(),
                config: self.config.clone(),
                targets: Arc::clone(&self.targets),
                workers: Arc::clone(workers),
                rollout: Arc::clone(&self.rollout),
                run: run.clone(),
                checkpoint: checkpoint.clone(),
                limit: Arc::new(DeadLetterLimit::new(
                    self.config.dead_letter_limit_percent,
                    checkpoint.recent.clone(),
                )),
                evidence: Evidence::default(),
                room: Arc::clone(&room),
                in_flight: self.host.config.limits.in_flight,
                bounds: bounds.clone(),
                give_up_after: self.host.config.give_up_after,
                progress: Arc::clone(progress),
                stop: stop.clone(),
            };
            partitions.spawn(partition.run());
        }
        let (mut total, mut result) = (Tally::default(), Ok(()));
        while let Some(ended) = partitions.join_next().await {
            let (tally, ended) = ended.unwrap_or_else(|error| {
                (
                    Tally::default(),
                    Err(PipelineError::Broken(format!(
                        "the task of a partition ended: {error}"
                    ))),
                )
            });
            total.add(&tally);
            if let Err(error) = ended {
                stop.cancel();
                result = result.and(Err(error));
            }
        }
        (total, result)
    }

    /// The bounds for each of `partitions` partitions: their writers share the connections.
    fn bounds(&self, partitions: usize) -> Bounds {
        let share = self.host.store.writers() / partitions.max(1);
        let (least, most) = (*self.config.writers.start(), *self.config.writers.end());
        let most = most.min(share.max(1));
        let source = &self.config.source;
        Bounds {
            writers: least.min(most)..=most,
            rows: source.chunk_rows as usize..=source.max_chunk_rows as usize,
            // A chunk must stay far below the deadline of its calls.
            plugins: self.host.config.plugins.shortest_deadline() / 4,
        }
    }

    /// Delivers pending notifications, then records how the run ended. After a crash between the two
    /// the next start continues this run, and only the record is left to write.
    pub(super) async fn deliver_and_finish(
        &self,
        run: &Run,
        status: Status,
        message: Option<&str>,
    ) -> Result<notify::Outcome, StoreError> {
        let store = &self.host.store;
        let outcome =
            notify::deliver(store, &self.config.name, run, self.config.notify.as_ref()).await?;
        failpoints::point!("finish.before");
        store.finish(run, status, message).await?;
        failpoints::point!("finish.after");
        Ok(outcome)
    }

    /// Ends the run, and reports.
    async fn end(
        &self,
        run: &Run,
        outcome: &RunOutcome,
        ended: &Result<(), PipelineError>,
        stop: &CancellationToken,
    ) -> Result<Report, StoreError> {
        let store = &self.host.store;
        let missing = self.missing(run, ended, stop).await?;
        let is_owing =
            ended.is_ok() && stop.is_cancelled() && self.is_owing(run, &outcome.indexes).await?;
        let status = match is_owing {
            true => Status::Interrupted,
            false => status(ended, missing.as_ref()),
        };
        let message = ended.as_ref().err().map(ToString::to_string);
        if matches!(status, Status::Succeeded | Status::HeldBack) && run.starts == 1 {
            self.rollout.whole_run_succeeded();
        }
        rollout::follow(&self.rollout, store).await?;
        let notify = match ended {
            // Another host has taken over the run, and its notifications.
            Err(PipelineError::Store(StoreError::Fenced(_))) => notify::Outcome::pending(),
            _ => {
                self.deliver_and_finish(run, status, message.as_deref())
                    .await?
            }
        };
        let totals = store.totals(run.id).await?;
        let rows = outcome.tally.rows.received;
        Ok(Report {
            pipeline: self.config.name.clone(),
            run_id: run.id.to_string(),
            status,
            message,
            starts: run.starts,
            rows: totals.rows,
            missing,
            dropped_known: totals.dropped_known,
            stale: store.stale_rows(run).await?,
            resolved: totals.resolved,
            codes: totals.codes.into_iter().map(Into::into).collect(),
            chunks: totals.chunks,
            bytes_received: totals.bytes_received,
            this_start: outcome.tally.rows,
            seconds: outcome.seconds,
            rows_per_second: rows as f64 / outcome.seconds,
            stages_seconds: stages(&outcome.tally),
            chunk_seconds: outcome.chunks,
            plugins: plugin_reports(&self.rollout.chain(), &outcome.stats),
            indexes: outcome.indexes.clone(),
            checkpoint: store.checkpoints(&self.config.name).await?,
            notify,
            cpu_microseconds_per_row: outcome.cpu.as_secs_f64() * 1e6 / rows.max(1) as f64,
            peak_memory_bytes: Usage::now().peak_memory,
        })
    }
}

/// The status of a run that was not interrupted.
fn status(ended: &Result<(), PipelineError>, missing: Option<&Missing>) -> Status {
    match ended {
        Ok(()) => missing.map_or(Status::Succeeded, Missing::ends),
        Err(PipelineError::TooManyDeadLetters(excess)) if excess.is_complete => Status::HeldBack,
        Err(PipelineError::Halted(_) | PipelineError::TooManyDeadLetters(_)) => Status::Halted,
        Err(_) => Status::Failed,
    }
}

/// Results and costs of a start.
struct RunOutcome {
    tally: Tally,
    indexes: Vec<IndexReport>,
    seconds: f64,
    cpu: Duration,
    chunks: Option<ChunkSeconds>,
    stats: Vec<Vec<PluginStats>>,
}
