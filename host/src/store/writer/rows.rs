//! The rows of a chunk, within its transaction: looks them up and writes those that have changed.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

use super::evidence::Evidence;
use super::rollback::{Rollback, WriteMode};
use crate::chunk::{Prepared, Settled};
use crate::failpoints;
use crate::policy::{self, Budget, Policy};
use crate::route::absent::FLAGGED;
use crate::row::{Batch, Failure};
use crate::store::copy::copy;
use crate::store::encode::{ArrayParam, Column};
use crate::store::run::Counts;
use crate::store::statements::Statements;
use crate::store::{Blame, blame};

/// Outcome of writing the rows of a chunk, which may still be rolled back.
pub(super) struct Written {
    pub rows: Counts,
    /// Rows that the database refuses.
    pub failures: Vec<Failure>,
}

/// A transaction in which the rows of one chunk are written.
pub(super) struct ChunkWriter<'w> {
    pub transaction: Transaction<'w, Postgres>,
    pub copies: bool,
    pub buffer: &'w mut Vec<u8>,
    pub statements: &'w Statements,
    pub pipeline: i32,
    pub evidence: &'w Evidence,
}

/// Rows to write, in their order, without duplicates.
#[derive(Debug, Clone, Default)]
pub(super) struct Changed {
    pub all: Vec<u32>,
    /// Rows of `all` that can be copied.
    pub new: Vec<u32>,
    /// The other rows of `all`.
    pub known: Vec<u32>,
    /// Rows of `all` that the first table does not have.
    pub inserts: HashSet<u32>,
}

impl Changed {
    fn one(row: u32) -> Self {
        Self {
            all: vec![row],
            new: Vec::new(),
            known: vec![row],
            inserts: HashSet::new(),
        }
    }

    pub(super) fn remove(&mut self, row: u32) {
        for rows in [&mut self.all, &mut self.new, &mut self.known] {
            rows.retain(|other| *other != row);
        }
    }
}

/// Result of looking up a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    in_first: bool,
    /// In no table that has the first table's key, and never written: it can be copied.
    new: bool,
    unchanged: bool,
    /// Flagged as a row that the source no longer has.
    flagged: bool,
}

