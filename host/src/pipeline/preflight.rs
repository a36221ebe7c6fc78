//! Checks that the database meets the requirements of a pipeline.

use super::host::Host;
use crate::config;
use crate::config::{IndexMode, MissingPolicy};
use crate::error::PipelineError;
use crate::route::{ColumnKind, Misfit, Table, Target, Targets};
use crate::source::Dataset;
use crate::store::StoreError;
use crate::store::index::VectorIndex;
use crate::store::preflight::{Demand, Finding, Severity, Wanted};

/// Estimated size of a row without its vectors, in bytes: key, digest, other values, headers,
/// entries in indexes.
const ROW_BYTES: u64 = 512;

/// Checks the database. A check that fails itself does not keep the run from beginning.
pub(super) async fn look(
    host: &Host,
    config: &config::Pipeline,
    dataset: &Dataset,
    tables: &[Option<Table>],
    targets: Option<&Targets>,
) -> Result<Vec<Finding>, PipelineError> {
    let wanted = config.tables.iter().zip(tables).map(|(name, table)| {
        let targets = targets.into_iter().flat_map(|targets| &targets.tables);
        let target = targets.into_iter().find(|it| it.table.name == *name);
        Wanted {
            name,
            table: table.as_ref(),
            deletes: config.missing.policy == MissingPolicy::Remove
                || target.is_some_and(|target| target.items.is_some()),
            key: match (target, table) {
                (Some(target), _) => target.key.iter().map(|it| it.column.name.clone()).collect(),
                (None, Some(table)) => table.primary_key.clone(),
                (None, None) => Vec::new(),
            },
            columns: match (target, table) {
                (Some(target), _) => written(target),
                (None, Some(table)) => writable(table),
                (None, None) => Vec::new(),
            },
        }
    });
    let demand = Demand {
        tables: wanted.collect(),
        // The writers of each partition, and one connection for everything else.
        connections: u32::try_from(dataset.partitions.len() * config.writers.start() + 1)
            .unwrap_or(u32::MAX),
        bytes: dataset
            .row_count
            .unwrap_or(0)
            .saturating_mul(targets.map_or(0, row_bytes)),
    };
    let looked = host.retrying(|| host.store.preflight(&demand)).await;
    match looked {
        Err(PipelineError::Store(StoreError::Failed(failure))) => {
            let error = failure.message;
            let pipeline = &config.name;
            tracing::warn!(
                pipeline,
                error,
                "the database could not be checked before the run"
            );
            Ok(Vec::new())
        }
        looked => looked,
    }
}

/// The columns that are written, without the key.
fn written(target: &Target) -> Vec<String> {
    let fed = target.columns.iter().map(|column| &column.column.name);
    let items = target.items.iter().flat_map(|items| &items.columns);
    let items = items.map(|column| &column.column.name);
    fed.chain(items).chain(&target.touched).cloned().collect()
}

/// The columns that may be written, if the written ones are unknown.
fn writable(table: &Table) -> Vec<String> {
    let columns = table.columns.iter();
    let columns = columns.filter(|it| !it.generated && !table.primary_key.contains(&it.name));
    columns.map(|column| column.name.clone()).collect()
}

/// Estimated size of a row on disk, in bytes.
fn row_bytes(targets: &Targets) -> u64 {
    let columns = targets.tables.iter().flat_map(|target| &target.columns);
    let vectors = columns.map(|column| match column.kind {
        ColumnKind::Vector(dimensions) => 4 * dimensions.unwrap_or_default() as u64,
        ColumnKind::HalfVec(dimensions) => 2 * dimensions.unwrap_or_default() as u64,
        _ => 0,
    });
    ROW_BYTES + vectors.sum::<u64>()
}

