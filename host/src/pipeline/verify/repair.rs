//! Writes rows that are not as they should be, as a run would.
//!
//! A repair is a run of its own: it claims the partitions, and its chunks leave them where they
//! are. What is known of the rows is not believed, so that they are written although nothing has
//! changed in the source. A repair that is cut off is an unfinished run like any other, which the
//! next start brings to its end.

use std::cell::Cell;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::findings::{Findings, Place};
use crate::chunk::Prepared;
use crate::error::PipelineError;
use crate::partition::End;
use crate::pipeline::prepare::Pipeline;
use crate::route::Misfit;
use crate::store::run::{Checkpoint, Counts, Run, Status};
use crate::store::{LaterChunk, Turn};
use crate::workers::Workers;

impl Pipeline {
    /// Fails if the pipeline has a run that the next start would continue.
    pub(super) async fn refuse_unfinished(&self) -> Result<(), PipelineError> {
        let (store, name) = (&self.host.store, &self.config.name);
        let unfinished = self.host.retrying(|| store.unfinished(name)).await?;
        match unfinished {
            None => Ok(()),
            Some(status) => Err(PipelineError::Unfit(vec![Misfit {
                place: format!("pipelines.{name}"),
                message: format!("its last run is not finished ({status}), and would be continued"),
                hint: format!("bring it to its end with `forebay run {name}`, then repair"),
            }])),
        }
    }

    /// Writes the rows of `findings` that are not as they should be; returns what became of them.
    pub(super) async fn repair(
        &self,
        findings: &Findings,
        workers: &Arc<Workers>,
        stop: &CancellationToken,
    ) -> Result<Counts, PipelineError> {
        let (store, name) = (&self.host.store, &self.config.name);
        let partitions = &self.dataset.partitions;
        // Comparing takes long: another host may have begun a run meanwhile.
        self.refuse_unfinished().await?;
        let run = self
            .host
            .retrying(|| store.begin(name, partitions, self.new_run()))
            .await?;
        let mut counts = Counts::default();
        let mut written = Ok(End::Complete);
        for (partition, checkpoint) in run.partitions.iter().enumerate() {
            if let Ok(End::Complete) = written {
                let place = Place { partition, row: 0 };
                let write = (place, &run, checkpoint);
                written = self
                    .write_again(findings, workers, write, stop, &mut counts)
                    .await;
            }
        }
        let (status, message) = match &written {
            Ok(End::Complete) => (Status::Succeeded, None),
            Ok(End::Stopped) => (Status::Interrupted, None),
            Err(error) => (error.status(stop.is_cancelled()), Some(error.to_string())),
        };
        if status == Status::Succeeded {
            for checkpoint in &run.partitions {
                store.complete(&run, checkpoint).await?;
            }
        }
        self.deliver_and_finish(&run, status, message.as_deref(), stop)
            .await?;
        written.map(|_| counts)
    }

    /// Reads a partition again, and writes those of its rows that are wanted.
    async fn write_again(
        &self,
        findings: &Findings,
        workers: &Arc<Workers>,
        (place, run, checkpoint): (Place, &Run, &Checkpoint),
        stop: &CancellationToken,
        counts: &mut Counts,
    ) -> Result<End, PipelineError> {
        let store = &self.host.store;
        // The only one who moves the checkpoint.
        let sequence = Cell::new(checkpoint.sequence);
        let write = async |prepared: Prepared, before: u64| {
            let batch = &prepared.batch;
            let (mut rows, mut keys) = (Vec::new(), Vec::new());
            for (row, key) in batch.keys.iter().enumerate() {
                if findings.wants(
                    key,
                    Place {
                        row: before + row as u64,
                        ..place
                    },
                ) {
                    rows.push(row);
                    keys.push(&**key);
                }
            }
            if rows.is_empty() {
                return Ok(());
            }
            store.doubt(run.pipeline, &keys).await?;
            let position = &checkpoint.position;
            let rows = prepared.units.select(&rows);
            let chunk = self.prepare_again(workers, rows, position).await?;
            let limit = self.config.dead_letter_limit_percent;
            let mut writer = self.open_writer(run, checkpoint, limit).await?;
            let (turn, _) = Turn::new(LaterChunk::after(sequence.get()), false);
            let committed = writer.commit(&chunk, workers.as_ref(), turn).await?;
            sequence.set(sequence.get() + 1);
            let rows = committed.totals().rows;
            counts.received += rows.received;
            counts.inserted += rows.inserted;
            counts.updated += rows.updated;
            counts.unchanged += rows.unchanged;
            counts.dropped += rows.dropped;
            counts.dead_lettered += rows.dead_lettered;
            Ok(())
        };
        self.read_all(workers, &self.dataset_partition(place), stop, write)
            .await
    }

    fn dataset_partition(&self, place: Place) -> String {
        let partition = self.dataset.partitions.get(place.partition);
        partition.cloned().unwrap_or_default()
    }
}
