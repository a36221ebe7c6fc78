//! Records a chunk beside its rows: dead letters, keys, plugin versions, and the checkpoint.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgConnection;

use super::progress::{CheckpointMove, Fates};
use super::rollback::Rollback;
use crate::chunk::Prepared;
use crate::failpoints;
use crate::plugin::Chain;
use crate::policy::{DeadLetterLimit, Tally, TooManyDeadLetters, Window};
use crate::route::Targets;
use crate::store::again::Letters;
use crate::store::refusals::Refusals;
use crate::store::run::{Checkpoint, Place, Run};
use crate::store::{again, dead_letter, ledger, reconcile};

/// A claimed partition, and what is recorded with each of its chunks.
#[derive(Debug)]
pub(super) struct Recorder {
    run: Run,
    partition: String,
    epoch: i64,
    /// Target of notifications.
    notify: Option<String>,
    /// True if the keys that a chunk has met are noted.
    notes_keys: bool,
    /// The dead letters that the rows come from, if they are tried again.
    letters: Option<Letters>,
    /// The plugins of the last chunk that was committed: their versions are in the ledger.
    met: Option<Arc<Chain>>,
    limit: Arc<DeadLetterLimit>,
    /// Check constraints by which the values of a row alone decide.
    rules: HashMap<String, i64>,
}

impl Recorder {
    pub(super) fn new(
        targets: &Targets,
        run: &Run,
        checkpoint: &Checkpoint,
        notify: Option<String>,
        limit: Arc<DeadLetterLimit>,
        rules: HashMap<String, i64>,
    ) -> Self {
        Self {
            run: run.clone(),
            partition: checkpoint.partition.clone(),
            epoch: checkpoint.epoch,
            notify,
            notes_keys: targets.missing.is_sought(),
            letters: None,
            met: None,
            limit,
            rules,
        }
    }

    /// Makes the next chunk one of dead letters that are tried again.
    pub(super) fn try_again(&mut self, letters: Letters) {
        self.letters = Some(letters);
    }

    /// Rows that earlier runs have refused.
    pub(super) fn refused(&self) -> &Refusals {
        &self.run.refused
    }

    /// Number of the pipeline.
    pub(super) fn pipeline(&self) -> i32 {
        self.run.pipeline
    }

    /// Records a chunk within its transaction, after `sequence` chunks of its run. The checkpoint moves
    /// last. Returns the latest rows
    /// with those of the chunk.
    pub(super) async fn record(
        &self,
        connection: &mut PgConnection,
        prepared: &Prepared,
        fates: &Fates,
        sequence: i64,
    ) -> Result<Window, Rollback> {
        if let Some(letters) = &self.letters {
            let (left_out, notify) = (fates.left_out(), self.notify.as_deref());
            let run = &self.run;
            again::record(connection, run, letters, &left_out, fates.rows, notify).await?;
            return Ok(self.limit.with(Tally::default()));
        }
        let place = Place {
            pipeline: self.run.pipeline,
            partition: &self.partition,
            run: self.run.id,
        };
        if let letters @ [_, ..] = fates.letters.as_slice() {
            dead_letter::write(connection, place, prepared, &self.rules, letters).await?;
            failpoints::point!("write.dead_letters");
        }
        let waiting = &self.run.waiting;
        again::supersede(connection, place, waiting, prepared, &fates.letters).await?;
        if self.notes_keys {
            reconcile::note_met(connection, self.run.id, &prepared.batch).await?;
        }
        let is_known = self
            .met
            .as_ref()
            .is_some_and(|met| Arc::ptr_eq(met, &prepared.chain));
        if !is_known {
            ledger::note_met(connection, place.pipeline, &prepared.chain).await?;
        }
        ledger::add_differences(connection, place.pipeline, &fates.comparisons).await?;
        let recent = self.limit.with(Tally {
            rows: fates.rows.received,
            // The others may be resolved at the end of the run, which judges them then.
            dead_letters: fates.rows.dead_lettered - again::waiting_rows(&fates.letters),
        });
        let run = CheckpointMove {
            place,
            epoch: self.epoch,
            sequence,
            position: &prepared.position,
            bytes: prepared.bytes as u64,
            rows: fates.rows,
            codes: fates.codes(),
            notify: self.notify.as_deref(),
            recent: &recent,
        };
        let run = run.apply(&mut *connection).await?;
        if !prepared.batch.drops.is_empty() {
            reconcile::dropped::count(connection, &self.run, &prepared.batch).await?;
        }
        failpoints::point!("write.checkpoint");
        self.judge(connection, prepared, fates, &recent, run)
            .await?;
        Ok(recent)
    }

    /// Fails if the chunk exceeds the limit of dead letters. `recent` and `run` count its rows.
    async fn judge(
        &self,
        connection: &mut PgConnection,
        prepared: &Prepared,
        fates: &Fates,
        recent: &Window,
        run: Tally,
    ) -> Result<(), Rollback> {
        let exceeded = self.limit.exceeded(recent, run);
        if exceeded.is_none() || fates.letters.is_empty() {
            return Ok(());
        }
        let codes = dead_letter::codes(connection, self.run.id).await?;
        let run = again::without_waiting(run, &codes);
        let Some(excess) = self.limit.exceeded(recent, run) else {
            return Ok(());
        };
        let keys = &prepared.batch.keys;
        let letters = fates.letters.iter().map(|letter| {
            let key = keys.get(letter.failure.row as usize);
            (letter, key.map_or("", |key| key))
        });
        Err(TooManyDeadLetters::new(excess, &codes, letters).into())
    }

    /// Remembers the plugins and the latest rows of a chunk that is committed.
    pub(super) fn committed(&mut self, prepared: &Prepared, recent: Window) {
        self.met = Some(Arc::clone(&prepared.chain));
        self.limit.committed(recent);
    }
}
