//! The figures of a report, added up from those of partitions and workers.

use std::sync::Arc;

use crate::partition::Tally;
use crate::plugin::{Chain, PluginStats};
use crate::report::{PluginReport, Stages};
use crate::row::PluginId;

pub(super) fn stages(tally: &Tally) -> Stages {
    Stages {
        receive: tally.receiving.as_secs_f64(),
        decode: tally.times.decode.as_secs_f64(),
        plugins: tally.times.plugins.as_secs_f64(),
        route: tally.times.route.as_secs_f64(),
        write: tally.writing.as_secs_f64(),
        commit: tally.committing.as_secs_f64(),
    }
}

/// Every version that was used: the active ones in the order of the chain, then earlier ones.
pub(super) fn plugin_reports(chain: &Chain, stats: &[Vec<PluginStats>]) -> Vec<PluginReport> {
    let mut ids: Vec<&Arc<PluginId>> = chain.ids().collect();
    for stats in stats.iter().flatten() {
        if stats.calls > 0 && !ids.contains(&&stats.plugin) {
            ids.push(&stats.plugin);
        }
    }
    let report = |id: &Arc<PluginId>| {
        let mine = || stats.iter().flatten().filter(|stats| &stats.plugin == id);
        let roles = chain.plugins().find(|plugin| plugin.id() == id);
        let roles = roles.map(|plugin| plugin.roles());
        let rows = mine().map(|stats| stats.rows).sum::<u64>();
        let nanoseconds = mine().map(|stats| stats.time.as_nanos()).sum::<u128>();
        PluginReport {
            id: id.as_ref().clone(),
            roles: roles
                .or_else(|| mine().next().map(|stats| stats.roles))
                .unwrap_or_default()
                .names(),
            calls: mine().map(|stats| stats.calls).sum(),
            rows,
            nanoseconds_per_row: u64::try_from(nanoseconds / u128::from(rows.max(1)))
                .unwrap_or(u64::MAX),
        }
    };
    ids.into_iter().map(report).collect()
}
