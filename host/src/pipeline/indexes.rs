//! A run and the vector indexes of its tables: out of the way before the first row, back after
//! the last one and before anybody is told of the rows.
//!
//! What an earlier run has left is finished too: at once where indexes are to be kept, and
//! otherwise with this run's end. A run that ends early leaves its indexes away, since the next
//! start goes on loading, and says so.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use indicatif::HumanCount;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Did, Host, Pipeline, PipelineError, Progress, Tally, retrying};
use crate::{
    config::{self, IndexMode},
    fault,
    report::{IndexReport, IndexState},
    store::{
        StoreError, catalog,
        checkpoint::Run,
        index::{
            Manner, VectorIndex, Work,
            build::{Building, Watch},
            estimate::roughly,
            finish::Finished,
        },
        target::Misfit,
    },
    workers::Workers,
};

/// The server is asked about once a second; the log is told this often.
const LOOKS_PER_LINE: u64 = 5;

/// What is done besides moving rows, for a progress bar.
#[derive(Debug, Default)]
pub struct Now(Mutex<Option<String>>);

impl Now {
    /// In words; `None` while there is nothing.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        let now = self.0.lock();
        now.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, what: Option<String>) {
        let now = self.0.lock();
        *now.unwrap_or_else(PoisonError::into_inner) = what;
    }
}

impl Pipeline {
    /// Runs the partitions with the indexes as they are configured.
    pub(super) async fn run_with_indexes(
        &self,
        run: &Run,
        workers: &Arc<Workers>,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> (Tally, Vec<IndexReport>, Result<(), PipelineError>) {
        let (mut tally, mut reports) = (Tally::default(), Vec::new());
        let mut result = self.indexes_away(run, progress, stop, &mut reports).await;
        if result.is_ok() && !stop.is_cancelled() {
            (tally, result) = self.run_partitions(run, workers, progress, stop).await;
        }
        if result.is_ok() {
            result = self.indexes_back(run, progress, stop, &mut reports).await;
        } else if let Ok(away) = self.work(run).await {
            for work in away.iter().filter(|work| work.mine) {
                self.still_away(work, &mut reports);
            }
        }
        (tally, reports, result)
    }

    /// What is to be known about the indexes before a run: what they cost, and which are away.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn index_outlook(&self) -> Result<Vec<String>, PipelineError> {
        let mut lines = Vec::new();
        let (store, tables) = (&self.host.store, self.tables());
        for work in store.index_work(Uuid::nil(), &tables).await? {
            let (name, manner) = (&work.quoted, work.manner.as_str());
            let mut line = format!("index {name}: away ({manner}), built by the next run");
            if !work.others.is_empty() {
                line += &format!(
                    " that completes what is unfinished of {}",
                    work.others.join(", ")
                );
            }
            lines.push(line);
        }
        for table in tables {
            for index in store.vector_indexes(&table).await? {
                lines.push(outlook(&index, self.config.index, self.dataset.row_count));
            }
        }
        Ok(lines)
    }

