//! Tombstones: rows of a chunk that are to be removed from the tables.
//!
//! The tombstones of a wave are carried out before its other rows are looked up, so that the
//! look-up sees what they remove with them (rows that refer to them, a unique value). A key that
//! comes twice is in two waves: a row that is written and then deleted in one chunk is gone, and
//! one that is deleted and then written is there. A tombstone that the database refuses is a
//! failed row like any other.

use super::evidence::ENOUGH;
use super::isolate::failure;
use super::rollback::{Rollback, WriteMode};
use super::rows::{ChunkWriter, trusted};
use super::wave::Written;
use crate::chunk::Prepared;
use crate::route::absent::FLAGGED;
use crate::row::{Batch, Failure};
use crate::store::by_key::Applied;
use crate::store::{Blame, blame, digest};

impl ChunkWriter<'_> {
    /// Carries out the tombstones among `rows` and returns the other rows.
    pub(super) async fn delete_of(
        &mut self,
        prepared: &Prepared,
        rows: Vec<u32>,
        mode: WriteMode,
        written: &mut Written,
    ) -> Result<Vec<u32>, Rollback> {
        if prepared.batch.deleted.is_empty() {
            return Ok(rows);
        }
        let (deleted, rest): (Vec<u32>, Vec<u32>) = rows
            .into_iter()
            .partition(|row| prepared.batch.is_deleted(*row));
        self.delete(prepared, &deleted, mode, written).await?;
        Ok(rest)
    }

    /// Retries a tombstone that was refused.
    pub(super) async fn delete_again(
        &mut self,
        prepared: &Prepared,
        refused: &Failure,
        written: &mut Written,
    ) -> Result<(), Rollback> {
        self.delete(prepared, &[refused.row], WriteMode::Isolating, written)
            .await?;
        for failure in &mut written.failures {
            if failure.row == refused.row {
                failure.attempt = refused.attempt + 1;
            }
        }
        Ok(())
    }

    async fn delete(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
        mode: WriteMode,
        written: &mut Written,
    ) -> Result<(), Rollback> {
        if rows.is_empty() {
            return Ok(());
        }
        self.is_begun = false;
        let keys = keys(&prepared.batch, rows);
        let delete = &self.statements.delete;
        let Applied { found, refused } = match mode {
            WriteMode::Trusting => match delete.apply(&mut self.transaction, &keys).await {
                Ok(found) => Applied {
                    found,
                    refused: Vec::new(),
                },
                Err(error) if blame(&error) == Blame::Refusal => return Err(Rollback::Row),
                Err(error) => return Err(error.into()),
            },
            WriteMode::Isolating | WriteMode::Immediate => {
                delete.apply_to_most(&mut self.transaction, &keys).await?
            }
        };
        let done = keys.iter().enumerate();
        let done = done.filter(|(index, _)| refused.iter().all(|(other, _)| other != index));
        let done: Vec<&str> = done.map(|(_, key)| *key).collect();
        digest::forget(&mut self.transaction, self.pipeline, &done).await?;
        let removed = found.len() as u64;
        written.rows.updated += removed;
        written.rows.deleted += removed;
        written.rows.unchanged += (rows.len() - refused.len()) as u64 - removed;
        let failures = refused.iter().map(|(index, error)| {
            let row = rows.get(*index).copied().unwrap_or_default();
            failure(row, error)
        });
        let failures: Vec<Failure> = failures.collect();
        // A few may be all that the table has.
        if removed == 0 && failures.len() >= ENOUGH {
            self.judge_tombstones(prepared, &failures).await?;
        }
        written.failures.extend(failures);
        Ok(())
    }

    /// Unflags rows that have come back and are already written; returns those that are refused.
    /// Their digests go on saying that they are flagged.
    pub(super) async fn unflag(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
        mode: WriteMode,
    ) -> Result<Vec<Failure>, Rollback> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys(&prepared.batch, rows);
        let unflag = &self.statements.unflag;
        if mode == WriteMode::Trusting {
            let unflagged = unflag.apply(&mut self.transaction, &keys).await;
            unflagged.map_err(trusted)?;
            return Ok(Vec::new());
        }
        let applied = unflag.apply_to_most(&mut self.transaction, &keys).await?;
        let refused = applied.refused.iter().map(|(index, _)| *index);
        let refused: Vec<&str> = refused.filter_map(|at| keys.get(at).copied()).collect();
        if !refused.is_empty() {
            digest::set_all(&mut self.transaction, self.pipeline, &refused, FLAGGED).await?;
        }
        let refused = applied.refused.iter();
        let refused = refused.filter_map(|(at, error)| Some(failure(*rows.get(*at)?, error)));
        Ok(refused.collect())
    }
}

fn keys<'b>(batch: &'b Batch, rows: &[u32]) -> Vec<&'b str> {
    let key = |row: &u32| batch.keys.get(*row as usize).map(AsRef::as_ref);
    rows.iter()
        .map(|row| key(row).unwrap_or_default())
        .collect()
}
