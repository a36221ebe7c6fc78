//! What a mapping leaves out: fields, embeddings and columns that feed or are fed by nothing, and what
//! was fed in the last run and is gone.

use super::host::Host;
use crate::config;
use crate::error::PipelineError;
use crate::plugin::Chain;
use crate::route::{Misfit, Targets};
use crate::source::Dataset;
use crate::store::preflight::{Finding, Severity};

/// What to do where a mapping has lost a column or an embedding since the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Losses {
    /// It does not fit.
    Refused,
    /// It is confirmed.
    Accepted,
}

/// Remarks about fields, embeddings and columns that are left out.
pub(super) fn remarks(
    config: &config::Pipeline,
    dataset: &Dataset,
    targets: &Targets,
    chain: &Chain,
) -> Vec<Finding> {
    let is_read = |field: &str| {
        let mut plugins = chain.plugins().map(|plugin| plugin.reads());
        plugins.any(|reads| reads.is_none_or(|reads| reads.iter().any(|name| name == field)))
    };
    let mapping = targets.mapping(&dataset.schema);
    let unmapped = mapping.unmapped(&config.source.dataset, &is_read);
    let shared = targets.shared_sequences(&config.key);
    let all = shared.into_iter().chain(unmapped);
    all.map(
        |Misfit {
             place,
             message,
             hint,
         }| Finding {
            severity: Severity::Warning,
            place,
            message,
            hint,
        },
    )
    .collect()
}

/// How a mapping differs from that of the last run.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Columns that were fed, and are not any more.
    pub lost: Vec<Misfit>,
    /// True if the rows that are known will be written again, since they would be written
    /// differently.
    pub writes_anew: bool,
}

/// Compares the mapping with that of the last run.
pub(super) async fn change(
    host: &Host,
    config: &config::Pipeline,
    dataset: &Dataset,
    targets: &Targets,
) -> Result<Change, PipelineError> {
    let name = &config.name;
    let before = host.retrying(|| host.store.mapping(name)).await?;
    let now = targets.mapping(&dataset.schema);
    Ok(before.map_or_else(Change::default, |before| Change {
        lost: before.lost(name, &now, &dataset.schema),
        writes_anew: before.layout != targets.remembered(&now).layout,
    }))
}