/// A warning about rows that stay in the tables although the plugins drop them now.
pub(super) async fn dropped(
    host: &Host,
    config: &config::Pipeline,
) -> Result<Option<Finding>, PipelineError> {
    if config.missing.policy != MissingPolicy::Keep {
        return Ok(None);
    }
    let store = &host.store;
    let rows = host.retrying(|| store.dropped_known(&config.name)).await?;
    Ok((rows > 0).then(|| Finding {
        severity: Severity::Warning,
        place: format!("pipeline {}", config.name),
        message: format!(
            "{rows} rows that the plugins dropped in the last run are in the tables, and stay there"
        ),
        hint:
            "`missing = \"remove\"` or a flag treats them as rows that the source no longer has; \
               `forebay verify` names them"
                .into(),
    }))
}

/// Separates the findings that refuse a run from the others.
pub(super) fn refusing(findings: Vec<Finding>) -> (Vec<Misfit>, Vec<Finding>) {
    let (errors, others): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    (errors.into_iter().map(Misfit::from).collect(), others)
}

/// Privileges that the index mode needs and the role lacks. Checked before the first row.
pub(super) async fn index_misfits(
    host: &Host,
    config: &config::Pipeline,
    tables: &[Option<Table>],
) -> Result<Vec<Misfit>, PipelineError> {
    let mut misfits = Vec::new();
    if config.index == IndexMode::Keep {
        return Ok(misfits);
    }
    for table in tables.iter().flatten() {
        let indexes = host.store.vector_indexes(&table.quoted).await?;
        for index in indexes.into_iter().filter(|index| index.is_plain) {
            misfits.extend(misfit(host, &config.name, &index, config.index));
        }
    }
    Ok(misfits)
}

fn misfit(host: &Host, pipeline: &str, index: &VectorIndex, mode: IndexMode) -> Option<Misfit> {
    let misfit = |message: String, hint: &str| {
        Some(Misfit {
            place: format!("pipelines.{pipeline}.index"),
            message,
            hint: hint.into(),
        })
    };
    let (word, name) = (mode.as_str(), &index.quoted);
    let rebuilds = matches!(mode, IndexMode::Rebuild | IndexMode::RebuildFrozen);
    if mode == IndexMode::RebuildFrozen && !index.superuser {
        return misfit(
            format!("\"{word}\" of {name} changes the catalog, which only a superuser may do"),
            "use \"rebuild\", which needs no superuser",
        );
    }
    if rebuilds && host.store.is_shared() {
        return misfit(
            format!(
                "\"{word}\" of {name} needs a connection of its own, but a pooler shares connections"
            ),
            "connect to the server directly, or use \"keep\" or \"defer\"",
        );
    }
    if !index.is_owned {
        let does = if rebuilds {
            "rebuilds"
        } else {
            "drops and creates"
        };
        return misfit(
            format!("\"{word}\" {does} {name}, which this role must not do"),
            "make it the owner of the table, or use \"keep\"",
        );
    }
    // An empty table's index is deferred in every mode.
    if !index.may_create && (!rebuilds || !index.has_rows) {
        return misfit(
            format!("\"{word}\" creates {name}, which this role must not do"),
            "grant it CREATE on the schema, or use \"keep\"",
        );
    }
    None
}

/// Keys that have an effect only where the dataset is a feed.
pub(super) fn feed_keys(config: &config::Pipeline, dataset: &Dataset) -> Vec<Misfit> {
    if dataset.continues {
        return Vec::new();
    }
    let every = config.notify.as_ref().and_then(|notify| notify.every);
    let keys = [
        ("roll_over", config.roll_over.is_some()),
        ("notify.every", every.is_some()),
    ];
    let set = keys.into_iter().filter(|(_, is_set)| *is_set);
    set.map(|(key, _)| Misfit {
        place: format!("pipelines.{}.{key}", config.name),
        message: format!(
            "has no effect: `{}` is not a feed of changes, and is read as a whole by each run",
            config.source.dataset
        ),
        hint: "remove the key".into(),
    })
    .collect()
}
