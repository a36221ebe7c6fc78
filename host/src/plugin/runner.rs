//! Runs a chain over batches, on one thread.
//!
//! Instances stay warm between batches. One that trapped is thrown away; the next call gets a
//! fresh one. A plugin's failure on a row fails that row; [`Broken`] is for plugins that fail
//! on most of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::apply;
use super::bindings::dead_letter_policy as policy;
use super::bindings::types;
use super::bisect::{Purpose, Settled, settle};
use super::chain::{Chain, Link};
use super::component::Roles;
use super::convert::{with_failures, with_rows};
use super::embeddings::{Access, Lent};
use super::fault::Fault;
use super::instance::{Instance, queue};
use super::limits::MAX_MESSAGE;
use super::text::cut;
use crate::row::{Batch, Embeddings, Failure, PluginId, Schema};

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
    /// Bytes of linear memory that an instance came to have at most. Memory never shrinks.
    pub peak_memory: usize,
}

/// The warm instances of one worker thread.
pub struct Runner {
    chain: Arc<Chain>,
    schema: Arc<Schema>,
    seats: Vec<Seat>,
    stats: Vec<PluginStats>,
}

/// The place of a plugin in a runner.
struct Seat {
    instance: Option<Instance>,
    /// Indices of the columns it reads.
    columns: Vec<usize>,
}

impl Runner {
    pub(super) fn new(chain: &Arc<Chain>, schema: &Arc<Schema>) -> Self {
        let seat = |link: &Link| Seat {
            instance: None,
            columns: match link.plugin.reads() {
                Some(reads) => reads
                    .iter()
                    .filter_map(|name| schema.column(name))
                    .collect(),
                None => (0..schema.columns.len()).collect(),
            },
        };
        let stats = |link: &Link| PluginStats {
            plugin: Arc::clone(link.plugin.id()),
            roles: link.plugin.roles(),
            calls: 0,
            rows: 0,
            time: Duration::ZERO,
            failed_calls: 0,
            peak_memory: 0,
        };
        Self {
            chain: Arc::clone(chain),
            schema: Arc::clone(schema),
            seats: chain.links.iter().map(seat).collect(),
            stats: chain.links.iter().map(stats).collect(),
        }
    }

    /// Has each plugin transform and validate the live rows. Rows that a plugin drops, rejects
    /// or fails on leave `live`.
    ///
    /// Blocks for the time of the calls: on a good batch at most one deadline per role, on one
    /// with bad rows at most 41 deadlines per role for the calls that fail. To be called on a
    /// thread of its own, outside of an async runtime's workers.
    ///
    /// # Errors
    ///
    /// When a plugin is broken.
    pub fn run(&mut self, batch: &mut Batch) -> Result<(), Broken> {
        debug_assert_eq!(batch.schema, self.schema, "a runner is made for one schema");
        let seats = self.seats.iter_mut().zip(&mut self.stats);
        for (link, (seat, stats)) in self.chain.links.iter().zip(seats) {
            let roles = link.plugin.roles();
            let mut call = Call { link, seat, stats };
            if roles.transform && !batch.live.is_empty() {
                let outcomes = call.settle(batch, Access::Write, Instance::transform)?;
                apply::outcomes(batch, link.plugin.id(), outcomes);
            }
            if roles.validate && !batch.live.is_empty() {
                let rejections = call.settle(batch, Access::Read, Instance::validate)?;
                apply::rejections(batch, link.plugin.id(), rejections);
            }
        }
        Ok(())
    }

    /// Asks the policy what becomes of these failures, one decision for each. Where there is no
    /// policy, or it fails, they go to the queue `default`.
    pub fn decide(&mut self, batch: &Batch, failures: &[Failure]) -> Vec<Decision> {
        let default = || vec![Decision::DeadLetter("default".to_owned()); failures.len()];
        if failures.is_empty() {
            return Vec::new();
        }
        let seats = self.seats.iter_mut().zip(&mut self.stats);
        let mut links = self.chain.links.iter().zip(seats);
        let Some((link, (seat, stats))) = links.find(|(link, _)| link.plugin.roles().policy) else {
            return default();
        };
        match (Call { link, seat, stats }).decide(batch, failures) {
            Ok(decisions) => decisions.into_iter().map(decision).collect(),
            Err(fault) => {
                let plugin = &link.plugin.id().name;
                let rows = failures.len();
                tracing::warn!(plugin, rows, %fault, "the policy failed: rows go to the default queue");
                default()
            }
        }
    }

