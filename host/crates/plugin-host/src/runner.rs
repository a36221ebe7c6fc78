//! Runs a chain over batches, on one thread.
//!
//! Instances stay warm between batches, and a plugin that stays when the chain changes keeps
//! its own. One that trapped is thrown away; the next call gets a fresh one. A plugin's failure
//! on a row fails that row; [`Broken`] is for plugins that fail on most of them.

use std::sync::Arc;
use std::time::Duration;

use super::bindings::dead_letter_policy as policy;
use super::chain::Chain;
use super::component::Roles;
use super::instance::queue;
use super::limits::MAX_MESSAGE;
use super::rejections::NoAnswer;
use super::sanitize::line;
use super::shadow::{Before, Comparison};
use super::worker_slot::WorkerSlot;
use crate::row::{Batch, Failure, PluginId, Schema};

/// What becomes of a row that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try it again after this time.
    Retry(Duration),
    /// Keep it in the dead letters, in this queue.
    DeadLetter(String),
    /// Forget it.
    Drop,
    /// Stop the pipeline with this message.
    Halt(String),
}

/// A plugin that fails on most rows, or cannot be instantiated any more. The batch has all
/// its values and embeddings but is half done: it must not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin {} {} is broken: {message}", plugin.name, plugin.version)]
pub struct Broken {
    /// Which.
    pub plugin: Arc<PluginId>,
    /// How that was found, and its last fault.
    pub message: String,
}

/// What a plugin did on one thread.
#[derive(Clone, Debug)]
pub struct PluginStats {
    /// Which.
    pub plugin: Arc<PluginId>,
    /// What it does.
    pub roles: Roles,
    /// Calls of its roles, failed ones included.
    pub calls: u64,
    /// Rows that were settled by it: once per role that they met.
    pub rows: u64,
    /// Wall-clock time in these calls, with copying arguments in and answers out.
    pub time: Duration,
    /// Calls that failed.
    pub failed_calls: u64,
    /// How the last of them did.
    pub last_fault: Option<NoAnswer>,
    /// Bytes of linear memory that an instance came to have at most. Memory never shrinks.
    pub peak_memory: usize,
}

/// How a plugin has behaved lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which.
    pub plugin: Arc<PluginId>,
    /// Rows given to it, once per role that they met.
    pub rows: u64,
    /// Of them, those on which it failed: a trap, a missed deadline, too much memory, an
    /// `err`, or an answer that cannot be.
    pub faults: u64,
    /// Failed rows put before it as a policy.
    pub failures: u64,
    /// Of them, those that it failed to decide about.
    pub undecided: u64,
}

impl Observed {
    /// Nothing yet.
    #[must_use]
    pub fn new(plugin: &Arc<PluginId>) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            rows: 0,
            faults: 0,
            failures: 0,
            undecided: 0,
        }
    }

    /// Counts what was seen elsewhere or later.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.faults += other.faults;
        self.failures += other.failures;
        self.undecided += other.undecided;
    }
}

/// The warm instances of one worker thread.
pub struct Runner {
    chain: Arc<Chain>,
    schema: Arc<Schema>,
    /// In the order of the chain: what works, and what tries the same beside it.
    slots: Vec<(WorkerSlot, Option<WorkerSlot>)>,
    /// Of plugins that have left the chain.
    left: Vec<PluginStats>,
    comparisons: Vec<Comparison>,
}

impl Runner {
    pub(super) fn new(chain: &Arc<Chain>, schema: &Arc<Schema>) -> Self {
        let mut runner = Self {
            chain: Arc::clone(chain),
            schema: Arc::clone(schema),
            slots: Vec::new(),
            left: Vec::new(),
            comparisons: Vec::new(),
        };
        runner.slot(chain);
        runner
    }

    /// Makes `chain` the one that the next batch meets. Cheap when it is that already; else it
    /// costs no instantiation where the chain's links are warm.
    pub fn take_up(&mut self, chain: &Arc<Chain>) {
        if !Arc::ptr_eq(&self.chain, chain) {
            self.chain = Arc::clone(chain);
            self.slot(chain);
        }
    }

