//! One plugin on a worker thread: its warm instance and its totals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, Question};
use super::apply;
use super::bisect::{Purpose, RowAnswers, call_all};
use super::call_error::{CallError, Kind};
use super::call_metrics::PluginMeter;
use super::chain::ConfiguredPlugin;
use super::embeddings::{Access, Lent};
use super::grants::Grant;
use super::instance::Instance;
use super::outcome::{Broken, Decision, MemoryUse, Observed, PluginStats};
use super::rows::with_failures;
use crate::row::{Batch, Embeddings, Failure, Schema};

/// A method of an instance that calls a role with rows.
type Role<T> = fn(&mut Instance, &mut Option<Lent>, Question<'_>) -> Result<T, CallError>;

/// One plugin on a worker thread.
pub(super) struct WorkerSlot {
    pub(super) configured: Arc<ConfiguredPlugin>,
    pub(super) stats: PluginStats,
    instance: Option<Instance>,
    meter: PluginMeter,
    /// Indices of the columns it reads.
    columns: Vec<usize>,
    /// True if a call was answered.
    answered: bool,
    /// Behaviour since [`Self::take_observed`] was last called.
    observed: Observed,
}

impl WorkerSlot {
    pub(super) fn new(configured: &Arc<ConfiguredPlugin>, schema: &Schema) -> Self {
        let plugin = configured.plugin();
        Self {
            configured: Arc::clone(configured),
            instance: None,
            meter: PluginMeter::new(plugin.id()),
            columns: plugin.columns(schema),
            stats: PluginStats {
                plugin: Arc::clone(plugin.id()),
                roles: plugin.roles(),
                calls: 0,
                rows: 0,
                time: Duration::ZERO,
                failed_calls: 0,
                last_fault: None,
                memory: MemoryUse::default(),
            },
            answered: false,
            observed: Observed::new(plugin.id()),
        }
    }

    /// Behaviour since the last call of this function.
    pub(super) fn take_observed(&mut self) -> Observed {
        let fresh = Observed::new(self.configured.plugin().id());
        std::mem::replace(&mut self.observed, fresh)
    }

    /// Lets the plugin transform and validate the live rows.
    pub(super) fn run(&mut self, batch: &mut Batch) -> Result<(), Broken> {
        let roles = self.stats.roles;
        if roles.transform && !batch.live.is_empty() {
            let changes = self.call_role(batch, Access::Write, Instance::transform)?;
            apply::changes(batch, self.configured.plugin().id(), changes);
        }
        if roles.validate && !batch.live.is_empty() {
            let faults = self.call_role(batch, Access::Read, Instance::validate)?;
            apply::faults(batch, self.configured.plugin().id(), faults);
        }
        Ok(())
    }

    /// Calls a role with all live rows. The embeddings of the batch are lent to the calls and
    /// come back with the changes of the successful ones.
    fn call_role<T: Answer>(
        &mut self,
        batch: &mut Batch,
        access: Access,
        role: Role<T>,
    ) -> Result<RowAnswers<T>, Broken> {
        let limits = self.configured.plugin().limits();
        let mut embeddings = std::mem::take(&mut batch.embeddings);
        let columns = std::mem::take(&mut self.columns);
        let answers = call_all(batch.live.len(), limits, |range, purpose| {
            let rows = batch.live.get(range).unwrap_or_default();
            let question = Question {
                batch,
                rows,
                columns: &columns,
            };
            self.call(|it| {
                let embeddings_of = std::mem::take(&mut embeddings);
                let mut lent = Some(Lent::new(&batch.schema, embeddings_of, rows, access));
                let result = role(it, &mut lent, question);
                embeddings = returned(lent, result.is_ok() && purpose == Purpose::Answer);
                result
            })
        });
        self.columns = columns;
        batch.embeddings = embeddings;
        match answers {
            Ok(answers) => {
                let (rows, faults) = (batch.live.len(), answers.iter().filter(|it| it.1.is_err()));
                self.observed.faults += faults.count() as u64;
                self.observed.rows += rows as u64;
                self.stats.rows += rows as u64;
                self.meter.answered(rows as u64);
                Ok(answers)
            }
            Err(message) => Err(Broken {
                plugin: Arc::clone(self.configured.plugin().id()),
                message: self.configured.plugin().naming_limits(message),
            }),
        }
    }

    /// Asks the policy about failures.
    pub(super) fn decide(
        &mut self,
        batch: &Batch,
        failures: &[Failure],
    ) -> Result<Vec<Decision>, CallError> {
        let columns = std::mem::take(&mut self.columns);
        let decisions = with_failures(batch, &columns, failures, |failures| {
            self.call(|it| it.decide(failures))
        });
        self.columns = columns;
        self.observed.failures += failures.len() as u64;
        match &decisions {
            Ok(decisions) => {
                self.stats.rows += decisions.len() as u64;
                self.meter.answered(decisions.len() as u64);
            }
            Err(_) => self.observed.undecided += failures.len() as u64,
        }
        decisions.map(|decisions| decisions.into_iter().map(Decision::from).collect())
    }

    /// Makes one call, on a new instance if none is warm. If the call is refused memory on an
    /// instance that has been called before, those calls may have used it up: it is made again, on a
    /// fresh instance, before any row is blamed.
    fn call<T>(
        &mut self,
        mut call: impl FnMut(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let began = Instant::now();
        let was_used = self.instance.as_ref().is_some_and(Instance::was_called);
        let mut result = self.attempt(&mut call);
        if was_used
            && let Err(fault) = &result
            && fault.kind == Kind::Memory
        {
            self.retired(&fault.message);
            result = self.attempt(&mut call);
        }
        let result = result.map_err(|fault| self.explained(fault));
        if let Err(fault) = &result {
            self.stats.failed_calls += 1;
            self.stats.last_fault = Some(fault.clone().into());
        }
        let took = began.elapsed();
        self.stats.time += took;
        self.meter.called(took, result.is_err());
        result
    }

    /// Makes one attempt at a call, and keeps the instance if that leaves it sound.
    fn attempt<T>(
        &mut self,
        call: &mut impl FnMut(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.stats.calls += 1;
        let opened = match self.instance.take() {
            Some(instance) => Ok(instance),
            None => self.configured.open(),
        };
        let mut instance = opened?;
        let before = instance.was_called().then(|| instance.grown());
        let began = Instant::now();
        let result = call(&mut instance);
        self.answered |= result.is_ok();
        self.notice(&instance, before.is_none(), began.elapsed());
        let memory = instance.memory();
        let grown = before.map(|before| instance.grown().saturating_sub(before));
        self.stats.memory.called(memory, grown);
        self.meter.grown_to(self.configured.plugin().raised(memory));
        let is_sound = result
            .as_ref()
            .err()
            .is_none_or(|f| f.kind.spares_instance());
        if is_sound && instance.is_full() {
            self.retired("its memory has grown with its calls");
        } else if is_sound && !instance.is_worn() {
            self.instance = Some(instance);
        }
        result
    }

    /// Says once for each plugin that a call came near its deadline, and what it reads that is not
    /// real.
    fn notice(&self, instance: &Instance, is_first: bool, took: Duration) {
        let plugin = self.configured.plugin();
        let (name, said) = (&plugin.id().name, &plugin.said);
        let limit = plugin.limits().deadline;
        if took > limit / 2 {
            said.slow.call_once(|| {
                let (took, limit) = (took.as_millis(), limit.as_millis());
                let which = match is_first {
                    true => "the first call of an instance",
                    false => "a call",
                };
                let message = format!(
                    "{which} took {took} ms of the {limit} ms that `plugins.limits.deadline` allows"
                );
                tracing::warn!(plugin = name, "{}", plugin.naming_limits(message));
            });
        }
        let reads = instance.reads();
        let hint = |grant| format!("[plugins.grants] {name} = [\"{grant}\"]");
        if reads.clock {
            said.clock.call_once(|| {
                tracing::warn!(plugin = name, hint = hint(Grant::Clock), "the plugin reads a clock that stands still at 2024-01-01: it is not granted one");
            });
        }
        if reads.monotonic && !reads.clock {
            said.monotonic.call_once(|| {
                tracing::info!(plugin = name, hint = hint(Grant::Clock), "the plugin, or its language's runtime, measures time with a clock that stands still: it is not granted one");
            });
        }
        if reads.random {
            said.random.call_once(|| {
                tracing::warn!(
                    plugin = name,
                    hint = hint(Grant::Random),
                    "the plugin reads random numbers that repeat: it is not granted any"
                );
            });
        }
    }

    /// Adds to a failure what the plugin itself cannot know.
    fn explained(&self, fault: CallError) -> CallError {
        let mut fault = self.configured.plugin().named(fault);
        if fault.kind == Kind::Deadline && !self.answered {
            fault.message += "; no call was answered before: interpreters take longer for the \
                first call of an instance";
        }
        fault
    }

    /// Counts an instance that is replaced because of its memory, and says so once.
    fn retired(&mut self, reason: &str) {
        self.stats.memory.retired += 1;
        self.meter.retired();
        let plugin = self.configured.plugin();
        plugin.said.leak.call_once(|| {
            let (id, limit) = (plugin.id(), plugin.limits().memory);
            tracing::warn!(
                plugin = id.name,
                digest = id.short_digest(),
                memory = self.stats.memory.last,
                limit,
                reason,
                "a fresh instance takes over; the plugin may keep something from each call"
            );
        });
    }
}

fn returned(lent: Option<Lent>, keep: bool) -> Embeddings {
    match lent {
        Some(lent) if keep => lent.kept(),
        Some(lent) => lent.undone(),
        None => Embeddings::default(),
    }
}