    /// What each plugin has done so far, in the order of the chain.
    #[must_use]
    pub fn stats(&self) -> &[PluginStats] {
        &self.stats
    }
}

/// How an instance is called in one of the roles that answer per row.
type Role<T> = fn(&mut Instance, &mut Option<Lent>, types::Batch<'_>) -> Result<Vec<T>, Fault>;

/// One plugin at work.
struct Call<'a> {
    link: &'a Link,
    seat: &'a mut Seat,
    stats: &'a mut PluginStats,
}

impl Call<'_> {
    /// Gets an answer for each live row. The embeddings of the batch are lent to the calls and
    /// come back with what the successful ones changed.
    fn settle<T>(
        &mut self,
        batch: &mut Batch,
        access: Access,
        role: Role<T>,
    ) -> Result<Settled<T>, Broken> {
        let deadline = self.link.plugin.engine().limits().deadline;
        let mut embeddings = std::mem::take(&mut batch.embeddings);
        let columns = self.seat.columns.clone();
        let settled = with_rows(batch, &columns, |columns, rows| {
            settle(rows.len(), deadline, |range, purpose| {
                let live = batch.live.get(range.clone()).unwrap_or_default();
                let rows = rows.get(range).unwrap_or_default();
                let mut lent = Some(Lent::new(
                    &batch.schema,
                    std::mem::take(&mut embeddings),
                    live,
                    access,
                ));
                let result = self.probe(|it| role(it, &mut lent, types::Batch { columns, rows }));
                embeddings = returned(lent, result.is_ok() && purpose == Purpose::Settle);
                result
            })
        });
        batch.embeddings = embeddings;
        match settled {
            Ok(settled) => {
                self.stats.rows += settled.len() as u64;
                Ok(settled)
            }
            Err(message) => Err(Broken {
                plugin: Arc::clone(self.link.plugin.id()),
                message,
            }),
        }
    }

    fn decide(
        &mut self,
        batch: &Batch,
        failures: &[Failure],
    ) -> Result<Vec<policy::Decision>, Fault> {
        let columns = self.seat.columns.clone();
        let decisions = with_failures(batch, &columns, failures, |failures| {
            self.probe(|it| it.decide(failures))
        })?;
        self.stats.rows += decisions.len() as u64;
        Ok(decisions)
    }

    /// Makes one call, in a fresh instance where there is none, and keeps the instance if the
    /// call leaves it sound.
    fn probe<T>(
        &mut self,
        call: impl FnOnce(&mut Instance) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let began = Instant::now();
        let opened = match self.seat.instance.take() {
            Some(instance) => Ok(instance),
            None => self.link.plugin.open(&self.link.settings),
        };
        let result = opened.and_then(|mut instance| {
            let result = call(&mut instance);
            self.stats.peak_memory = self.stats.peak_memory.max(instance.memory());
            let is_sound = result
                .as_ref()
                .err()
                .is_none_or(|f| f.kind.spares_instance());
            if is_sound && !instance.is_worn() {
                self.seat.instance = Some(instance);
            }
            result
        });
        self.stats.calls += 1;
        self.stats.failed_calls += u64::from(result.is_err());
        self.stats.time += began.elapsed();
        result
    }
}

fn returned(lent: Option<Lent>, keep: bool) -> Embeddings {
    match lent {
        Some(lent) if keep => lent.kept(),
        Some(lent) => lent.undone(),
        None => Embeddings::default(),
    }
}

pub(super) fn decision(decision: policy::Decision) -> Decision {
    match decision {
        policy::Decision::Retry(millis) => Decision::Retry(Duration::from_millis(millis.into())),
        policy::Decision::DeadLetter(name) => Decision::DeadLetter(queue(name)),
        policy::Decision::Drop => Decision::Drop,
        policy::Decision::Halt(message) => Decision::Halt(cut(message, MAX_MESSAGE)),
    }
}