    fn slot(&mut self, chain: &Chain) {
        let before = std::mem::take(&mut self.slots);
        let mut before: Vec<WorkerSlot> = before
            .into_iter()
            .flat_map(|(active, shadow)| [Some(active), shadow])
            .flatten()
            .collect();
        let mut slot = |link| {
            let stays = before.iter().position(|slot| Arc::ptr_eq(&slot.link, link));
            match stays {
                Some(index) => before.swap_remove(index),
                None => WorkerSlot::new(link, &self.schema),
            }
        };
        self.slots = chain
            .members
            .iter()
            .map(|member| (slot(&member.active), member.shadow.as_ref().map(&mut slot)))
            .collect();
        self.left.extend(before.into_iter().map(|slot| slot.stats));
    }

    /// Has each plugin transform and validate the live rows. Rows that a plugin drops, rejects
    /// or fails on leave `live`.
    ///
    /// Blocks for the time of the calls: on a good batch at most one deadline per role, on one
    /// with bad rows at most 62 deadlines per role. To be called on a thread of its own, outside
    /// of an async runtime's workers.
    ///
    /// # Errors
    ///
    /// When a plugin is broken.
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

    /// Asks the policy what becomes of these failures, one decision for each. Where there is no
    /// policy, or it fails, they go to the queue `default`.
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
            let plugin = shadow.link.plugin().id();
            self.comparisons.push(Comparison::of_policy(
                plugin, batch, failures, &decisions, &other,
            ));
        }
        decisions
    }

    /// As [`Self::decide`], with nothing in the place of a failure, and without a shadow: for the
    /// tests of a policy.
    ///
    /// # Errors
    ///
    /// When the policy fails.
    pub fn decisions(
        &mut self,
        batch: &Batch,
        failures: &[Failure],
    ) -> Result<Vec<Decision>, NoAnswer> {
        let mut slots = self.slots.iter_mut().map(|(active, _)| active);
        match slots.find(|slot| slot.stats.roles.policy) {
            Some(slot) => {
                let decisions = slot.decide(batch, failures)?;
                Ok(decisions.into_iter().map(decision).collect())
            }
            None => Ok(by_default(failures)),
        }
    }

    /// What each plugin has done so far: those of the chain in its order, then those that have
    /// left it.
    #[must_use]
    pub fn stats(&self) -> Vec<PluginStats> {
        let seated = self.slots.iter().map(|(active, _)| active.stats.clone());
        seated.chain(self.left.iter().cloned()).collect()
    }

    /// How the plugins of the chain have behaved since this was last called.
    pub fn take_observed(&mut self) -> Vec<Observed> {
        let slots = self.slots.iter_mut();
        let observed = slots.map(|(active, _)| active.take_observed());
        observed
            .filter(|observed| observed.rows + observed.failures > 0)
            .collect()
    }

    /// What shadows would have done otherwise, since this was last called.
    pub fn take_comparisons(&mut self) -> Vec<Comparison> {
        std::mem::take(&mut self.comparisons)
    }
}

fn by_default(failures: &[Failure]) -> Vec<Decision> {
    vec![Decision::DeadLetter("default".to_owned()); failures.len()]
}

fn decide(slot: &mut WorkerSlot, batch: &Batch, failures: &[Failure]) -> Vec<Decision> {
    match slot.decide(batch, failures) {
        Ok(decisions) => decisions.into_iter().map(decision).collect(),
        Err(fault) => {
            let plugin = &slot.link.plugin().id().name;
            let rows = failures.len();
            tracing::warn!(plugin, rows, %fault, "the policy failed: rows go to the default queue");
            by_default(failures)
        }
    }
}

fn decision(decision: policy::Decision) -> Decision {
    match decision {
        policy::Decision::Retry(millis) => Decision::Retry(Duration::from_millis(millis.into())),
        policy::Decision::DeadLetter(name) => Decision::DeadLetter(queue(name)),
        policy::Decision::Drop => Decision::Drop,
        policy::Decision::Halt(message) => Decision::Halt(line(message, MAX_MESSAGE)),
    }
}
