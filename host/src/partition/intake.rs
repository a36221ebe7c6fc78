//! Receives chunks from the stream, hands them to the workers, and takes them back in order.
//!
//! Received and not yet committed chunks are bounded in bytes, by permits that travel in the
//! chunk, and in number. Beyond that the stream is not read, and gRPC's flow control holds the
//! source.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chunk::{Prepared, Received};
use crate::error::PipelineError;
use crate::policy::Halted;
use crate::rollout::Rollout;
use crate::source::{Chunk, Chunks, SourceError};
use crate::workers::{WorkerGone, Workers};
use crate::{failpoints, metrics};

/// Maximum number of chunks received and not yet being written: enough to keep every worker busy.
const LOOK_AHEAD: usize = 4;

/// Chunks are joined up to this fraction (1/8) of the bytes that may be in flight.
const SHARE: usize = 8;

/// End of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The source has nothing more for now.
    Complete,
    /// The host was stopped; everything received is committed.
    Stopped,
}

/// A chunk that a worker is preparing.
type InPreparation = oneshot::Receiver<Result<Prepared, Halted>>;

/// An item from the receiving task.
enum Item {
    /// A chunk, and the time spent waiting for it.
    Chunk(InPreparation, Duration),
    /// The end of the stream.
    Ended(End),
}

/// The parts of a partition that receiving uses.
pub(crate) struct IntakeContext {
    pub(crate) pipeline: String,
    pub(crate) workers: Arc<Workers>,
    pub(crate) rollout: Arc<Rollout>,
    /// The bytes that are still free; `in_flight` of them in all.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) in_flight: usize,
    /// What a row takes beside its bytes.
    pub(crate) row_cost: usize,
    pub(crate) stop: CancellationToken,
}

/// The prepared chunks of a stream. Receiving ends when this is dropped.
pub(crate) struct Intake {
    pipeline: String,
    task: JoinHandle<()>,
    items: mpsc::Receiver<Result<Item, PipelineError>>,
    in_preparation: Option<InPreparation>,
    over: bool,
    end: Option<End>,
    receiving: Duration,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Intake {
    /// Receives on a task of its own, so that the next chunks come while others are written.
    /// Chunks that have already arrived are joined up to `rows` rows.
    pub(crate) fn start(context: IntakeContext, chunks: Chunks, rows: Arc<AtomicUsize>) -> Self {
        let (sender, items) = mpsc::channel(LOOK_AHEAD);
        let receiver = Receiver {
            stream: Stream {
                chunks,
                ended: None,
                rows,
                bytes: context.in_flight / SHARE,
                row_cost: context.row_cost,
            },
            workers: context.workers,
            rollout: context.rollout,
            room: context.room,
            in_flight: context.in_flight,
            stop: context.stop,
        };
        Self {
            pipeline: context.pipeline,
            task: tokio::spawn(receiver.run(sender)),
            items,
            in_preparation: None,
            over: false,
            end: None,
            receiving: Duration::ZERO,
        }
    }

    /// The next chunk; `None` when there are no more, also after an error. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Prepared>, PipelineError> {
        let next = self.take().await;
        self.over = !matches!(next, Ok(Some(_)));
        next
    }

    async fn take(&mut self) -> Result<Option<Prepared>, PipelineError> {
        while self.in_preparation.is_none() {
            match self.items.recv().await.transpose()? {
                Some(Item::Chunk(in_preparation, receiving)) => {
                    self.receiving += receiving;
                    metrics::stage(&self.pipeline, "receive", receiving);
                    self.in_preparation = Some(in_preparation);
                }
                Some(Item::Ended(end)) => self.end = Some(end),
                None => return Ok(None),
            }
        }
        let Some(in_preparation) = &mut self.in_preparation else {
            return Ok(None);
        };
        let prepared = in_preparation.await;
        self.in_preparation = None;
        let prepared = prepared.map_err(|_| PipelineError::Broken(WorkerGone.to_string()))?;
        Ok(Some(prepared?))
    }

    /// True if there are no more chunks.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Time spent waiting for chunks.
    pub(crate) fn receiving(&self) -> Duration {
        self.receiving
    }

    /// The end of the stream, once it is reached.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }
}

/// The receiving task.
struct Receiver {
    stream: Stream,
    workers: Arc<Workers>,
    rollout: Arc<Rollout>,
    room: Arc<Semaphore>,
    in_flight: usize,
    stop: CancellationToken,
}

impl Receiver {
    /// Ends with the stream, on a stop, or when the other side is dropped.
    async fn run(mut self, sender: mpsc::Sender<Result<Item, PipelineError>>) {
        loop {
            let started = Instant::now();
            let received = tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    // Fails only if the attempt has ended; then the end is of no interest.
                    drop(sender.send(Ok(Item::Ended(End::Stopped))).await);
                    return;
                }
                received = self.stream.next() => received,
            };
            let receiving = started.elapsed();
            let item = match received {
                Ok(Some(chunk)) => {
                    failpoints::point!("chunk.received");
                    let Some(in_preparation) = self.hand_over(chunk).await else {
                        return;
                    };
                    in_preparation.map(|it| Item::Chunk(it, receiving))
                }
                Ok(None) => {
                    drop(sender.send(Ok(Item::Ended(End::Complete))).await);
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

    /// Waits for room, and gives the chunk to a worker. `None` if the semaphore is closed.
    async fn hand_over(&mut self, chunk: Chunk) -> Option<Result<InPreparation, PipelineError>> {
        let bytes = chunk.units.bytes();
        let cost = bytes + chunk.units.len() * self.stream.row_cost;
        // A chunk larger than the whole room takes all of it, and is then alone.
        let permits = u32::try_from(cost.min(self.in_flight)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room);
        let permit = room.acquire_many_owned(permits).await.ok()?;
        let in_preparation = self.workers.prepare(Received {
            chunk,
            bytes,
            permit,
            chain: self.rollout.chain(),
        });
        Some(in_preparation.map_err(|gone| PipelineError::Broken(gone.to_string())))
    }
}

/// A stream whose chunks are joined if that pays.
struct Stream {
    chunks: Chunks,
    /// What followed the chunks that were joined last.
    ended: Option<Result<Option<Chunk>, SourceError>>,
    rows: Arc<AtomicUsize>,
    bytes: usize,
    row_cost: usize,
}

impl Stream {
    /// As [`Chunks::next`]. Cancel-safe: once a chunk has arrived, nothing is awaited.
    async fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        let first = match self.ended.take() {
            Some(ended) => ended,
            None => self.chunks.next().await,
        };
        let Ok(Some(mut chunk)) = first else {
            return first;
        };
        let cost = |chunk: &Chunk| chunk.units.bytes() + chunk.units.len() * self.row_cost;
        let (rows, mut bytes) = (self.rows.load(Ordering::Relaxed), cost(&chunk));
        while chunk.units.len() < rows && bytes < self.bytes {
            match self.chunks.next().now_or_never() {
                Some(Ok(Some(more))) if chunk.units.len() + more.units.len() <= rows => {
                    let more_bytes = cost(&more);
                    let Chunk { units, position } = more;
                    if let Err(units) = chunk.units.append(units) {
                        self.ended = Some(Ok(Some(Chunk { units, position })));
                        break;
                    }
                    bytes += more_bytes;
                    chunk.position = position;
                }
                Some(ended) => {
                    self.ended = Some(ended);
                    break;
                }
                None => break,
            }
        }
        Ok(Some(chunk))
    }
}
