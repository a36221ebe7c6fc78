//! The loop: one partition's chunks, from the stream to the commit, in the source's order.
//!
//! ```text
//! receive ─▶ worker: decode ▶ plugins ▶ route ▶ policy ─┬▶ writer ─┬▶ commit, in order
//!    └──────────── at most LOOK_AHEAD chunks ───────────┴▶ writer ─┘
//! ```
//!
//! Receiving goes on while chunks are written ([`intake`]). Several chunks are written side by side
//! and committed in their order ([`writers`]); their number is tuned ([`tuning`]). A temporary
//! failure ends the attempt: the stream is opened again from the checkpoint, which is the only truth
//! about the progress of the partition.

mod intake;
mod roll_over;
mod tuning;
mod writers;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Fuse, FusedFuture, FutureExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::tuning::Tuning;
use self::writers::Writers;
use crate::chunk::{Prepared, Times};
use crate::error::PipelineError;
use crate::plugin::head;
use crate::policy::DeadLetterLimit;
use crate::printable::printable;
use crate::progress::Progress;
use crate::retry::Patience;
use crate::rollout::Rollout;
use crate::route::Targets;
use crate::source::Source;
use crate::store::run::{Checkpoint, Counts, Run};
use crate::store::{Behind, CommitError, Committed, Evidence, Store, StoreError, Writer};
use crate::workers::Workers;
use crate::{config, decode, failpoints, metrics};

pub(crate) use self::intake::{End, Intake, IntakeContext};
pub(crate) use self::roll_over::RollOver;
pub(crate) use self::tuning::Bounds;

/// Maximum number of characters of a position in a message.
const MAX_SHOWN: usize = 200;

/// One partition of a run, with everything that its loop uses.
#[derive(Debug)]
pub(crate) struct Partition {
    pub store: Store,
    pub source: Source,
    pub config: config::Pipeline,
    pub targets: Arc<Targets>,
    pub workers: Arc<Workers>,
    pub rollout: Arc<Rollout>,
    pub run: Run,
    pub checkpoint: Checkpoint,
    pub limit: Arc<DeadLetterLimit>,
    pub evidence: Evidence,
    pub room: Arc<Semaphore>,
    pub in_flight: usize,
    pub bounds: Bounds,
    pub give_up_after: Duration,
    pub progress: Arc<Progress>,
    pub roll_over: RollOver,
    pub stop: CancellationToken,
}

/// Counts and times of one start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub rows: Counts,
    pub chunks: i64,
    pub receiving: Duration,
    pub times: Times,
    pub writing: Duration,
    pub committing: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.rows.add(&other.rows);
        self.chunks += other.chunks;
        self.receiving += other.receiving;
        self.times.decode += other.times.decode;
        self.times.plugins += other.times.plugins;
        self.times.route += other.times.route;
        self.writing += other.writing;
        self.committing += other.committing;
    }
}

impl Partition {
    /// Runs until the end of the partition, a stop, or a permanent error.
    pub(crate) async fn run(mut self) -> (Tally, Result<(), PipelineError>) {
        let mut tally = Tally::default();
        let mut patience = Patience::new(self.give_up_after);
        loop {
            let error = match self.attempt(&mut tally, &mut patience).await {
                Ok(End::Complete) => match self.store.complete(&self.run, &self.checkpoint).await {
                    Ok(()) => {
                        failpoints::point!("partition.complete");
                        return (tally, Ok(()));
                    }
                    Err(error) => error.into(),
                },
                Ok(End::Stopped) => return (tally, Ok(())),
                Err(error) => error,
            };
            let waited = tokio::select! {
                waited = patience.wait(error) => waited,
                () = self.stop.cancelled() => return (tally, Ok(())),
            };
            if let Err(error) = waited {
                return (tally, Err(self.explained(error)));
            }
        }
    }

    /// Streams once, from the checkpoint on.
    async fn attempt(
        &mut self,
        tally: &mut Tally,
        patience: &mut Patience,
    ) -> Result<End, PipelineError> {
        let found = self.store.checkpoint(&self.run, &self.checkpoint).await?;
        self.compare(&found);
        self.checkpoint = found;
        self.limit = Arc::new(DeadLetterLimit::new(
            self.config.dead_letter_limit_percent,
            self.checkpoint.recent.clone(),
        ));
        let writer = self.open_writer().await?;
        let source = &self.config.source;
        let Checkpoint {
            partition,
            position,
            ..
        } = &self.checkpoint;
        let schema = &self.targets.schema;
        let chunk_rows = decode::chunk_rows(schema, self.in_flight, source.chunk_rows);
        let open = self.source.open(partition, position, chunk_rows);
        let chunks = tokio::select! {
            chunks = open => chunks?,
            // A source may be silent for long before its first chunk.
            () = self.stop.cancelled() => return Ok(End::Stopped),
        };
        failpoints::point!("stream.open");

        let tuning = Tuning::new(self.bounds.clone(), Instant::now());
        let mut intake = Intake::start(self.intake_context(), chunks, tuning.rows());
        let writers = Writers::new(Arc::clone(&self.workers), writer, self.checkpoint.sequence);
        let chunks = tally.chunks;
        let written = self
            .write_all(&mut intake, writers, tuning, tally, patience)
            .await;
        tally.receiving += intake.receiving();
        // What the server has confirmed, also if it failed then.
        self.checkpoint.sequence += tally.chunks - chunks;
        written?;
        // A stream that ended without an end has not reached the end of the partition.
        intake.end().ok_or_else(|| {
            PipelineError::Broken("receiving ended early; its panic is on stderr".into())
        })
    }

