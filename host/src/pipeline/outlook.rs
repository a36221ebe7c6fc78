//! What a run will do with the vector indexes of its tables, and an estimate of what that costs.

use indicatif::HumanCount;
use uuid::Uuid;

use super::prepare::Pipeline;
use crate::config::IndexMode;
use crate::error::PipelineError;
use crate::store::StoreError;
use crate::store::index::estimate::{Cost, roughly};
use crate::store::index::{LastRun, Manner, VectorIndex};

/// Another mode is recommended only if it takes less than this share of the time: the estimates
/// are rough.
const CLEARLY: f64 = 0.8;

impl Pipeline {
    /// Describes the indexes before a run: their costs, and which ones are away.
    ///
    /// # Errors
    /// If the database cannot be queried.
    pub async fn index_outlook(&self) -> Result<Vec<String>, PipelineError> {
        let mut lines = Vec::new();
        let (store, tables) = (&self.host.store, self.tables());
        let away = store.index_work(Uuid::nil(), &tables).await?;
        for work in &away {
            let (name, mode) = (&work.quoted, work.manner.mode());
            let mut line = format!("index {name}: away ({mode}); the next run builds it");
            if !work.others.is_empty() {
                line += &format!(
                    " if it completes the unfinished runs of {}",
                    work.others.join(", ")
                );
            }
            lines.push(line);
        }
        let expected = self.expected().await?;
        for table in tables {
            for index in store.vector_indexes(&table).await? {
                lines.push(outlook(&index, self.config.index, expected));
            }
        }
        Ok(lines)
    }

    pub(super) async fn expected(&self) -> Result<Expected, StoreError> {
        Ok(Expected {
            rows: self.dataset.row_count,
            writes_anew: self.writes_anew,
            last_run: self.host.store.last_run(&self.config.name).await?,
        })
    }
}

/// Manner in which a mode treats an index; `None` to keep it.
pub(super) fn manner(index: &VectorIndex, mode: IndexMode) -> Option<Manner> {
    if !index.is_plain {
        return None;
    }
    let defer = index.may_be_dropped.then_some(Manner::Defer);
    match mode {
        IndexMode::Keep => None,
        IndexMode::Defer if index.has_rows => None,
        IndexMode::Rebuild if index.has_rows => Some(Manner::Beside),
        IndexMode::RebuildFrozen if index.has_rows => Some(Manner::Frozen),
        // Searches of an empty table do not need the index, and would not find new rows in it.
        IndexMode::Defer
        | IndexMode::DeferAlways
        | IndexMode::Rebuild
        | IndexMode::RebuildFrozen => defer,
    }
}

/// The rows of a run, as far as they are known before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Rows of the dataset, if the source says so.
    rows: Option<u64>,
    /// True if those that the table has will be written again.
    writes_anew: bool,
    last_run: Option<LastRun>,
}

/// The rows that will enter an index.
struct Entering {
    new: u64,
    changed: u64,
    /// Rows of the table that could change.
    known: u64,
    /// How the number of changed rows is known, if it is.
    reason: Option<&'static str>,
}

/// Describes the treatment of an index in a run, and its estimated cost.
pub(super) fn outlook(index: &VectorIndex, mode: IndexMode, expected: Expected) -> String {
    let does = match (manner(index, mode), mode) {
        (Some(Manner::Defer), _) => "dropped, built at the end",
        (Some(Manner::Beside), _) => {
            "left to searches, which rows enter with little effort; a new one is built beside it at the end"
        }
        (Some(Manner::Frozen), _) => {
            "left to searches as it is, rebuilt at the end (which adds new and changed rows)"
        }
        (None, IndexMode::Keep) => "kept",
        (None, _) if !index.is_plain => "kept, since it belongs to a constraint",
        (None, _) if !index.may_be_dropped => {
            "kept, since it is a part of the index of a partitioned table"
        }
        (None, _) => {
            "kept, since its table has rows (index = \"defer-always\" drops it anyway, \"rebuild\" keeps it for searches)"
        }
    };
    let leaves = index.leaves().count();
    let parts = if index.is_partitioned() {
        format!(", {leaves} partitions")
    } else {
        String::new()
    };
    let name = format!("index {} ({}{parts}): {does}", index.quoted, index.method);
    let estimate = estimate(index, mode, expected);
    estimate.map_or_else(|| name.clone(), |estimate| format!("{name}; {estimate}"))
}

