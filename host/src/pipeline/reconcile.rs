//! Deletes or flags missing rows at the end of a run that has read its whole dataset.

use tokio_util::sync::CancellationToken;

use super::prepare::Pipeline;
use crate::error::PipelineError;
use crate::failpoints;
use crate::report::{Missing, MissingStatus};
use crate::store::StoreError;
use crate::store::run::Run;

impl Pipeline {
    /// Finds the rows that a complete run has not met, and treats them as configured. A stop ends it
    /// after the current transaction; the next start goes on there.
    pub(super) async fn refresh(
        &self,
        run: &Run,
        ended: Result<(), PipelineError>,
        stop: &CancellationToken,
    ) -> Result<(), PipelineError> {
        ended?;
        let (store, targets) = (&self.host.store, &self.targets);
        let counts = self.dataset.row_count.is_some() && !self.dataset.continues;
        if !(counts || targets.missing.is_sought()) || !self.all_complete(run).await? {
            return Ok(());
        }
        let promised = self.promised(run).await?;
        if !targets.missing.is_sought() {
            return Ok(());
        }
        failpoints::point!("missing.before");
        self.host
            .retrying(|| store.find_missing(run, &targets.missing, promised))
            .await?;
        failpoints::point!("missing.found");
        let notify = self.config.notify.as_ref();
        let notify = notify.map(|notify| notify.target.as_str());
        let treat = || store.treat_missing(run, targets, notify);
        while !stop.is_cancelled() && self.host.retrying(treat).await? {}
        failpoints::point!("missing.done");
        Ok(())
    }

    /// Number of rows that the source says it has, if a complete run has received fewer. The source
    /// is asked again: some may have gone since the run began.
    async fn promised(&self, run: &Run) -> Result<Option<u64>, PipelineError> {
        let Some(first) = self.dataset.row_count else {
            return Ok(None);
        };
        let store = &self.host.store;
        let totals = self.host.retrying(|| store.totals(run.id)).await?;
        let received = totals.rows.received;
        if self.dataset.continues || received >= first {
            return Ok(None);
        }
        let again = self.source.dataset().await;
        let promised = match again {
            Ok(dataset) => dataset.row_count.map_or(0, |rows| rows.min(first)),
            Err(_) => first,
        };
        if promised <= received {
            return Ok(None);
        }
        let pipeline = &self.config.name;
        tracing::warn!(
            pipeline,
            promised,
            received,
            "the source has ended its streams before all rows that it says it has"
        );
        Ok(Some(promised))
    }

    /// True if a run has reached the end of every partition.
    pub(super) async fn all_complete(&self, run: &Run) -> Result<bool, StoreError> {
        for partition in &run.partitions {
            if !self.host.store.checkpoint(run, partition).await?.complete {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The missing rows of a run, for its report. `ended` is the result of the run.
    pub(super) async fn missing(
        &self,
        run: &Run,
        ended: &Result<(), PipelineError>,
        stop: &CancellationToken,
    ) -> Result<Option<Missing>, StoreError> {
        if !self.targets.missing.is_sought() {
            return Ok(None);
        }
        let found = self.host.store.missing(run.id).await?;
        let status = match found.counted {
            _ if found.held_back => MissingStatus::HeldBack,
            Some(_) if !found.waiting => MissingStatus::Done,
            None if ended.is_ok() && !stop.is_cancelled() => MissingStatus::NextRun,
            _ => MissingStatus::Unfinished,
        };
        let (known, rows) = found.counted.unwrap_or_default();
        if let Some(note) = &found.note {
            tracing::warn!(pipeline = self.config.name, "missing rows: {note}");
        }
        Ok(Some(Missing {
            status,
            known,
            rows,
            removed: found.removed,
            flagged: found.flagged,
            kept: found.kept,
            note: found.note,
        }))
    }
}
