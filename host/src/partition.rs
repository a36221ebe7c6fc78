//! The loop: one partition's chunks, from the stream to the commit, in the source's order.
//!
//! ```text
//! receive ─▶ worker: decode ▶ plugins ▶ route ▶ policy ─▶ commit
//!    └──────────── at most LOOK_AHEAD chunks ───────────┘
//! ```
//!
//! Receiving goes on while a chunk is written; everything else waits its turn. Whatever fails
//! for a while ends the attempt: the stream is opened again from the checkpoint, which is the
//! only truth about how far the partition has come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    config, fault, metrics,
    pipeline::{PipelineError, Progress},
    policy::{Halted, Settler},
    prepare::{Prepared, Received, Times},
    retry::Patience,
    rollout::Rollout,
    source::{Chunks, Source},
    store::{
        Committed, Store, Writer,
        checkpoint::{Checkpoint, Counts, Run},
        target::Targets,
    },
    workers::{WorkerGone, Workers},
};

/// Chunks received and not yet committed, besides the one being written. Enough to keep every
/// worker busy; the bytes in flight are bounded as well.
const LOOK_AHEAD: usize = 4;

/// What the loop needs.
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
    pub room: Arc<Semaphore>,
    pub in_flight: usize,
    pub give_up_after: Duration,
    pub progress: Arc<Progress>,
    pub stop: CancellationToken,
}

/// What this start did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub rows: Counts,
    pub receiving: Duration,
    pub times: Times,
    pub writing: Duration,
    pub committing: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        let (rows, more) = (&mut self.rows, &other.rows);
        rows.received += more.received;
        rows.inserted += more.inserted;
        rows.updated += more.updated;
        rows.unchanged += more.unchanged;
        rows.dropped += more.dropped;
        rows.dead_lettered += more.dead_lettered;
        rows.deleted += more.deleted;
        self.receiving += other.receiving;
        self.times.decode += other.times.decode;
        self.times.plugins += other.times.plugins;
        self.times.route += other.times.route;
        self.writing += other.writing;
        self.committing += other.committing;
    }
}

/// How a stream ended.
enum End {
    /// There is nothing more for now.
    Complete,
    /// Asked to stop; everything received is committed.
    Stopped,
}

/// A chunk that a worker is at.
type InPreparation = oneshot::Receiver<Result<Prepared, Halted>>;

impl Partition {
    /// Runs until the end of the partition, a stop, or an error that stays.
    pub(crate) async fn run(mut self) -> (Tally, Result<(), PipelineError>) {
        let mut tally = Tally::default();
        let mut patience = Patience::new(self.give_up_after);
        loop {
            let error = match self.attempt(&mut tally, &mut patience).await {
                Ok(End::Complete) => match self.store.complete(&self.run, &self.checkpoint).await {
                    Ok(()) => {
                        fault::point!("partition.complete");
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
                return (tally, Err(error));
            }
        }
    }

    /// Streams from the checkpoint on.
    async fn attempt(
        &mut self,
        tally: &mut Tally,
        patience: &mut Patience,
    ) -> Result<End, PipelineError> {
        let store = &self.store;
        self.checkpoint = store
            .checkpoint(&self.run, &self.checkpoint.partition, self.checkpoint.epoch)
            .await?;
        let notify = self
            .config
            .notify
            .as_ref()
            .map(|notify| notify.target.clone());
        let mut writer =
            Writer::open(store, &self.targets, &self.run, &self.checkpoint, notify).await?;
        let source = &self.config.source;
        let Checkpoint {
            partition,
            position,
            ..
        } = &self.checkpoint;
        let chunks = self
            .source
            .open(&source.dataset, partition, position, source.chunk_rows)
            .await?;
        fault::point!("stream.open");

        let settler = Settler::new(Arc::clone(&self.workers));
        let (intake, mut chunks) = self.spawn_intake(chunks);
        let mut end = None;
        while let Some(in_preparation) = chunks.recv().await {
            let in_preparation = match in_preparation? {
                Intake::Chunk(in_preparation, receiving) => {
                    tally.receiving += receiving;
                    metrics::stage(&self.config.name, "receive", receiving);
                    in_preparation
                }
                Intake::Ended(how) => {
                    end = Some(how);
                    continue;
                }
            };
            let mut prepared = in_preparation
                .await
                .map_err(|_| PipelineError::Broken(WorkerGone.to_string()))??;
            fault::point!("chunk.prepared");
            let committed = writer.commit(&mut prepared, &settler).await?;
            self.rollout.tried(&prepared.trials);
            self.account(&committed, &prepared, tally);
            patience.progress();
        }
        drop(intake);
        // Without a word it has not come to the end of the partition.
        end.ok_or_else(|| {
            PipelineError::Broken("receiving ended early; its panic is on stderr".into())
        })
    }

    fn account(&self, committed: &Committed, prepared: &Prepared, tally: &mut Tally) {
        let totals = committed.totals();
        self.progress.add(&totals.rows);
        metrics::committed(&self.config.name, &totals, prepared, &self.progress);
        tally.add(&Tally {
            rows: totals.rows,
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

    /// Receives on a task of its own, so that the next chunks come while one is written. The
    /// task ends with the stream, with a stop, or when nobody takes its chunks any more.
    fn spawn_intake(
        &self,
        chunks: Chunks,
    ) -> (AbortOnDrop, mpsc::Receiver<Result<Intake, PipelineError>>) {
        let (sender, receiver) = mpsc::channel(LOOK_AHEAD);
        let intake = intake(
            chunks,
            Arc::clone(&self.workers),
            Arc::clone(&self.rollout),
            Arc::clone(&self.room),
            self.in_flight,
            self.stop.clone(),
            sender,
        );
        (AbortOnDrop(tokio::spawn(intake)), receiver)
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl std::ops::Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the intake hands over.
enum Intake {
    /// A chunk, and how long it was waited for.
    Chunk(InPreparation, Duration),
    /// Nothing more, and why.
    Ended(End),
}

async fn intake(
    mut chunks: Chunks,
    workers: Arc<Workers>,
    rollout: Arc<Rollout>,
    room: Arc<Semaphore>,
    in_flight: usize,
    stop: CancellationToken,
    sender: mpsc::Sender<Result<Intake, PipelineError>>,
) {
    loop {
        let started = Instant::now();
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => {
                // Nobody listening means that the attempt has ended: fine as well.
                drop(sender.send(Ok(Intake::Ended(End::Stopped))).await);
                return;
            }
            received = chunks.next() => received,
        };
        let receiving = started.elapsed();
        let item = match received {
            Ok(Some(chunk)) => {
                fault::point!("chunk.received");
                let bytes = chunk.rows.iter().map(bytes::Bytes::len).sum::<usize>();
                // A chunk larger than the whole room takes all of it: then it is alone.
                let permits = u32::try_from(bytes.min(in_flight)).unwrap_or(u32::MAX);
                let Ok(permit) = Arc::clone(&room).acquire_many_owned(permits).await else {
                    return;
                };
                workers
                    .prepare(Received {
                        chunk,
                        bytes,
                        permit,
                        chain: rollout.chain(),
                    })
                    .map(|in_preparation| Intake::Chunk(in_preparation, receiving))
                    .map_err(|gone| PipelineError::Broken(gone.to_string()))
            }
            Ok(None) => {
                drop(sender.send(Ok(Intake::Ended(End::Complete))).await);
                return;
            }
            Err(error) => Err(error.into()),
        };
        let failed = item.is_err();
        if sender.send(item).await.is_err() || failed {
            return;
        }
    }
}
