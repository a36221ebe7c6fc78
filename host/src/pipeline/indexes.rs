//! Takes vector indexes out of the way of a run before the first row, and restores them after the
//! last one, before anyone is notified of the rows.
//!
//! Indexes that an earlier run has left are restored too: at once if indexes are to be kept,
//! otherwise at the end of this run. A run that ends early does not restore its indexes, since the
//! next start goes on loading, and reports that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::HumanCount;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::prepare::Pipeline;
use crate::config::IndexMode;
use crate::error::PipelineError;
use crate::failpoints;
use crate::partition::{RollOver, Tally};
use crate::progress::Progress;
use crate::report::{IndexReport, IndexState};
use crate::store::StoreError;
use crate::store::index::build::{Building, Watch};
use crate::store::index::estimate::roughly;
use crate::store::index::restore::Finished;
use crate::store::index::{Manner, VectorIndex, Work};
use crate::store::run::Run;
use crate::workers::Workers;

/// The log gets every n-th look at the server; there is about one a second.
const LOOKS_PER_LINE: u64 = 5;

impl Pipeline {
    /// Runs the partitions with the indexes in their configured mode.
    pub(super) async fn run_with_indexes(
        &self,
        run: &Run,
        workers: &Arc<Workers>,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
        roll_over: &RollOver,
    ) -> (Tally, Vec<IndexReport>, Result<(), PipelineError>) {
        let (mut tally, mut reports) = (Tally::default(), Vec::new());
        let mut result = self.indexes_away(run, progress, stop, &mut reports).await;
        if result.is_ok() && !stop.is_cancelled() {
            (tally, result) = self.run_partitions(run, workers, progress, roll_over).await;
        }
        if result.is_ok() {
            let complete = roll_over.is_due();
            result = self
                .indexes_back(run, progress, stop, complete, &mut reports)
                .await;
        } else if let Ok(away) = self.work(run).await {
            for work in away.iter().filter(|work| work.mine) {
                self.still_away(work, &mut reports);
            }
        }
        (tally, reports, result)
    }

    /// Describes the indexes before a run: their costs, and which ones are away.
    ///
    /// # Errors
    /// If the database cannot be queried.
    pub async fn index_outlook(&self) -> Result<Vec<String>, PipelineError> {
        let mut lines = Vec::new();
        let (store, tables) = (&self.host.store, self.tables());
        for work in store.index_work(Uuid::nil(), &tables).await? {
            let (name, manner) = (&work.quoted, work.manner.as_str());
            let mut line = format!("index {name}: away ({manner}); the next run builds it");
            if !work.others.is_empty() {
                line += &format!(
                    " if it completes the unfinished runs of {}",
                    work.others.join(", ")
                );
            }
            lines.push(line);
        }
        for table in tables {
            for index in store.vector_indexes(&table).await? {
                lines.push(outlook(&index, self.config.index, self.expected()));
            }
        }
        Ok(lines)
    }

    /// True if rows or an index are still to come.
    pub(super) async fn is_owing(
        &self,
        run: &Run,
        indexes: &[IndexReport],
    ) -> Result<bool, StoreError> {
        let away = indexes.iter().any(|index| index.state == IndexState::Away);
        Ok(away || !self.all_complete(run).await?)
    }

    fn expected(&self) -> Expected {
        Expected {
            rows: self.dataset.row_count,
            writes_anew: self.writes_anew,
        }
    }

    fn tables(&self) -> Vec<String> {
        let tables = self.targets.tables.iter();
        tables.map(|target| target.table.quoted.clone()).collect()
    }

