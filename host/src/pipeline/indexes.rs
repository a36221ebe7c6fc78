//! Takes vector indexes out of the way of a run before the first row, and restores them after the
//! last one, before anyone is notified of the rows.
//!
//! Indexes that an earlier run has left are restored too: at once if indexes are to be kept,
//! otherwise at the end of this run. A run that ends early does not restore its indexes, since the
//! next start goes on loading, and reports that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::outlook::{manner, outlook};
use super::prepare::Pipeline;
use crate::config::IndexMode;
use crate::error::PipelineError;
use crate::failpoints;
use crate::partition::{RollOver, Tally};
use crate::progress::Progress;
use crate::report::{IndexReport, IndexState};
use crate::store::StoreError;
use crate::store::index::build::{Building, Watch};
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

    /// True if rows or an index are still to come.
    pub(super) async fn is_owing(
        &self,
        run: &Run,
        indexes: &[IndexReport],
    ) -> Result<bool, StoreError> {
        let away = indexes.iter().any(|index| index.state == IndexState::Away);
        Ok(away || !self.all_complete(run).await?)
    }

    pub(super) fn tables(&self) -> Vec<String> {
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
        let expected = self.host.retrying(|| self.expected()).await?;
        for table in self.tables() {
            let indexes = self.host.retrying(|| store.vector_indexes(&table)).await?;
            // An index that an earlier run has left to searches is valid, too.
            let is_away = |name: &String| away.iter().any(|work| work.quoted == *name);
            let is_new = |index: &VectorIndex| !index.leaves().all(|leaf| is_away(&leaf.quoted));
            for index in indexes.into_iter().filter(is_new) {
                let said = outlook(&index, mode, expected);
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
        let what = match work.manner {
            Manner::Defer => "is still away",
            Manner::Beside => "is still the old one, which rows enter with few neighbours",
            Manner::Frozen => "is still the old one, which rows do not enter",
        };
        tracing::warn!(
            pipeline,
            index,
            "the index {what}; the start that completes the run builds it"
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
        mode: work.manner.mode(),
        state,
        build_seconds,
    }
}

/// The progress of a build, in words.
fn far(index: &str, building: &Building) -> String {
    let phase = &building.phase;
    match (building.waits_for, building.percent) {
        (Some(process), _) => {
            format!(
                "{index}: {phase} (the transaction of server process {process} has to end first)"
            )
        }
        (None, Some(percent)) => format!("{index}: {phase}, {percent:.0} %"),
        (None, None) => format!("{index}: {phase}"),
    }
}
