//! A run, from the claim of its partitions to its report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::end::{Ended, RunOutcome, Work, log_end};
use super::host::{blocking, overdue};
use super::prepare::Pipeline;
use crate::error::PipelineError;
use crate::partition::{Bounds, Partition, RollOver, Tally};
use crate::plugin::line;
use crate::policy::DeadLetterLimit;
use crate::prepare::Preparer;
use crate::progress::Progress;
use crate::report::{Report, Usage};
use crate::store::preflight::{Finding, Severity};
use crate::store::run::{Checkpoint, NewRun, Run};
use crate::store::{Evidence, StoreError, Writer};
use crate::workers::Workers;
use crate::{failpoints, rollout, workers};

/// Maximum number of characters of the names of partitions that are gone.
const MAX_GONE: usize = 300;

/// Maximum time for the record and the report of a run that was stopped.
const REPORT_LIMIT: Duration = Duration::from_secs(3);

impl Pipeline {
    /// Runs to the end of the dataset, or until `stop`. An error during the run is returned beside
    /// the report of what was done before it. After a stop it ends within `stop_timeout` and a few
    /// seconds for the report, whatever does not answer.
    ///
    /// A feed may have several runs on the way: `rolled_over` gets the report of each but the last one.
    ///
    /// # Errors
    /// If the run cannot be begun.
    pub async fn run(
        &self,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
        rolled_over: impl Fn(&Report),
    ) -> Result<(Report, Option<PipelineError>), PipelineError> {
        let mut run = self.claim(stop).await?;
        loop {
            let ended = self.run_once(&run, progress, stop).await?;
            log_end(&ended.report);
            let Some(next) = ended.next else {
                return Ok((ended.report, ended.error));
            };
            rolled_over(&ended.report);
            run = next;
        }
    }

    /// One run, to its end or until it rolls over.
    async fn run_once(
        &self,
        run: &Run,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<Ended, PipelineError> {
        let (at, usage) = (Instant::now(), Usage::now());
        failpoints::point!("run.begun");
        let limit = self.host.config.stop_timeout;
        let roll_over = self.roll_over(run, stop);
        let (work, ended) = tokio::select! {
            (work, ended) = self.load(run, progress, stop, &roll_over) => (work, ended),
            () = overdue(stop, limit) => (Work::of(progress), Err(PipelineError::Overdue(limit))),
            never = self.notify_on_the_way(run, stop) => match never {},
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
            end = self.end(run, &outcome, &ended, &roll_over, stop) => end.map_err(Some),
            () = overdue(stop, limit) => Err(None),
        };
        match (end, ended) {
            (Ok((report, next)), ended) => Ok(Ended {
                report,
                error: ended.err(),
                next,
            }),
            // The database does not answer, and the next start finds out where it is.
            (Err(_), ended) if stop.is_cancelled() => {
                Ok(self.unrecorded(run, &outcome, ended.err()))
            }
            // The first error says more.
            (Err(_), Err(error)) => Err(error),
            (Err(Some(error)), Ok(())) => Err(error),
            (Err(None), Ok(())) => Err(PipelineError::Overdue(limit)),
        }
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
        roll_over: &RollOver,
    ) -> (Work, Result<(), PipelineError>) {
        let workers = match self.get_ready(run, progress).await {
            Ok(workers) => Arc::new(workers),
            Err(error) => return (Work::default(), Err(error)),
        };
        let (tally, indexes, ended) = self
            .run_with_indexes(run, &workers, progress, stop, roll_over)
            .await;
        let ended = self.refresh(run, ended, stop).await;
        let ended = self.try_again(run, ended, &workers, roll_over, stop).await;
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
        self.keep_formats().await?;
        self.remember_mapping().await?;
        let (plugins, rollout) = (Arc::clone(&self.host.plugins), Arc::clone(&self.rollout));
        blocking(move || plugins.enter(&rollout)).await;
        rollout::follow(&self.rollout, &self.host.store).await?;
        let before: u64 = run
            .partitions
            .iter()
            .map(|partition| partition.rows.unsigned_abs())
            .sum();
        progress.begin(before, self.dataset.row_count.unwrap_or(0));
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

    /// Keeps the formats that dead letters may name.
    pub(super) async fn keep_formats(&self) -> Result<(), PipelineError> {
        let (store, format) = (&self.host.store, &self.dataset.format);
        self.host
            .retrying(|| store.keep_formats(format.encodings()))
            .await
    }

    pub(super) fn start_workers(&self) -> Result<Workers, PipelineError> {
        let preparers = (0..workers::count())
            .map(|_| {
                let (format, most) = (&self.dataset.format, self.host.config.limits.row);
                let kinds = self.targets.all_kinds();
                let decoders = kinds.map(|targets| targets.decoder(format.clone(), most));
                Preparer::new(
                    decoders.collect(),
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
        roll_over: &RollOver,
    ) -> (Tally, Result<(), PipelineError>) {
        // A partition that fails stops the others, which drain first.
        let stop = roll_over.token().child_token();
        let room = Arc::new(Semaphore::new(self.host.config.limits.in_flight));
        let mut partitions = JoinSet::new();
        let open = run.partitions.iter().filter(|it| !it.complete);
        let assumed = self.host.store.assumed(&self.targets, run).await;
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
                evidence: Evidence::assuming(assumed.clone()),
                room: Arc::clone(&room),
                in_flight: self.host.config.limits.in_flight,
                bounds: bounds.clone(),
                give_up_after: self.host.config.give_up_after,
                progress: Arc::clone(progress),
                roll_over: roll_over.clone(),
                stop: stop.clone(),
            };
            partitions.spawn(in_turn(Arc::clone(&turns), partition));
        }
        let grow_old = async {
            roll_over.grow_old().await;
            std::future::pending().await
        };
        tokio::select! {
            all = all_ended(&mut partitions, &stop) => all,
            never = grow_old => never,
        }
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
}

/// Waits for all partitions. One that fails stops the others.
async fn all_ended(
    partitions: &mut JoinSet<(Tally, Result<(), PipelineError>)>,
    stop: &CancellationToken,
) -> (Tally, Result<(), PipelineError>) {
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
