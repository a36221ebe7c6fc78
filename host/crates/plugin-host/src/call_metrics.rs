//! What the calls of a plugin are measured by.
//!
//! Without a recorder in the process, raising a figure comes to nothing.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::row::PluginId;

/// Duration of plugin calls, with copying arguments in and answers out: a histogram of seconds.
pub const CALL_SECONDS: &str = "forebay_plugin_call_duration_seconds";
/// Plugin calls that trapped, took too long or gave an invalid answer: a counter.
pub const FAILED_CALLS: &str = "forebay_plugin_failed_calls_total";
/// Rows that a plugin has answered about, once for each of its roles: a counter.
pub const PLUGIN_ROWS: &str = "forebay_plugin_rows_total";

/// What one version of a plugin is measured by. Made once, so that a call raises numbers and
/// nothing else.
pub(super) struct PluginMeter {
    calls: Histogram,
    failed: Counter,
    rows: Counter,
}

impl PluginMeter {
    pub(super) fn new(plugin: &PluginId) -> Self {
        // As much of the digest as is shown everywhere.
        let digest = plugin.digest.get(..12).unwrap_or_default().to_owned();
        let labels = [("plugin", plugin.name.clone()), ("digest", digest)];
        Self {
            calls: histogram!(CALL_SECONDS, &labels),
            failed: counter!(FAILED_CALLS, &labels),
            rows: counter!(PLUGIN_ROWS, &labels),
        }
    }

    pub(super) fn called(&self, took: Duration, failed: bool) {
        self.calls.record(took);
        self.failed.increment(u64::from(failed));
    }

    pub(super) fn answered(&self, rows: u64) {
        self.rows.increment(rows);
    }
}
