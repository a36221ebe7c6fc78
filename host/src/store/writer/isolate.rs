//! Finds the rows that the database refuses, in savepoints, and keeps the others.
//!
//! The savepoint `wave` stands before the rows of a wave; `part` stands behind what is kept of them,
//! and moves on with it.

use sqlx::postgres::PgDatabaseError;

use super::evidence::ENOUGH;
use super::rollback::Rollback;
use super::rows::ChunkWriter;
use super::wave::{Attempted, Changed, Known, Refused, Trial};
use crate::chunk::Prepared;
use crate::failpoints;
use crate::plugin::head;
use crate::row::{Failure, Stage};
use crate::store::halving::{Halving, REFERENCE_ROUNDS};
use crate::store::message::{of_server, said};
use crate::store::{Blame, blame};

impl ChunkWriter<'_> {
    /// Sets the savepoints of a wave.
    async fn begin_wave(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("savepoint wave; savepoint part")
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Undoes what was done for a wave.
    pub(super) async fn undo_wave(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("rollback to savepoint wave; savepoint part")
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Keeps what was done since the savepoint `part`.
    pub(super) async fn keep_part(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("release savepoint part; savepoint part")
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Writes all rows except those that the database refuses, and returns these. A row that one
    /// table refuses belongs in none: if an earlier table has it already, everything is written
    /// again without it.
    pub(super) async fn write_isolated(
        &mut self,
        prepared: &Prepared,
        mut rows: Changed,
        trial: Trial,
    ) -> Result<Vec<Refused>, Rollback> {
        let is_begun = std::mem::take(&mut self.is_begun);
        if !is_begun {
            self.begin_wave().await?;
        }
        let mut refused = Vec::new();
        'again: loop {
            // After the tables come the digests, whose index may not take a key that a table takes.
            for table in 0..=self.statements.tables.len() {
                if rows.all.is_empty() {
                    break;
                }
                let guilty = self.isolate(table, prepared, &rows, trial).await?;
                for row in self.outcomes.swallowed() {
                    rows.remove(row);
                }
                if guilty.is_empty() {
                    continue;
                }
                for failure in &guilty {
                    rows.remove(failure.row);
                }
                let guilty = guilty.into_iter();
                refused.extend(guilty.map(|failure| Refused { table, failure }));
                if table > 0 {
                    self.undo_wave().await?;
                    continue 'again;
                }
            }
            break;
        }
        if !is_begun {
            sqlx::query("release savepoint wave")
                .execute(&mut *self.transaction)
                .await?;
        }
        Ok(refused)
    }

    /// Looks rows up; those whose keys the database refuses are found by halving. Nothing is known
    /// of these; the tables will refuse them as well.
    pub(super) async fn look_up_isolated(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<Vec<Known>, Rollback> {
        let mut known = Vec::with_capacity(rows.len());
        let mut halving = Halving::of_all(&mut self.transaction, rows).await?;
        while let Some(part) = halving.next() {
            match self.look_up(prepared, part).await {
                Ok(found) => known.extend(found),
                Err(error) if blame(&error) == Blame::Refusal => {
                    let alone = halving.undo(&mut self.transaction, part).await?;
                    if part.len() == rows.len() {
                        self.look_up_nothing(prepared).await?;
                    }
                    known.extend(alone.map(|_| Known::default()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        halving.end(&mut self.transaction).await?;
        Ok(known)
    }

    /// Writes rows into one table, except for those that it refuses.
    async fn isolate(
        &mut self,
        table: usize,
        prepared: &Prepared,
        wave: &Changed,
        trial: Trial,
    ) -> Result<Vec<Failure>, Rollback> {
        let mut refused = Vec::new();
        let left = self
            .copy_in_parts(table, prepared, wave, &mut refused)
            .await?;
        let mut rest = [left.as_slice(), &wave.known].concat();
        rest.sort_unstable();
        if !rest.is_empty() {
            let some = Attempted {
                rows: &rest,
                trial,
                kept: wave.all.len() > rest.len() + refused.len(),
            };
            refused.extend(self.search(table, prepared, wave, some).await?);
        }
        let found = refused.len();
        let mut refused = self.write_in_turn(table, prepared, wave, refused).await?;
        if !rest.is_empty() || refused.len() < found {
            self.keep_part().await?;
        }
        refused.sort_unstable_by_key(|failure| failure.row);
        failpoints::point!("write.table");
        Ok(refused)
    }

    /// Writes rows into one table, except for those that it refuses. If rows of a table refer to
    /// each other, a row may have been refused because of one that was written only after it: it is
    /// tried again.
    pub(super) async fn search(
        &mut self,
        table: usize,
        prepared: &Prepared,
        wave: &Changed,
        some: Attempted<'_>,
    ) -> Result<Vec<Failure>, Rollback> {
        let mut refused = self.halve(table, prepared, wave, some).await?;
        for _ in 0..REFERENCE_ROUNDS {
            let lacks_reference = |failure: &Failure| failure.code == "SQL_23503";
            let (lacking, guilty): (Vec<_>, Vec<_>) =
                refused.into_iter().partition(lacks_reference);
            let again: Vec<u32> = lacking.iter().map(|failure| failure.row).collect();
            refused = guilty;
            if again.len() == some.rows.len() || again.is_empty() {
                refused.extend(lacking);
                break;
            }
            let again = Attempted {
                rows: &again,
                kept: true,
                ..some
            };
            let still = self.halve(table, prepared, wave, again).await?;
            let no_progress = still.len() == again.rows.len();
            refused.extend(still);
            if no_progress {
                break;
            }
        }
        Ok(refused)
    }

    /// Writes some of a wave's rows into one table, halving them until those that it refuses are
    /// alone. If the first of them are all refused, the table is asked at once.
    async fn halve(
        &mut self,
        table: usize,
        prepared: &Prepared,
        wave: &Changed,
        some: Attempted<'_>,
    ) -> Result<Vec<Failure>, Rollback> {
        let mut refused = Vec::new();
        let mut kept = some.kept;
        let connection = &mut self.transaction;
        let mut halving = match some.trial {
            Trial::Together => Halving::of_all(connection, some.rows).await?,
            Trial::OneByOne => Halving::of_each(connection, some.rows).await?,
        };
        while let Some(part) = halving.next() {
            match self.write_some(table, prepared, part).await {
                Ok(()) => {
                    halving.keep(&mut self.transaction).await?;
                    kept = true;
                }
                Err(error) if blame(&error) == Blame::Refusal => {
                    let alone = halving.undo(&mut self.transaction, part).await?;
                    let Some(row) = alone else { continue };
                    refused.push(failure(*row, &error));
                    if !kept && refused.len() == ENOUGH {
                        self.judge_first(prepared, table, wave, &refused).await?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(refused)
    }

    /// Writes rows into one table, or their digests after the last one.
    async fn write_some(
        &mut self,
        table: usize,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        if table < self.statements.tables.len() {
            self.upsert(table, &prepared.batch, rows).await
        } else {
            self.remember(prepared, rows).await
        }
    }
}

/// The failure of a row that the database refuses.
pub(super) fn failure(row: u32, error: &sqlx::Error) -> Failure {
    let server = of_server(error);
    let message = server.map_or_else(|| error.to_string(), said);
    Failure {
        row,
        stage: Stage::Write,
        code: format!("SQL_{}", server.map_or("XX000", |error| error.code())),
        message: head(&message, 2_000).to_owned(),
        field: server
            .and_then(|error| error.column().or_else(|| constraint_of_table(error)))
            .map(str::to_owned),
        plugin: None,
        attempt: 1,
    }
}

/// The constraint of a table that was violated; that of a domain says nothing of a column.
fn constraint_of_table(error: &PgDatabaseError) -> Option<&str> {
    error.constraint().filter(|_| error.table().is_some())
}