    async fn indexes_away(
        &self,
        run: &Run,
        progress: &Progress,
        stop: &CancellationToken,
        reports: &mut Vec<IndexReport>,
    ) -> Result<(), PipelineError> {
        let (store, name) = (&self.host.store, &self.config.name);
        let mode = self.config.index;
        let away = self.host.retrying(|| self.work(run)).await?;
        for work in &away {
            if mode != IndexMode::Keep {
                self.host.retrying(|| store.join_index(run, work)).await?;
            } else if !stop.is_cancelled() {
                self.put_back(run, work, progress, stop, reports).await?;
            }
        }
        failpoints::point!("index.joined");
        for table in self.tables() {
            let indexes = self.host.retrying(|| store.vector_indexes(&table)).await?;
            // An index that an earlier run has left to searches is valid, too.
            let is_new = |index: &VectorIndex| !away.iter().any(|work| work.quoted == index.quoted);
            for index in indexes.into_iter().filter(is_new) {
                let said = outlook(&index, mode, self.expected());
                tracing::info!(pipeline = name, "{said}");
                match manner(&index, mode) {
                    Some(manner) => {
                        self.host
                            .retrying(|| store.suspend_index(run, &index, manner))
                            .await?;
                        failpoints::point!("index.taken");
                    }
                    None => reports.push(IndexReport {
                        name: index.quoted,
                        mode: IndexMode::Keep.as_str(),
                        state: IndexState::Kept,
                        build_seconds: None,
                    }),
                }
            }
        }
        Ok(())
    }

    /// Restores the indexes of this run, if it has reached its end or rolls over.
    async fn indexes_back(
        &self,
        run: &Run,
        progress: &Progress,
        stop: &CancellationToken,
        is_complete: bool,
        reports: &mut Vec<IndexReport>,
    ) -> Result<(), PipelineError> {
        let complete = is_complete || self.host.retrying(|| self.all_complete(run)).await?;
        for work in self.host.retrying(|| self.work(run)).await? {
            if !work.mine && !work.others.is_empty() {
                continue;
            }
            if complete && !stop.is_cancelled() {
                self.put_back(run, &work, progress, stop, reports).await?;
            } else {
                self.still_away(&work, reports);
            }
        }
        Ok(())
    }

    async fn work(&self, run: &Run) -> Result<Vec<Work>, PipelineError> {
        Ok(self.host.store.index_work(run.id, &self.tables()).await?)
    }

    fn still_away(&self, work: &Work, reports: &mut Vec<IndexReport>) {
        let pipeline = &self.config.name;
        let index = &work.quoted;
        tracing::warn!(
            pipeline,
            index,
            "the index is still away; the start that completes the run builds it"
        );
        reports.push(report(work, IndexState::Away, None));
    }

    async fn put_back(
        &self,
        run: &Run,
        work: &Work,
        progress: &Progress,
        stop: &CancellationToken,
        reports: &mut Vec<IndexReport>,
    ) -> Result<(), PipelineError> {
        let pipeline = &self.config.name;
        let index = work.quoted.as_str();
        tracing::info!(pipeline, index, "building the index");
        let looks = AtomicU64::new(0);
        let said = |building: &Building| {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            progress.building.set(Some(far(index, building)));
            if look.is_multiple_of(LOOKS_PER_LINE) {
                let far = far(index, building);
                tracing::info!(target: "progress", pipeline, "{far}");
            }
        };
        let watch = Watch {
            memory: self.config.index_memory,
            progress: &said,
            stop,
        };
        let store = &self.host.store;
        let gone = self.gone(work, stop).await?;
        let finished = self
            .host
            .retrying(|| store.restore_index(run, work, &gone, &watch))
            .await;
        progress.building.set(None);
        match finished? {
            Finished::Built(took) => {
                let seconds = took.as_secs_f64();
                tracing::info!(pipeline, index, seconds, "index built");
                reports.push(report(work, IndexState::Built, Some(seconds)));
            }
            Finished::NothingLeft => {
                tracing::info!(pipeline, index, "nothing left to do for the index")
            }
            Finished::LeftTo(others) => {
                let others = others.join(", ");
                tracing::warn!(
                    pipeline,
                    index,
                    "the index is still away; it is built at the end of the unfinished run of {others}"
                );
                reports.push(report(work, IndexState::Away, None));
            }
            Finished::Stopped => self.still_away(work, reports),
        }
        Ok(())
    }
}