impl ChunkWriter<'_> {
    /// Carries out the tombstones, and writes the rows that are new or have changed.
    pub(super) async fn write_rows(
        &mut self,
        prepared: &Prepared,
        mode: WriteMode,
    ) -> Result<Written, Rollback> {
        let mut written = Written {
            rows: Counts::default(),
            failures: Vec::new(),
        };
        if mode == WriteMode::Immediate {
            sqlx::query("set constraints all immediate")
                .execute(&mut *self.transaction)
                .await?;
        }
        for wave in waves(prepared) {
            let wave = self.delete_of(prepared, wave, mode, &mut written).await?;
            let known = self.look_up_with(mode, prepared, &wave).await?;
            let (mut changed, mut known_changed) = (Changed::default(), Vec::new());
            for (row, known) in wave.into_iter().zip(known) {
                if known.unchanged {
                    written.rows.unchanged += 1;
                } else {
                    let part = if self.copies && known.new {
                        &mut changed.new
                    } else {
                        &mut changed.known
                    };
                    part.push(row);
                    if !known.in_first {
                        changed.inserts.insert(row);
                    }
                    changed.all.push(row);
                    known_changed.push(known);
                }
            }
            let refused = match mode {
                WriteMode::Trusting => self.write_at_once(prepared, &changed).await?,
                WriteMode::Isolating | WriteMode::Immediate => {
                    let refused = self.write_isolated(prepared, changed.clone()).await?;
                    self.judge(prepared, &changed, &refused).await?;
                    refused.into_iter().map(|refused| refused.failure).collect()
                }
            };
            let refused_rows: HashSet<u32> = refused.iter().map(|failure| failure.row).collect();
            for (row, known) in changed.all.iter().zip(&known_changed) {
                match (refused_rows.contains(row), known.in_first) {
                    (true, _) => {}
                    (false, true) => written.rows.updated += 1,
                    (false, false) => written.rows.inserted += 1,
                }
            }
            let flagged = changed.all.iter().zip(&known_changed);
            let flagged =
                flagged.filter(|(row, known)| known.flagged && !refused_rows.contains(row));
            let flagged: Vec<u32> = flagged.map(|(row, _)| *row).collect();
            self.unflag(&prepared.batch, &flagged).await?;
            written.failures.extend(refused);
        }
        Ok(written)
    }

    /// Looks rows up. A key that is fed by fields may have values that the database refuses.
    async fn look_up_with(
        &mut self,
        mode: WriteMode,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<Vec<Known>, Rollback> {
        if mode != WriteMode::Trusting {
            return self.look_up_isolated(prepared, rows).await;
        }
        self.look_up(prepared, rows).await.map_err(trusted)
    }

    /// Looks rows up, one result for each.
    pub(super) async fn look_up(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<Vec<Known>, sqlx::Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let param = |column| ArrayParam {
            batch: &prepared.batch,
            rows,
            column,
        };
        let mut query = sqlx::query_as(AssertSqlSafe(Arc::clone(&self.statements.lookup)))
            .bind(self.pipeline)
            .bind(param(Column::NAME));
        for key in &self.statements.keys {
            query = query.bind(param(*key));
        }
        let found: (Vec<Option<Uuid>>, Vec<bool>, Vec<bool>) =
            query.fetch_one(&mut *self.transaction).await?;
        let (digests, in_first, in_all) = found;
        let known = rows.iter().zip(digests).zip(in_first).zip(in_all);
        let known = known.map(|(((row, digest), in_first), in_all)| Known {
            in_first,
            new: !in_first && digest.is_none(),
            unchanged: in_all
                && digest.is_some()
                && digest == prepared.digests.get(*row as usize).copied(),
            flagged: digest == Some(FLAGGED),
        });
        let known: Vec<Known> = known.collect();
        if known.len() != rows.len() {
            let message = format!(
                "the look-up returned {} of {} rows",
                known.len(),
                rows.len()
            );
            return Err(sqlx::Error::Protocol(message));
        }
        Ok(known)
    }

    /// Looks no row up: if that is refused, it is refused for any row.
    pub(super) async fn look_up_nothing(&mut self, prepared: &Prepared) -> Result<(), sqlx::Error> {
        let param = |column| ArrayParam {
            batch: &prepared.batch,
            rows: &[],
            column,
        };
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&self.statements.lookup)))
            .bind(self.pipeline)
            .bind(param(Column::NAME));
        for key in &self.statements.keys {
            query = query.bind(param(*key));
        }
        query.execute(&mut *self.transaction).await?;
        Ok(())
    }

    /// Writes rows without a search for those to blame.
    async fn write_at_once(
        &mut self,
        prepared: &Prepared,
        rows: &Changed,
    ) -> Result<Vec<Failure>, Rollback> {
        for table in 0..self.statements.tables.len() {
            let written = self.write_table(table, &prepared.batch, rows).await;
            written.map_err(trusted)?;
        }
        let copied = self.remember_new(prepared, &rows.new).await;
        copied.map_err(trusted)?;
        self.remember(prepared, &rows.known).await?;
        Ok(Vec::new())
    }

    /// Writes rows into one table in the fastest way. A new row that is there after all counts as
    /// refused; the search that follows upserts it.
    pub(super) async fn write_table(
        &mut self,
        table: usize,
        batch: &Batch,
        rows: &Changed,
    ) -> Result<(), sqlx::Error> {
        self.copy(table, batch, &rows.new).await?;
        self.upsert(table, batch, &rows.known).await?;
        failpoints::point!("write.table");
        Ok(())
    }

    /// Copies rows into one table, or upserts them if its types do not allow `COPY`.
    async fn copy(&mut self, table: usize, batch: &Batch, rows: &[u32]) -> Result<(), sqlx::Error> {
        let Some(statements) = self.statements.tables.get(table) else {
            return Ok(());
        };
        match &statements.copy {
            Some(plan) => copy(&mut self.transaction, plan, batch, rows, self.buffer).await,
            None => self.upsert(table, batch, rows).await,
        }
    }

    /// Writes rows into one table, known or new.
    pub(super) async fn upsert(
        &mut self,
        table: usize,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.upsert_any(table, batch, rows).await
    }

    /// The same where there may be no row: a statement that is refused then is refused for any.
    pub(super) async fn upsert_any(
        &mut self,
        table: usize,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        let Some(statements) = self.statements.tables.get(table) else {
            return Ok(());
        };
        for statement in statements.delete.iter().chain([&statements.upsert]) {
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(statement)));
            for column in &statements.parameters {
                query = query.bind(ArrayParam {
                    batch,
                    rows,
                    column: *column,
                });
            }
            query.execute(&mut *self.transaction).await?;
        }
        Ok(())
    }

    /// Asks the policy about refused rows and retries those that it decides to retry.
    pub(super) async fn resolve(
        &mut self,
        prepared: &Prepared,
        written: &mut Written,
        policy: &impl Policy,
    ) -> Result<Settled, Rollback> {
        let mut settled = Settled::default();
        let mut budget = Budget::default();
        while !written.failures.is_empty() {
            let mut failures = std::mem::take(&mut written.failures);
            self.name_columns(&prepared.batch, &mut failures).await?;
            let retries = policy::consult(
                policy,
                &prepared.chain,
                &prepared.batch,
                failures,
                &mut settled,
                &mut budget,
            )
            .await?;
            for retry in retries {
                tokio::time::sleep(retry.after).await;
                let row = retry.failure.row;
                if prepared.batch.is_deleted(row) {
                    self.delete_again(prepared, &retry.failure, written).await?;
                    continue;
                }
                let known = self.look_up_isolated(prepared, &[row]).await?;
                match (
                    self.write_isolated(prepared, Changed::one(row))
                        .await?
                        .pop(),
                    known.first(),
                ) {
                    (Some(again), _) => {
                        written.failures.push(Failure {
                            attempt: retry.failure.attempt + 1,
                            ..again.failure
                        });
                    }
                    (None, Some(known)) if known.in_first => {
                        written.rows.updated += 1;
                        let flagged: &[u32] = if known.flagged { &[row] } else { &[] };
                        self.unflag(&prepared.batch, flagged).await?;
                    }
                    (None, _) => written.rows.inserted += 1,
                }
            }
        }
        Ok(settled)
    }
}

/// Classifies an error of a statement in [`WriteMode::Trusting`].
fn trusted(error: sqlx::Error) -> Rollback {
    match blame(&error) {
        Blame::Refusal => Rollback::Row,
        Blame::Server => error.into(),
    }
}

/// Splits the live rows and the tombstones so that no key is twice in a part, since a statement
/// cannot change a row twice. There is nearly always one part.
fn waves(prepared: &Prepared) -> Vec<Vec<u32>> {
    let batch = &prepared.batch;
    let mut rest = batch.live.clone();
    if !batch.deleted.is_empty() {
        rest.extend(&batch.deleted);
        rest.sort_unstable();
    }
    if !prepared.keys.repeats() {
        return vec![rest];
    }
    let mut waves = Vec::new();
    while !rest.is_empty() {
        let mut seen = HashSet::with_capacity(rest.len());
        let (wave, later): (Vec<u32>, Vec<u32>) = rest.into_iter().partition(|row| {
            batch
                .keys
                .get(*row as usize)
                .is_some_and(|key| seen.insert(key.clone()))
        });
        waves.push(wave);
        rest = later;
    }
    waves
}
