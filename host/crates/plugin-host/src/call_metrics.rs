//! Metrics of plugin calls. Without a recorder in the process they have no effect.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::row::PluginId;

/// Duration of plugin calls, including copying arguments in and answers out: a histogram in
/// seconds.
pub const CALL_SECONDS: &str = "forebay_plugin_call_duration_seconds";
/// Plugin calls that trapped, missed the deadline or returned an invalid answer: a counter.
pub const FAILED_CALLS: &str = "forebay_plugin_failed_calls_total";
/// Rows that a plugin has answered for, counted once for each of its roles: a counter.
pub const PLUGIN_ROWS: &str = "forebay_plugin_rows_total";

/// Linear memory of the largest instance of a plugin so far: a gauge in bytes.
pub const PLUGIN_MEMORY: &str = "forebay_plugin_memory_bytes";
/// Instances of a plugin that were replaced because their memory had grown: a counter.
pub const RETIRED: &str = "forebay_plugin_retired_instances_total";

/// Metrics of one version of a plugin. Registered once, so that a call only adds numbers.
pub(super) struct PluginMeter {
    calls: Histogram,
    failed: Counter,
    rows: Counter,
    memory: Gauge,
    retired: Counter,
}

impl PluginMeter {
    pub(super) fn new(plugin: &PluginId) -> Self {
        let digest = plugin.short_digest().to_owned();
        let labels = [("plugin", plugin.name.clone()), ("digest", digest)];
        Self {
            calls: histogram!(CALL_SECONDS, &labels),
            failed: counter!(FAILED_CALLS, &labels),
            rows: counter!(PLUGIN_ROWS, &labels),
            memory: gauge!(PLUGIN_MEMORY, &labels),
            retired: counter!(RETIRED, &labels),
        }
    }

    pub(super) fn called(&self, took: Duration, failed: bool) {
        self.calls.record(took);
        self.failed.increment(u64::from(failed));
    }

    /// Records the memory of the largest instance, if it was raised.
    pub(super) fn grown_to(&self, memory: Option<usize>) {
        if let Some(memory) = memory {
            self.memory.set(memory as f64);
        }
    }

    pub(super) fn retired(&self) {
        self.retired.increment(1);
    }

    pub(super) fn answered(&self, rows: u64) {
        self.rows.increment(rows);
    }
}
