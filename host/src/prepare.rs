//! From the bytes of a chunk to rows that only have to be written. Runs on a worker thread.

use std::{
    collections::HashMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::{
    decode::Decoder,
    plugin::Runner,
    policy::{Budget, Halted, Retry, Settled, carry_out},
    row::{Batch, Value},
    source::wire,
    store::target::Targets,
};

/// A chunk as it came, with the room it takes.
#[derive(Debug)]
pub struct Received {
    /// From the source.
    pub chunk: wire::Chunk,
    /// Its encoded rows, in bytes.
    pub bytes: usize,
    /// Its share of the bytes in flight.
    pub permit: OwnedSemaphorePermit,
}

/// A chunk that only has to be written.
#[derive(Debug)]
pub struct Prepared {
    /// Live rows are to be written; the others are in `settled`.
    pub batch: Batch,
    /// By row: of what would be written.
    pub digests: Vec<Uuid>,
    /// Rows that failed before they could be written.
    pub settled: Settled,
    /// The position after this chunk.
    pub position: String,
    /// Its encoded rows.
    pub bytes: usize,
    /// How long it took.
    pub times: Times,
    /// Released when the chunk is.
    pub permit: OwnedSemaphorePermit,
}

/// How long the steps of a chunk took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Bytes to rows.
    pub decode: Duration,
    /// All plugins, the policy included.
    pub plugins: Duration,
    /// Matching with the tables, and digests.
    pub route: Duration,
}

/// What a worker needs to prepare chunks.
pub struct Preparer {
    decoder: Decoder,
    targets: Arc<Targets>,
    runner: Runner,
}

impl Preparer {
    /// Prepares chunks for `targets`.
    #[must_use]
    pub fn new(decoder: Decoder, targets: Arc<Targets>, runner: Runner) -> Self {
        Self {
            decoder,
            targets,
            runner,
        }
    }

    /// The plugins of this worker.
    pub fn runner(&mut self) -> &mut Runner {
        &mut self.runner
    }

    /// Decode, plugins, route; then the policy about the rows that failed.
    ///
    /// # Errors
    /// If the policy halts the pipeline, or a plugin is broken.
    pub fn prepare(&mut self, received: Received) -> Result<Prepared, Halted> {
        let mut times = Times::default();
        let mut digests = Vec::new();
        let mut settled = Settled::default();
        let mut budget = Budget::default();
        let Received {
            chunk,
            bytes,
            permit,
        } = received;
        let mut batch = timed(&mut times.decode, || self.decoder.decode(chunk.rows));
        let broken = |broken: crate::plugin::Broken| Halted {
            message: broken.to_string(),
        };
        timed(&mut times.plugins, || self.runner.run(&mut batch)).map_err(broken)?;
        timed(&mut times.route, || {
            self.targets.route(&mut batch, &mut digests)
        });
        let mut retries = timed(&mut times.plugins, || {
            self.settle(&mut batch, &mut settled, &mut budget)
        })?;
        while !retries.is_empty() {
            // Only the rows to try again are live while they are.
            let done = std::mem::take(&mut batch.live);
            let attempts = self.decode_again(&mut batch, retries);
            timed(&mut times.plugins, || self.runner.run(&mut batch)).map_err(broken)?;
            timed(&mut times.route, || {
                self.targets.route(&mut batch, &mut digests)
            });
            batch.live.extend(done);
            batch.live.sort_unstable();
            for failure in &mut batch.failures {
                failure.attempt = attempts.get(&failure.row).map_or(1, |attempt| attempt + 1);
            }
            retries = timed(&mut times.plugins, || {
                self.settle(&mut batch, &mut settled, &mut budget)
            })?;
        }
        Ok(Prepared {
            batch,
            digests,
            settled,
            position: chunk.resume_token,
            bytes,
            times,
            permit,
        })
    }

    fn settle(
        &mut self,
        batch: &mut Batch,
        settled: &mut Settled,
        budget: &mut Budget,
    ) -> Result<Vec<Retry>, Halted> {
        let failures = std::mem::take(&mut batch.failures);
        if failures.is_empty() {
            return Ok(Vec::new());
        }
        let decisions = self.runner.decide(batch, &failures);
        carry_out(failures, decisions, settled, budget)
    }

    /// Takes rows from the wire again; returns how often each had failed.
    fn decode_again(&self, batch: &mut Batch, retries: Vec<Retry>) -> HashMap<u32, u32> {
        let mut attempts = HashMap::new();
        for retry in retries {
            thread::sleep(retry.after);
            let row = retry.failure.row;
            attempts.insert(row, retry.failure.attempt);
            batch.row_mut(row).fill(Value::Null);
            self.decoder.decode_row(batch, row as usize);
        }
        batch.live.sort_unstable();
        attempts
    }
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *total += started.elapsed();
    result
}