    /// Says so if the database has lost commits of this host. Its position is believed all the same:
    /// rows and position were lost together.
    fn compare(&self, found: &Checkpoint) {
        let before = &self.checkpoint;
        if found.sequence < before.sequence {
            let behind = Behind {
                partition: before.partition.clone(),
                committed: before.sequence,
                found: found.sequence,
            };
            metrics::lost_chunks(&self.config.name, before.sequence - found.sequence);
            tracing::warn!(pipeline = self.config.name, "{behind}");
        }
    }

    /// Says what to do if the source may no longer know the position.
    fn explained(&self, error: PipelineError) -> PipelineError {
        let PipelineError::Source(mut error) = error else {
            return error;
        };
        let position = &self.checkpoint.position;
        if error.failure.is_refusal && !position.is_empty() {
            let (position, name) = (printable(head(position, MAX_SHOWN)), &self.config.name);
            error.failure = error.failure.hint(format!(
                "if the source no longer knows the position `{position}`, `forebay checkpoint \
                 reset {name}` makes the next run start from the beginning; it may be older than \
                 what the source was told if the database is a restored copy"
            ));
        }
        PipelineError::Source(error)
    }

    fn intake_context(&self) -> IntakeContext {
        IntakeContext {
            pipeline: self.config.name.clone(),
            workers: Arc::clone(&self.workers),
            rollout: Arc::clone(&self.rollout),
            room: Arc::clone(&self.room),
            in_flight: self.in_flight,
            row_cost: decode::row_cost(&self.targets.schema),
            stop: self.stop.clone(),
        }
    }

    /// Writes the chunks of a stream until there are no more. If receiving or preparing a chunk
    /// fails, the chunks before it are still committed.
    async fn write_all(
        &self,
        intake: &mut Intake,
        mut writers: Writers,
        mut tuning: Tuning,
        tally: &mut Tally,
        patience: &mut Patience,
    ) -> Result<(), PipelineError> {
        let mut result = Ok(());
        // Beside the others, which would stand still for as long: TLS takes its time.
        let mut opening = pin!(Fuse::terminated());
        loop {
            if opening.is_terminated() && writers.is_busy() && writers.len() < tuning.writers() {
                opening.set(self.open_writer().fuse());
            }
            let may_write = !writers.is_busy() && writers.len() < tuning.writers();
            tokio::select! {
                biased;
                Some(committed) = writers.committed() => {
                    let (prepared, committed) = match committed {
                        Ok(committed) => committed,
                        Err(error) => {
                            if let CommitError::TooManyDeadLetters(excess) = &error {
                                metrics::dead_letters(&self.config.name, excess);
                            }
                            writers.drain().await;
                            return Err(error.into());
                        }
                    };
                    self.rollout.tried(committed.comparisons());
                    self.account(&committed, &prepared, tally);
                    let (totals, plugins) = (committed.totals(), prepared.times.plugins);
                    tuning.committed(&totals, prepared.bytes, plugins, Instant::now());
                    patience.progress();
                }
                opened = &mut opening, if !opening.is_terminated() && !intake.is_over() => match opened {
                    Ok(writer) => writers.add(writer),
                    Err(error) => {
                        tracing::warn!(%error, writers = writers.all(), "cannot open another writer");
                        tuning.hold(writers.all());
                    }
                },
                prepared = intake.next(), if may_write && !intake.is_over() => match prepared {
                    Ok(Some(prepared)) => {
                        failpoints::point!("chunk.prepared");
                        tuning.starved(writers.write(prepared));
                    }
                    Ok(None) => {}
                    Err(error) => result = Err(error),
                },
                else => return result,
            }
        }
    }

    /// Opens a writer; what it needs is copied, so that it can be awaited beside anything else.
    fn open_writer(&self) -> impl Future<Output = Result<Writer, StoreError>> + use<> {
        let notify = self.config.notify.as_ref();
        let notify = notify.map(|notify| notify.target.clone());
        let (store, targets) = (self.store.clone(), Arc::clone(&self.targets));
        let (run, checkpoint) = (self.run.clone(), self.checkpoint.clone());
        let (limit, evidence) = (Arc::clone(&self.limit), self.evidence.clone());
        async move { Writer::open(&store, &targets, &run, &checkpoint, notify, limit, evidence).await }
    }

    fn account(&self, committed: &Committed, prepared: &Prepared, tally: &mut Tally) {
        let totals = committed.totals();
        self.progress.add(&totals.rows);
        self.roll_over.committed(totals.rows.received);
        self.progress
            .chunk_times
            .add(totals.writing + totals.committing);
        metrics::committed(
            &self.config.name,
            &totals,
            prepared,
            self.progress.remaining(),
        );
        tally.add(&Tally {
            rows: totals.rows,
            chunks: 1,
            receiving: Duration::ZERO,
            times: prepared.times,
            writing: totals.writing,
            committing: totals.committing,
        });
        tracing::debug!(
            pipeline = self.config.name,
            partition = self.checkpoint.partition,
            position = prepared.position,
            rows = totals.rows.received,
            dead_letters = totals.rows.dead_lettered,
            plugins = ?prepared.times.plugins,
            chain = ?Arc::as_ptr(&prepared.chain),
            writing = ?totals.writing,
            "chunk committed"
        );
    }
}