    /// Whether rows or an index are still to come.
    pub(super) async fn is_owing(&self, run: &Run, did: &Did) -> Result<bool, StoreError> {
        let mut indexes = did.indexes.iter();
        let away = indexes.any(|index| index.state == IndexState::Away);
        Ok(away || !self.all_complete(run).await?)
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
        let away = retrying(&self.host, || self.work(run)).await?;
        for work in &away {
            if mode != IndexMode::Keep {
                retrying(&self.host, || async {
                    Ok(store.join_index(run, work).await?)
                })
                .await?;
            } else if !stop.is_cancelled() {
                self.put_back(run, work, progress, stop, reports).await?;
            }
        }
        fault::point!("index.joined");
        for table in self.tables() {
            let indexes = retrying(&self.host, || async {
                Ok(store.vector_indexes(&table).await?)
            })
            .await?;
            // One that an earlier run has left to searches is valid as well.
            let is_new = |index: &VectorIndex| !away.iter().any(|work| work.quoted == index.quoted);
            for index in indexes.into_iter().filter(is_new) {
                let said = outlook(&index, mode, self.dataset.row_count);
                tracing::info!(pipeline = name, "{said}");
                match manner(&index, mode) {
                    Some(manner) => {
                        retrying(&self.host, || async {
                            Ok(store.take_index(run, &index, manner).await?)
                        })
                        .await?;
                        fault::point!("index.taken");
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

    /// Puts back what this run has waited for, if it has come to its end.
    async fn indexes_back(
        &self,
        run: &Run,
        progress: &Progress,
        stop: &CancellationToken,
        reports: &mut Vec<IndexReport>,
    ) -> Result<(), PipelineError> {
        let complete = retrying(&self.host, || async { Ok(self.all_complete(run).await?) }).await?;
        for work in retrying(&self.host, || self.work(run)).await? {
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
            "is still to be built, by the start that comes to the end of the run"
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
        tracing::info!(pipeline, index, "building");
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
        let finished = retrying(&self.host, || async {
            Ok(store.finish_index(run, work, &watch).await?)
        })
        .await;
        progress.building.set(None);
        match finished? {
            Finished::Built(took) => {
                let seconds = took.as_secs_f64();
                tracing::info!(pipeline, index, seconds, "built");
                reports.push(report(work, IndexState::Built, Some(seconds)));
            }
            Finished::Settled => tracing::info!(pipeline, index, "nothing is left to be done"),
            Finished::LeftTo(others) => {
                let others = others.join(", ");
                tracing::warn!(
                    pipeline,
                    index,
                    "is away still: it is built at the end of the unfinished run of {others}"
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

/// How far a build is, in words.
fn far(index: &str, building: &Building) -> String {
    let phase = &building.phase;
    match building.percent {
        Some(percent) => format!("{index}: {phase}, {percent:.0} %"),
        None => format!("{index}: {phase}"),
    }
}

/// How a configured mode applies to an index; `None` to keep it.
fn manner(index: &VectorIndex, mode: IndexMode) -> Option<Manner> {
    if !index.plain {
        return None;
    }
    match mode {
        IndexMode::Keep => None,
        IndexMode::Defer if index.has_rows => None,
        IndexMode::Rebuild if index.has_rows => Some(Manner::Rebuild),
        // Searches of an empty table miss no index, and would not find new rows in it.
        IndexMode::Defer | IndexMode::DeferAlways | IndexMode::Rebuild => Some(Manner::Defer),
    }
}

/// What becomes of an index in a run, and what that costs.
fn outlook(index: &VectorIndex, mode: IndexMode, expected: Option<u64>) -> String {
    let does = match (manner(index, mode), mode) {
        (Some(Manner::Defer), _) => "dropped, built at the end",
        (Some(Manner::Rebuild), _) => {
            "left to searches as it is, built anew at the end (new and changed rows enter it then)"
        }
        (None, IndexMode::Keep) => "kept",
        (None, _) if !index.plain => "kept, since it is partitioned",
        (None, _) => {
            "kept, since its table has rows (index = \"defer-always\" drops it all the same, \"rebuild\" keeps it for searches)"
        }
    };
    let name = format!("index {} ({}): {does}", index.quoted, index.shape.name());
    let Some(expected) = expected else {
        return name;
    };
    let rows = expected.saturating_sub(index.rows);
    let Some(cost) = index.shape.cost(rows, index.rows) else {
        return name;
    };
    let (more, all) = (HumanCount(rows), HumanCount(rows + index.rows));
    let (maintaining, building) = (roughly(cost.maintaining), roughly(cost.building));
    format!(
        "{name}; estimate for {more} more rows: {maintaining} to insert them into it one by one, {building} to build it of all {all}"
    )
}

/// What a mode needs and the role may not. Asked before the first row.
pub(super) async fn misfits(
    host: &Host,
    config: &config::Pipeline,
    tables: &[Option<catalog::Table>],
) -> Result<Vec<Misfit>, PipelineError> {
    let mut misfits = Vec::new();
    if config.index == IndexMode::Keep {
        return Ok(misfits);
    }
    for table in tables.iter().flatten() {
        let indexes = host.store.vector_indexes(&table.quoted).await?;
        for index in indexes.into_iter().filter(|index| index.plain) {
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
    let (mode, name) = (mode.as_str(), &index.quoted);
    if mode == "rebuild" && !index.superuser {
        return misfit(
            format!("\"{mode}\" of {name} changes the catalog, which only a superuser may"),
            "run it as a superuser, or use \"keep\", or \"defer-always\", with which searches have no index meanwhile",
        );
    }
    if mode == "rebuild" && host.store.is_shared() {
        return misfit(
            format!("\"{mode}\" of {name} needs a connection of its own, and a pooler shares them"),
            "connect to the server itself, or use \"keep\" or \"defer\"",
        );
    }
    if !index.owned {
        return misfit(
            format!("\"{mode}\" drops and creates {name}, which this role may not"),
            "let it own the table, and grant it CREATE on the schema; or use \"keep\"",
        );
    }
    None
}