fn report(work: &Work, state: IndexState, build_seconds: Option<f64>) -> IndexReport {
    IndexReport {
        name: work.quoted.clone(),
        mode: work.manner.as_str(),
        state,
        build_seconds,
    }
}

/// The progress of a build, in words.
fn far(index: &str, building: &Building) -> String {
    let phase = &building.phase;
    match building.percent {
        Some(percent) => format!("{index}: {phase}, {percent:.0} %"),
        None => format!("{index}: {phase}"),
    }
}

/// Manner in which a mode treats an index; `None` to keep it.
fn manner(index: &VectorIndex, mode: IndexMode) -> Option<Manner> {
    if !index.plain {
        return None;
    }
    match mode {
        IndexMode::Keep => None,
        IndexMode::Defer if index.has_rows => None,
        IndexMode::Rebuild if index.has_rows => Some(Manner::Rebuild),
        // Searches of an empty table do not need the index, and would not find new rows in it.
        IndexMode::Defer | IndexMode::DeferAlways | IndexMode::Rebuild => Some(Manner::Defer),
    }
}

/// The rows of a run, as far as they are known before it.
#[derive(Debug, Clone, Copy)]
struct Expected {
    /// Rows of the dataset, if the source says so.
    rows: Option<u64>,
    /// True if those that the table has will be written again.
    writes_anew: bool,
}

/// Describes the treatment of an index in a run, and its estimated cost.
fn outlook(index: &VectorIndex, mode: IndexMode, expected: Expected) -> String {
    let does = match (manner(index, mode), mode) {
        (Some(Manner::Defer), _) => "dropped, built at the end",
        (Some(Manner::Rebuild), _) => {
            "left to searches as it is, rebuilt at the end (which adds new and changed rows)"
        }
        (None, IndexMode::Keep) => "kept",
        (None, _) if !index.plain => "kept, since it is partitioned",
        (None, _) => {
            "kept, since its table has rows (index = \"defer-always\" drops it anyway, \"rebuild\" keeps it for searches)"
        }
    };
    let name = format!("index {} ({}): {does}", index.quoted, index.shape.name());
    let estimate = estimate(index, manner(index, mode).is_none(), expected);
    estimate.map_or_else(|| name.clone(), |estimate| format!("{name}; {estimate}"))
}

/// Estimates the cost of an index, by the rows that will enter it: new ones, and changed ones, of
/// which only the most can be known. `None` for an index with cheap inserts.
fn estimate(index: &VectorIndex, is_kept: bool, expected: Expected) -> Option<String> {
    let new = expected.rows.unwrap_or(0).saturating_sub(index.rows);
    let known = expected
        .rows
        .map_or(index.rows, |rows| rows.min(index.rows));
    let changed = if expected.writes_anew { known } else { 0 };
    let all = index.rows + new;
    let cost = index.shape.cost(new + changed, all)?;
    let most = index.shape.cost(new + known, all)?.maintaining;
    let (maintaining, building) = (roughly(cost.maintaining), roughly(cost.building));
    let mut said = match (expected.rows, changed) {
        (None, 0) if known == 0 => return None,
        (_, 0) => format!("estimate for {} more rows: ", HumanCount(new)),
        _ => format!(
            "estimate for {} more rows, and {} that are written again, since the mapping has changed: ",
            HumanCount(new),
            HumanCount(changed)
        ),
    };
    said += &format!(
        "{maintaining} to insert them one by one, {building} to build it from all {}",
        HumanCount(all)
    );
    if changed < known {
        let (known, most) = (HumanCount(known), roughly(most));
        said += &format!("; if all {known} known rows change, {most} one by one");
    }
    if is_kept && index.plain && most > cost.building {
        let faster = if index.superuser {
            "rebuild"
        } else {
            "defer-always"
        };
        let one = index.shape.cost(1, all)?.maintaining.as_secs_f64();
        let even = HumanCount((cost.building.as_secs_f64() / one).ceil() as u64);
        said += &format!("; from {even} new or changed rows on, index = \"{faster}\" is faster");
    }
    Some(said)
}
