//! Prepares a chunk, from its bytes to rows that are ready to be written. Runs on a worker thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::chunk::{Prepared, Received, Settled, Times};
use crate::decode::Decoder;
use crate::plugin::{Broken, Chain, PluginStats, Runner};
use crate::policy::{Budget, Decided, Halted, Retry, carry_out};
use crate::rollout::{Rollout, Verdict};
use crate::route::{Targets, row_ids};
use crate::row::{Batch, Failure, KeySet, Value};
use crate::source::Units;

/// Prepares the chunks of one worker.
pub struct Preparer {
    /// One for each kind of rows.
    decoders: Vec<Decoder>,
    targets: Arc<Targets>,
    rollout: Arc<Rollout>,
    runner: Runner,
}

/// A chunk between its plugins and the table.
#[derive(Default)]
struct Sorted {
    batch: Batch,
    digests: Vec<Uuid>,
    settled: Settled,
}

/// Reason for which a chunk cannot be prepared.
enum Failed {
    /// A plugin is broken; another version may work.
    Broken(Broken),
    Halted(Halted),
}

impl From<Halted> for Failed {
    fn from(halted: Halted) -> Self {
        Self::Halted(halted)
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Preparer {
    /// A preparer for `targets`, with the plugins of `rollout`.
    #[must_use]
    pub fn new(decoders: Vec<Decoder>, targets: Arc<Targets>, rollout: Arc<Rollout>) -> Self {
        let runner = rollout.chain().runner(&targets.schema);
        Self {
            decoders,
            targets,
            rollout,
            runner,
        }
    }

    /// Figures of the plugins of this worker.
    #[must_use]
    pub fn stats(&self) -> Vec<PluginStats> {
        self.runner.stats()
    }

    /// Asks the policy of `chain` about rows that failed after they were prepared.
    pub fn decide(&mut self, chain: &Arc<Chain>, batch: &Batch, failures: &[Failure]) -> Decided {
        self.runner.take_up(chain);
        let decisions = self.runner.decide(batch, failures);
        // The chunk goes on in any case: the verdict affects later ones.
        let _verdict = self.rollout.judge(chain, &self.runner.take_observed());
        (decisions, self.runner.take_comparisons())
    }

    /// Decodes a chunk, runs the plugins, routes its rows, and asks the policy about failed rows. If
    /// a new version of a plugin is barred meanwhile, the chunk is prepared again with the last good
    /// one.
    ///
    /// # Errors
    /// If the policy halts the pipeline, or a plugin is broken.
    pub fn prepare(&mut self, received: Received) -> Result<Prepared, Halted> {
        let mut times = Times::default();
        let Received {
            chunk,
            bytes,
            permit,
            mut chain,
        } = received;
        let sorted = loop {
            match self.rollout.verdict(&chain) {
                Verdict::Keep => {}
                Verdict::Again(other) => chain = other,
                Verdict::Halt(message) => return Err(Halted { message }),
            }
            timed(&mut times.plugins, || self.runner.take_up(&chain));
            let mut sorted = Sorted::default();
            let result = self.sort(&chunk.units, &mut sorted, &mut times);
            let observed = self.runner.take_observed();
            let verdict = match &result {
                Ok(()) | Err(Failed::Halted(_)) => self.rollout.judge(&chain, &observed),
                Err(Failed::Broken(broken)) => self.rollout.broken(&chain, broken),
            };
            match (verdict, result) {
                (Verdict::Again(other), _) => {
                    self.runner.take_comparisons();
                    chain = other;
                }
                (Verdict::Halt(message), _) => return Err(Halted { message }),
                (Verdict::Keep, Ok(())) => break sorted,
                (Verdict::Keep, Err(Failed::Halted(halted))) => return Err(halted),
                (Verdict::Keep, Err(Failed::Broken(broken))) => {
                    let message = broken.to_string();
                    return Err(Halted { message });
                }
            }
        };
        Ok(Prepared {
            keys: Arc::new(KeySet::of(&sorted.batch)),
            ids: row_ids(&sorted.batch),
            encoding: self.decoder(&chunk.units).and_then(|decoder| {
                let encoding = decoder.format.encoding(chunk.units.kind());
                encoding.cloned()
            }),
            units: chunk.units,
            batch: sorted.batch,
            digests: sorted.digests,
            settled: sorted.settled,
            position: chunk.position,
            bytes,
            times,
            permit,
            chain,
            comparisons: self.runner.take_comparisons(),
        })
    }

    /// Sorts undecoded rows into rows to write and others.
    fn sort(
        &mut self,
        units: &Units,
        sorted: &mut Sorted,
        times: &mut Times,
    ) -> Result<(), Failed> {
        let mut budget = Budget::default();
        sorted.batch = timed(&mut times.decode, || match self.decoder(units) {
            Some(decoder) => decoder.decode(units),
            None => Batch::default(),
        });
        let targets = Arc::clone(&self.targets);
        let targets = targets.of(units.kind());
        let Sorted {
            batch,
            digests,
            settled,
        } = sorted;
        timed(&mut times.plugins, || self.runner.run(batch))?;
        timed(&mut times.route, || targets.route(batch, digests));
        let mut retries = timed(&mut times.plugins, || {
            self.decide_fates(batch, settled, &mut budget)
        })?;
        while !retries.is_empty() {
            // During a retry only the retried rows are live.
            let done = std::mem::take(&mut batch.live);
            let attempts = self.decode_again(units, batch, retries);
            timed(&mut times.plugins, || self.runner.run(batch))?;
            timed(&mut times.route, || targets.route(batch, digests));
            batch.live.extend(done);
            batch.live.sort_unstable();
            for failure in &mut batch.failures {
                failure.attempt = attempts.get(&failure.row).map_or(1, |attempt| attempt + 1);
            }
            retries = timed(&mut times.plugins, || {
                self.decide_fates(batch, settled, &mut budget)
            })?;
        }
        Ok(())
    }

    /// Asks the policy about the failures of a batch; returns the rows to try again.
    fn decide_fates(
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

    /// The decoder of rows of this kind.
    fn decoder(&self, units: &Units) -> Option<&Decoder> {
        self.decoders.get(units.kind())
    }

    /// Decodes rows again; returns the number of failed attempts of each.
    fn decode_again(
        &self,
        units: &Units,
        batch: &mut Batch,
        retries: Vec<Retry>,
    ) -> HashMap<u32, u32> {
        let mut attempts = HashMap::new();
        for retry in retries {
            thread::sleep(retry.after);
            let row = retry.failure.row;
            attempts.insert(row, retry.failure.attempt);
            batch.row_mut(row).fill(Value::Null);
            if let Some(decoder) = self.decoder(units) {
                decoder.decode_row(units, batch, row as usize);
            }
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
