//! Outcome of plugin calls: decisions about failed rows, and what plugins did on one thread.

use std::sync::Arc;
use std::time::Duration;

use super::bindings::dead_letter_policy as policy;
use super::call_error::CallError;
use super::component::Roles;
use super::limits::{MAX_CODE, MAX_MESSAGE};
use super::sanitize::line;
use crate::row::PluginId;

/// Queue for dead letters when no policy chooses another.
pub const DEFAULT_QUEUE: &str = "default";

/// Decision about a failed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try the row again after this delay.
    Retry(Duration),
    /// Keep the row as a dead letter in this queue.
    DeadLetter(String),
    /// Discard the row.
    Drop,
    /// Stop the pipeline with this message.
    Halt(String),
}

impl From<policy::Decision> for Decision {
    /// Cuts texts to what the interface allows.
    fn from(decision: policy::Decision) -> Self {
        match decision {
            policy::Decision::Retry(millis) => Self::Retry(Duration::from_millis(millis.into())),
            policy::Decision::DeadLetter(name) if name.is_empty() => {
                Self::DeadLetter(DEFAULT_QUEUE.to_owned())
            }
            policy::Decision::DeadLetter(name) => Self::DeadLetter(line(name, MAX_CODE)),
            policy::Decision::Drop => Self::Drop,
            policy::Decision::Halt(message) => Self::Halt(line(message, MAX_MESSAGE)),
        }
    }
}

/// Reason why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct NoAnswer {
    /// One of [`codes::ALL`](crate::codes::ALL).
    pub code: &'static str,
    /// Message for people.
    pub message: String,
}

impl From<CallError> for NoAnswer {
    fn from(fault: CallError) -> Self {
        Self {
            code: fault.kind.code(),
            message: fault.message,
        }
    }
}

/// A plugin that fails on most rows, or can no longer be instantiated. The batch still has all
/// its values and embeddings but is only partly processed: it must not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin {} {} is broken: {message}", plugin.name, plugin.version)]
pub struct Broken {
    /// The broken plugin.
    pub plugin: Arc<PluginId>,
    /// The evidence, with the plugin's last failure.
    pub message: String,
}

/// Totals of a plugin on one thread.
#[derive(Clone, Debug)]
pub struct PluginStats {
    /// The plugin.
    pub plugin: Arc<PluginId>,
    /// Roles that it exports.
    pub roles: Roles,
    /// Calls of its roles, including failed ones.
    pub calls: u64,
    /// Rows that it has answered or failed on, counted once for each of its roles.
    pub rows: u64,
    /// Wall-clock time of these calls, including copying arguments in and answers out.
    pub time: Duration,
    /// Calls that failed.
    pub failed_calls: u64,
    /// The most recent failure.
    pub last_fault: Option<NoAnswer>,
    /// Linear memory of its instances.
    pub memory: MemoryUse,
}

/// Linear memory of a plugin's instances, one after the other, in bytes. It never shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Maximum of an instance.
    pub peak: usize,
    /// Of the last instance, after its last call.
    pub last: usize,
    /// Growth in all calls but the first of each instance: what a leak adds to.
    pub grown: usize,
    /// Number of these calls.
    pub later_calls: u64,
    /// Instances replaced because their memory had grown, or because they were refused more.
    pub retired: u64,
}

impl MemoryUse {
    /// Counts a call after which the instance has this memory. `grown` is `None` for the first call
    /// of an instance.
    pub(super) fn called(&mut self, memory: usize, grown: Option<usize>) {
        self.peak = self.peak.max(memory);
        self.last = memory;
        if let Some(grown) = grown {
            self.grown += grown;
            self.later_calls += 1;
        }
    }

    /// Average growth of a call, in bytes.
    #[must_use]
    pub fn growth_per_call(&self) -> u64 {
        (self.grown as u64)
            .checked_div(self.later_calls)
            .unwrap_or_default()
    }
}

/// Behaviour of a plugin since it was last observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The plugin.
    pub plugin: Arc<PluginId>,
    /// Rows given to it, counted once for each of its roles.
    pub rows: u64,
    /// Rows among these on which it failed: a trap, a missed deadline, too much memory, an
    /// `err`, or an invalid answer.
    pub faults: u64,
    /// Failed rows presented to it as the policy.
    pub failures: u64,
    /// Failed rows among these that it could not decide about.
    pub undecided: u64,
}

impl Observed {
    /// Counts nothing yet.
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

    /// Adds the counts of another thread or a later time.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.faults += other.faults;
        self.failures += other.failures;
        self.undecided += other.undecided;
    }
}
