//! Receiving: chunks are taken from the stream, handed to the workers, and taken back in order.
//!
//! What is received and not yet committed is bounded in bytes, by permits that travel in the
//! chunk, and in chunks. Beyond that the stream is not read, and gRPC's flow control holds the
//! source.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Partition;
use crate::chunk::{Prepared, Received};
use crate::error::PipelineError;
use crate::policy::Halted;
use crate::rollout::Rollout;
use crate::source::wire::Chunk;
use crate::source::{Chunks, SourceError};
use crate::workers::{WorkerGone, Workers};
use crate::{failpoints, metrics};

/// Chunks received and not yet being written. Enough to keep every worker busy.
const LOOK_AHEAD: usize = 4;

/// Chunks are joined up to this share of the bytes that may be in flight.
const SHARE: usize = 8;

/// How a stream ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// There is nothing more for now.
    Complete,
    /// Asked to stop; everything received is committed.
    Stopped,
}

/// A chunk that a worker is at.
type InPreparation = oneshot::Receiver<Result<Prepared, Halted>>;

/// What the receiving task hands over.
enum Item {
    /// A chunk, and how long it was waited for.
    Chunk(InPreparation, Duration),
    /// Nothing more, and why.
    Ended(End),
}

/// The prepared chunks of a stream. Receiving ends when this is dropped.
pub(super) struct Intake {
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
    /// Chunks that have come already are joined to as many rows as `rows` says.
    pub(super) fn start(partition: &Partition, chunks: Chunks, rows: Arc<AtomicUsize>) -> Self {
        let (sender, items) = mpsc::channel(LOOK_AHEAD);
        let receiver = Receiver {
            stream: Stream {
                chunks,
                ended: None,
                rows,
                bytes: partition.in_flight / SHARE,
            },
            workers: Arc::clone(&partition.workers),
            rollout: Arc::clone(&partition.rollout),
            room: Arc::clone(&partition.room),
            in_flight: partition.in_flight,
            stop: partition.stop.clone(),
        };
        Self {
            pipeline: partition.config.name.clone(),
            task: tokio::spawn(receiver.run(sender)),
            items,
            in_preparation: None,
            over: false,
            end: None,
            receiving: Duration::ZERO,
        }
    }

    /// The next chunk; `None` when there are no more, as after an error. Can be dropped and
    /// called again.
    pub(super) async fn next(&mut self) -> Result<Option<Prepared>, PipelineError> {
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

    /// Whether there are no more chunks.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// How long chunks were waited for.
    pub(super) fn receiving(&self) -> Duration {
        self.receiving
    }

    /// How the stream ended, if it said so.
    pub(super) fn end(&self) -> Option<End> {
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
    /// Ends with the stream, with a stop, or when nobody takes its chunks any more.
    async fn run(mut self, sender: mpsc::Sender<Result<Item, PipelineError>>) {
        loop {
            let started = Instant::now();
            let received = tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    // Nobody listening means that the attempt has ended: fine as well.
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

    /// Waits for room, and gives the chunk to a worker. `None` if there is no room ever again.
    async fn hand_over(&mut self, chunk: Chunk) -> Option<Result<InPreparation, PipelineError>> {
        let bytes = size(&chunk);
        // A chunk larger than the whole room takes all of it: then it is alone.
        let permits = u32::try_from(bytes.min(self.in_flight)).unwrap_or(u32::MAX);
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

fn size(chunk: &Chunk) -> usize {
    chunk.rows.iter().map(Bytes::len).sum()
}

/// A stream whose chunks are joined where that is wanted.
struct Stream {
    chunks: Chunks,
    /// What came after the chunks that were joined last.
    ended: Option<Result<Option<Chunk>, SourceError>>,
    rows: Arc<AtomicUsize>,
    bytes: usize,
}

impl Stream {
    /// As [`Chunks::next`]. Can be dropped and called again: nothing is waited for once a chunk
    /// has come.
    async fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        let first = match self.ended.take() {
            Some(ended) => ended,
            None => self.chunks.next().await,
        };
        let Ok(Some(mut chunk)) = first else {
            return first;
        };
        let (rows, mut bytes) = (self.rows.load(Ordering::Relaxed), size(&chunk));
        while chunk.rows.len() < rows && bytes < self.bytes {
            match self.chunks.next().now_or_never() {
                Some(Ok(Some(more))) if chunk.rows.len() + more.rows.len() <= rows => {
                    bytes += size(&more);
                    chunk.rows.extend(more.rows);
                    chunk.resume_token = more.resume_token;
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
