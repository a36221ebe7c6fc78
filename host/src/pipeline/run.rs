//! A run, from the claim of its partitions to its report.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::figures::{plugin_reports, stages};
use super::host::{blocking, overdue};
use super::prepare::Pipeline;
use crate::error::PipelineError;
use crate::partition::{Bounds, Partition, Tally};
use crate::plugin::{PluginStats, line};
use crate::policy::DeadLetterLimit;
use crate::prepare::Preparer;
use crate::progress::Progress;
use crate::report::{ChunkSeconds, IndexReport, Missing, Report, Usage};
use crate::store::preflight::{Finding, Severity};
use crate::store::run::{Checkpoint, NewRun, Run, Status};
use crate::store::{Evidence, StoreError, Writer};
use crate::workers::Workers;
use crate::{failpoints, notify, rollout, workers};

/// Maximum number of characters of the names of partitions that are gone.
const MAX_GONE: usize = 300;

/// Maximum time for the record and the report of a run that was stopped.
const REPORT_LIMIT: Duration = Duration::from_secs(3);

impl Pipeline {
    /// Runs to the end of the dataset, or until `stop`. An error during the run is returned beside
    /// the report of what was done before it. After a stop it ends within `stop_timeout` and a few
    /// seconds for the report, whatever does not answer.
    ///
    /// # Errors
    /// If the run cannot be begun.
    pub async fn run(
        &self,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<(Report, Option<PipelineError>), PipelineError> {
        let (at, usage) = (Instant::now(), Usage::now());
        let run = self.claim(stop).await?;
        failpoints::point!("run.begun");
        let limit = self.host.config.stop_timeout;
        let (work, ended) = tokio::select! {
            (work, ended) = self.load(&run, progress, stop) => (work, ended),
            () = overdue(stop, limit) => (Work::of(progress), Err(PipelineError::Overdue(limit))),
        };
        let outcome = RunOutcome {
            work,
            seconds: at.elapsed().as_secs_f64(),
            cpu: Usage::now().cpu.saturating_sub(usage.cpu),
            chunks: progress.chunk_times.quantiles(),
        };
        let limit = match stop.is_cancelled() {
            true => REPORT_LIMIT,
            false => limit + REPORT_LIMIT,
        };
        let end = tokio::select! {
            end = self.end(&run, &outcome, &ended, stop) => end.map_err(Some),
            () = overdue(stop, limit) => Err(None),
        };
        let report = match (end, ended) {
            (Ok(report), ended) => (report, ended.err()),
            // The database does not answer, and the next start finds out where it is.
            (Err(_), ended) if stop.is_cancelled() => self.unrecorded(&run, &outcome, ended.err()),
            // The first error says more.
            (Err(_), Err(error)) => return Err(error),
            (Err(Some(error)), Ok(())) => return Err(error.into()),
            (Err(None), Ok(())) => return Err(PipelineError::Overdue(limit)),
        };
        log_end(&report.0);
        Ok(report)
    }

    /// Claims the partitions.
    async fn claim(&self, stop: &CancellationToken) -> Result<Run, PipelineError> {
        let store = &self.host.store;
        let new_run = self.new_run();
        let limit = self.host.config.stop_timeout;
        let begin = || store.begin(&self.config.name, &self.dataset.partitions, new_run);
        tokio::select! {
            run = self.host.retrying(begin) => run,
            () = overdue(stop, limit) => Err(PipelineError::Overdue(limit)),
        }
    }

    /// Everything between the claim and the report.
    async fn load(
        &self,
        run: &Run,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> (Work, Result<(), PipelineError>) {
        let workers = match self.get_ready(run, progress).await {
            Ok(workers) => Arc::new(workers),
            Err(error) => return (Work::default(), Err(error)),
        };
        let (tally, indexes, ended) = self.run_with_indexes(run, &workers, progress, stop).await;
        let ended = self.refresh(run, ended, stop).await;
        let ended = self.try_again(run, ended, &workers, stop).await;
        let stats = Arc::into_inner(workers).map(Workers::join);
        let work = Work {
            tally,
            indexes,
            stats: stats.unwrap_or_default(),
        };
        (work, ended)
    }

    /// Starts the workers with the plugins of the moment.
    async fn get_ready(&self, run: &Run, progress: &Progress) -> Result<Workers, PipelineError> {
        self.remember_mapping().await?;
        let (plugins, rollout) = (Arc::clone(&self.host.plugins), Arc::clone(&self.rollout));
        blocking(move || plugins.enter(&rollout)).await;
        rollout::follow(&self.rollout, &self.host.store).await?;
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
        if !run.gone.is_empty() {
            let gone = line(run.gone.join(", "), MAX_GONE);
            tracing::warn!(
                pipeline,
                partitions = gone,
                "the source no longer has partitions that the run before has read; the rows that came from there are treated as `missing` says"
            );
        }
        self.start_workers()
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
                let format = self.dataset.format.clone();
                let decoder = self.targets.decoder(format, self.host.config.limits.row);
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
        // Each that is read holds a connection.
        let most = self
            .source
            .side_by_side()
            .min(self.host.store.writers())
            .max(1);
        let bounds = self.bounds(open.clone().count().min(most));
        let turns = Arc::new(Semaphore::new(most));
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
            partitions.spawn(in_turn(Arc::clone(&turns), partition));
        }
        let (mut total, mut result) = (Tally::default(), Ok(()));
        while let Some(ended) = partitions.join_next().await {
            let (tally, ended) = ended.unwrap_or_else(|error| {
                let message = format!("the task of a partition ended: {error}");
                (Tally::default(), Err(PipelineError::Broken(message)))
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
        stop: &CancellationToken,
    ) -> Result<notify::Outcome, StoreError> {
        let (store, notify) = (&self.host.store, self.config.notify.as_ref());
        let outcome = notify::deliver(store, &self.config.name, run, notify, stop).await?;
        failpoints::point!("finish.before");
        store.finish(run, status, message).await?;
        failpoints::point!("finish.after");
        Ok(outcome)
    }

    /// The report of a stopped run whose end the database did not record: of this start, as far as
    /// the host knows. The run is unfinished, and the next start continues it.
    fn unrecorded(
        &self,
        run: &Run,
        outcome: &RunOutcome,
        error: Option<PipelineError>,
    ) -> (Report, Option<PipelineError>) {
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
        (report, error)
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
        let notify = match ended {
            // Another host has taken over the run, and its notifications.
            Err(PipelineError::Store(StoreError::Fenced(_))) => notify::Outcome::pending(),
            _ => {
                self.deliver_and_finish(run, status, message.as_deref(), stop)
                    .await?
            }
        };
        let totals = store.totals(run.id).await?;
        let tally = &outcome.work.tally;
        let rows = tally.rows.received;
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
            this_start: tally.rows,
            seconds: outcome.seconds,
            rows_per_second: rows as f64 / outcome.seconds,
            stages_seconds: stages(tally),
            chunk_seconds: outcome.chunks,
            plugins: plugin_reports(&self.rollout.chain(), &outcome.work.stats),
            indexes: outcome.work.indexes.clone(),
            checkpoint: store.checkpoints(&self.config.name).await?,
            notify,
            cpu_microseconds_per_row: outcome.cpu.as_secs_f64() * 1e6 / rows.max(1) as f64,
            peak_memory_bytes: Usage::now().peak_memory,
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

/// What a start has done.
#[derive(Default)]
struct Work {
    tally: Tally,
    indexes: Vec<IndexReport>,
    stats: Vec<Vec<PluginStats>>,
}

impl Work {
    /// What is known of a start that did not come to its end.
    fn of(progress: &Progress) -> Self {
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
struct RunOutcome {
    work: Work,
    seconds: f64,
    cpu: Duration,
    chunks: Option<ChunkSeconds>,
}

fn log_end(report: &Report) {
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

/// Runs a partition when there is room for it, unless it is stopped before.
async fn in_turn(
    turns: Arc<Semaphore>,
    partition: Partition,
) -> (Tally, Result<(), PipelineError>) {
    let stop = partition.stop.clone();
    tokio::select! {
        // Fails only if the semaphore is closed, which nobody does.
        _turn = turns.acquire_owned() => partition.run().await,
        () = stop.cancelled() => (Tally::default(), Ok(())),
    }
}
