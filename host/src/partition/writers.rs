//! Writes chunks side by side, each over a connection of its own, and commits them in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesOrdered;

use crate::chunk::Prepared;
use crate::row::KeySet;
use crate::store::{CommitError, Committed, LaterChunk, Turn, Writer};
use crate::workers::Workers;

/// The writers of a partition.
pub(super) struct Writers {
    policy: Arc<Workers>,
    idle: Vec<Writer>,
    writing: FuturesOrdered<BoxFuture<'static, Written>>,
    /// Keys of the chunks being written, in their order.
    keys: VecDeque<Arc<KeySet>>,
    last: LaterChunk,
    /// When a writer last became idle, or the last idle one was given a chunk.
    idle_since: Instant,
}

/// A writer that has finished, and its chunk.
type Written = (Writer, Prepared, Result<Committed, CommitError>);

impl Writers {
    /// `sequence`: chunks of the run that are committed.
    pub(super) fn new(policy: Arc<Workers>, writer: Writer, sequence: i64) -> Self {
        Self {
            policy,
            idle: vec![writer],
            writing: FuturesOrdered::new(),
            keys: VecDeque::new(),
            last: LaterChunk::after(sequence),
            idle_since: Instant::now(),
        }
    }

    /// Number of writers, idle ones included.
    pub(super) fn all(&self) -> usize {
        self.idle.len() + self.writing.len()
    }

    /// Number of chunks being written.
    pub(super) fn len(&self) -> usize {
        self.writing.len()
    }

    /// True if every writer is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.idle.is_empty()
    }

    /// Adds an idle writer.
    pub(super) fn add(&mut self, writer: Writer) {
        self.idle.push(writer);
    }

    /// Begins to write a chunk; returns the time for which a writer was idle before. Does nothing
    /// if every writer is at work.
    pub(super) fn write(&mut self, prepared: Prepared) -> Duration {
        let Some(mut writer) = self.idle.pop() else {
            return Duration::ZERO;
        };
        // The state of its rows depends on a chunk that is not committed yet.
        let waits = self
            .keys
            .iter()
            .any(|earlier| earlier.meets(&prepared.keys));
        self.keys.push_back(Arc::clone(&prepared.keys));
        let placeholder = LaterChunk::after(0);
        let before = std::mem::replace(&mut self.last, placeholder);
        let (turn, later) = Turn::new(before, waits);
        self.last = later;
        let policy = Arc::clone(&self.policy);
        let write = async move {
            let committed = writer.commit(&prepared, policy.as_ref(), turn).await;
            (writer, prepared, committed)
        };
        self.writing.push_back(write.boxed());
        let idle = self.idle_since.elapsed();
        self.idle_since = Instant::now();
        idle
    }

    /// Waits until the next chunk in order is committed; `None` if none is being written.
    pub(super) async fn committed(&mut self) -> Option<Result<(Prepared, Committed), CommitError>> {
        let (writer, prepared, committed) = self.writing.next().await?;
        self.keys.pop_front();
        self.idle.push(writer);
        self.idle_since = Instant::now();
        Some(committed.map(|committed| (prepared, committed)))
    }

    /// After a failed commit, waits for the other writers to stop. Later chunks can no longer commit,
    /// and report that. A connection that is abandoned in the middle of a statement would give the
    /// server's response to its next user.
    pub(super) async fn drain(&mut self) {
        while self.writing.next().await.is_some() {}
    }
}
