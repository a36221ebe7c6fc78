//! Runs a chain over batches, on one thread.
//!
//! Instances stay warm between batches, and a plugin that remains in the chain when the chain
//! changes keeps its instance. An instance that trapped is discarded; the next call gets a new
//! one. A plugin's failure on a row fails that row; [`Broken`] is for plugins that fail on most
//! rows.

use std::sync::Arc;

use super::chain::Chain;
use super::outcome::{Broken, DEFAULT_QUEUE, Decision, NoAnswer, Observed, PluginStats};
use super::shadow::{Before, Comparison};
use super::worker_slot::WorkerSlot;
use crate::row::{Batch, Failure, Schema};

impl Chain {
    /// Creates a runner for batches of this schema, to be used on one worker thread.
    #[must_use]
    pub fn runner(self: &Arc<Self>, schema: &Arc<Schema>) -> Runner {
        Runner::new(self, schema)
    }
}

/// The warm instances of one worker thread.
pub struct Runner {
    chain: Arc<Chain>,
    schema: Arc<Schema>,
    /// Active plugins in the order of the chain, each with its shadow.
    slots: Vec<(WorkerSlot, Option<WorkerSlot>)>,
    /// Totals of plugins that have left the chain.
    left: Vec<PluginStats>,
    comparisons: Vec<Comparison>,
}

impl Runner {
    fn new(chain: &Arc<Chain>, schema: &Arc<Schema>) -> Self {
        let mut runner = Self {
            chain: Arc::clone(chain),
            schema: Arc::clone(schema),
            slots: Vec::new(),
            left: Vec::new(),
            comparisons: Vec::new(),
        };
        runner.fill_slots(chain);
        runner
    }

    /// Uses `chain` from the next batch on. Cheap if it is in use already; otherwise it costs no
    /// instantiation as long as the plugins of the chain have warm instances.
    pub fn take_up(&mut self, chain: &Arc<Chain>) {
        if !Arc::ptr_eq(&self.chain, chain) {
            self.chain = Arc::clone(chain);
            self.fill_slots(chain);
        }
    }

    /// Keeps the slots of plugins that are in `chain` as well, and makes the others.
    fn fill_slots(&mut self, chain: &Chain) {
        let before = std::mem::take(&mut self.slots);
        let mut before: Vec<WorkerSlot> = before
            .into_iter()
            .flat_map(|(active, shadow)| [Some(active), shadow])
            .flatten()
            .collect();
        let mut slot = |plugin| {
            let kept = before
                .iter()
                .position(|slot| Arc::ptr_eq(&slot.configured, plugin));
            match kept {
                Some(index) => before.swap_remove(index),
                None => WorkerSlot::new(plugin, &self.schema),
            }
        };
        self.slots = chain
            .entries
            .iter()
            .map(|entry| (slot(&entry.active), entry.shadow.as_ref().map(&mut slot)))
            .collect();
        self.left.extend(before.into_iter().map(|slot| slot.stats));
    }

    /// Lets each plugin transform and validate the live rows. Rows that a plugin drops, rejects
    /// or fails on leave `live`.
    ///
    /// Blocks during the calls: at most one deadline per role on a good batch, and at most 62
    /// deadlines per role on a batch with bad rows. Call it on a thread of its own, outside the
    /// workers of an async runtime.
    ///
    /// # Errors
    /// If a plugin is broken.
    pub fn run(&mut self, batch: &mut Batch) -> Result<(), Broken> {
        debug_assert_eq!(batch.schema, self.schema, "a runner is made for one schema");
        for (active, shadow) in &mut self.slots {
            let before = shadow.as_ref().map(|_| Before::of(batch));
            active.run(batch)?;
            if let (Some(before), Some(shadow)) = (before, shadow) {
                self.comparisons.push(before.compare(batch, shadow));
            }
        }
        Ok(())
    }

    /// Asks the policy about these failures, and returns one decision for each. Without a
    /// policy, or if it fails, they go to [`DEFAULT_QUEUE`].
    pub fn decide(&mut self, batch: &Batch, failures: &[Failure]) -> Vec<Decision> {
        if failures.is_empty() {
            return Vec::new();
        }
        let mut slots = self.slots.iter_mut();
        let Some((slot, shadow)) = slots.find(|(slot, _)| slot.stats.roles.policy) else {
            return by_default(failures);
        };
        let decisions = decide(slot, batch, failures);
        if let Some(shadow) = shadow
            && shadow.stats.roles.policy
        {
            let other = decide(shadow, batch, failures);
            let plugin = shadow.configured.plugin().id();
            self.comparisons.push(Comparison::of_policy(
                plugin, batch, failures, &decisions, &other,
            ));
        }
        decisions
    }

    /// As [`Self::decide`], but without a shadow, and a failing policy is an error: for tests of
    /// policies.
    ///
    /// # Errors
    /// If the policy fails.
    pub fn decisions(
        &mut self,
        batch: &Batch,
        failures: &[Failure],
    ) -> Result<Vec<Decision>, NoAnswer> {
        let mut slots = self.slots.iter_mut().map(|(active, _)| active);
        match slots.find(|slot| slot.stats.roles.policy) {
            Some(slot) => Ok(slot.decide(batch, failures)?),
            None => Ok(by_default(failures)),
        }
    }

    /// Totals of each plugin: those of the chain in its order, then those that have left it.
    #[must_use]
    pub fn stats(&self) -> Vec<PluginStats> {
        let current = self.slots.iter().map(|(active, _)| active.stats.clone());
        current.chain(self.left.iter().cloned()).collect()
    }

    /// Behaviour of the chain's plugins since the last call of this function.
    pub fn take_observed(&mut self) -> Vec<Observed> {
        let slots = self.slots.iter_mut();
        let observed = slots.map(|(active, _)| active.take_observed());
        observed
            .filter(|observed| observed.rows + observed.failures > 0)
            .collect()
    }

    /// Comparisons with shadows since the last call of this function.
    pub fn take_comparisons(&mut self) -> Vec<Comparison> {
        std::mem::take(&mut self.comparisons)
    }
}

fn by_default(failures: &[Failure]) -> Vec<Decision> {
    vec![Decision::DeadLetter(DEFAULT_QUEUE.to_owned()); failures.len()]
}

fn decide(slot: &mut WorkerSlot, batch: &Batch, failures: &[Failure]) -> Vec<Decision> {
    match slot.decide(batch, failures) {
        Ok(decisions) => decisions,
        Err(fault) => {
            let plugin = &slot.configured.plugin().id().name;
            let rows = failures.len();
            tracing::warn!(plugin, rows, %fault, "the policy failed: rows go to the default queue");
            by_default(failures)
        }
    }
}