impl Expected {
    fn entering(self, table: u64) -> Entering {
        let last = self.last_run;
        let new = match (self.rows, last) {
            (Some(rows), _) => rows.saturating_sub(table),
            (None, Some(last)) => last.inserted,
            (None, None) => 0,
        };
        let known = self.rows.map_or(table, |rows| rows.min(table));
        let (changed, reason) = match last {
            _ if self.writes_anew => (
                known,
                Some("that are written again, since the mapping has changed"),
            ),
            Some(last) => (
                last.updated.min(known),
                Some("that change, as in the last run"),
            ),
            None => (0, None),
        };
        Entering {
            new,
            changed,
            known,
            reason,
        }
    }
}

/// Estimates the cost of an index in each mode, by the rows that will enter it: new ones, and
/// changed ones. `None` for an index with cheap inserts, or of which nothing is known.
fn estimate(index: &VectorIndex, mode: IndexMode, expected: Expected) -> Option<String> {
    let entering = expected.entering(index.rows);
    let all = index.rows + entering.new;
    let rows = entering.new + entering.changed;
    if rows == 0 && entering.known == 0 {
        return None;
    }
    let cost = index.shape.cost(rows, all)?;
    let mut said = format!("estimate for {} new rows", HumanCount(entering.new));
    if let Some(reason) = entering.reason {
        said += &format!(" and {} {reason}", HumanCount(entering.changed));
    }
    said += ": ";
    let times = modes(index, &cost).map(|(mode, seconds)| {
        let time = roughly(std::time::Duration::from_secs_f64(seconds));
        format!("{} {time}", mode.as_str())
    });
    said += &times.join(", ");
    if entering.changed < entering.known {
        let most = index.shape.cost(entering.new + entering.known, all)?;
        let [(_, keep), (_, rebuild), _] = modes(index, &most);
        let [keep, rebuild] =
            [keep, rebuild].map(|it| roughly(std::time::Duration::from_secs_f64(it)));
        let known = HumanCount(entering.known);
        said += &format!("; if all {known} known rows change, keep {keep}, rebuild {rebuild}");
    }
    // Of a run about which nothing is known, only the number is said from which on it matters.
    let is_known = expected.rows.is_some() || expected.last_run.is_some() || expected.writes_anew;
    if is_known && let Some(faster) = faster(index, mode, &cost) {
        said += &format!("; index = \"{}\" is faster", faster.as_str());
    } else if index.is_plain && index.has_rows && manner(index, mode).is_none() {
        let one = index.shape.cost(1, all)?;
        let saved = one.maintaining.as_secs_f64() - one.beside.as_secs_f64();
        let even = HumanCount((cost.building.as_secs_f64() / saved).ceil() as u64);
        said += &format!("; from {even} new or changed rows on, index = \"rebuild\" is faster");
    }
    Some(said)
}

/// Seconds for the index in the modes that differ: one keeps searches as they are, one rebuilds,
/// one leaves them without.
fn modes(index: &VectorIndex, cost: &Cost) -> [(IndexMode, f64); 3] {
    let building = cost.building.as_secs_f64();
    let rebuild = if index.has_rows {
        cost.beside.as_secs_f64() + building
    } else {
        building
    };
    let defer = if index.has_rows {
        IndexMode::DeferAlways
    } else {
        IndexMode::Defer
    };
    [
        (IndexMode::Keep, cost.maintaining.as_secs_f64()),
        (IndexMode::Rebuild, rebuild),
        (defer, building),
    ]
}

/// The mode that would clearly be faster than this one. Modes that leave searches of present rows
/// without an index are not recommended.
fn faster(index: &VectorIndex, mode: IndexMode, cost: &Cost) -> Option<IndexMode> {
    let [keep, rebuild, without] = modes(index, cost);
    let other = if index.has_rows { rebuild } else { without };
    let (mine, other) = match manner(index, mode) {
        None if !index.is_plain => return None,
        None => (keep, other),
        Some(Manner::Defer | Manner::Frozen) => (without, keep),
        Some(Manner::Beside) => (rebuild, keep),
    };
    (other.1 < mine.1 * CLEARLY).then_some(other.0)
}
