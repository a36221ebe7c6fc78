//! Finds the rows that the database refuses, in savepoints, and keeps the others.

use sqlx::postgres::PgDatabaseError;

use super::evidence::ENOUGH;
use super::rollback::Rollback;
use super::rows::{Changed, ChunkWriter, Known};
use crate::chunk::Prepared;
use crate::plugin::head;
use crate::row::{Failure, Stage};
use crate::store::halving::{Halving, REFERENCE_ROUNDS};
use crate::store::message::{of_server, said};
use crate::store::{Blame, blame};

/// Maximum number of refused rows of a chunk that are found by the lines that `COPY` names. Each
/// costs a `COPY` of all rows before it; halving costs twice the logarithm of all rows.
const NAMED_ROUNDS: usize = 8;

/// A row that a table refuses, by the table's index; the digests come after the tables.
pub(super) struct Refused {
    pub table: usize,
    pub failure: Failure,
}

impl ChunkWriter<'_> {
    /// Writes all rows except those that the database refuses, and returns these. A row that one
    /// table refuses belongs in none: if an earlier table has it already, everything is written
    /// again without it.
    pub(super) async fn write_isolated(
        &mut self,
        prepared: &Prepared,
        mut rows: Changed,
    ) -> Result<Vec<Refused>, Rollback> {
        let mut refused = Vec::new();
        'again: loop {
            sqlx::query("savepoint wave")
                .execute(&mut *self.transaction)
                .await?;
            // After the tables come the digests, whose index may not take a key that a table takes.
            for table in 0..=self.statements.tables.len() {
                let guilty = self.isolate(table, prepared, &rows).await?;
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
                    sqlx::query("rollback to savepoint wave")
                        .execute(&mut *self.transaction)
                        .await?;
                    continue 'again;
                }
            }
            break;
        }
        sqlx::query("release savepoint wave")
            .execute(&mut *self.transaction)
            .await?;
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
        rows: &Changed,
    ) -> Result<Vec<Failure>, Rollback> {
        let batch = &prepared.batch;
        let mut refused = Vec::new();
        let mut rest = rows.clone();
        // Most tables refuse nothing, so all rows are tried at once first. An error of `COPY`
        // names its line, which saves the search if only a few rows are to blame.
        for _ in 0..NAMED_ROUNDS {
            let error = match self.try_table(table, prepared, &rest).await? {
                Ok(()) => return self.write_in_turn(table, prepared, rows, refused).await,
                Err(error) => error,
            };
            let copy = self
                .statements
                .tables
                .get(table)
                .and_then(|table| table.copy.as_ref());
            let Some(row) = named_line(&error)
                .zip(copy)
                .and_then(|(line, copy)| copy.row_of_line(line, batch, &rest.new))
            else {
                break;
            };
            sqlx::query("savepoint alone")
                .execute(&mut *self.transaction)
                .await?;
            let guilty = self.halve(table, prepared, rows, &[row]).await?;
            if guilty.is_empty() {
                // It was only there already. Rows have to be written in their order, so it is
                // undone, and all rows are upserted.
                sqlx::query("rollback to savepoint alone")
                    .execute(&mut *self.transaction)
                    .await?;
                break;
            }
            sqlx::query("release savepoint alone")
                .execute(&mut *self.transaction)
                .await?;
            refused.extend(guilty);
            rest.remove(row);
        }
        refused.extend(self.search(table, prepared, &rest).await?);
        let mut refused = self.write_in_turn(table, prepared, rows, refused).await?;
        refused.sort_unstable_by_key(|failure| failure.row);
        Ok(refused)
    }

    /// Writes rows into one table by halving, except for those that it refuses. If rows of a table
    /// refer to each other, a row may have been refused because of one that was written only after
    /// it: it is tried again.
    pub(super) async fn search(
        &mut self,
        table: usize,
        prepared: &Prepared,
        rows: &Changed,
    ) -> Result<Vec<Failure>, Rollback> {
        let mut refused = self.halve(table, prepared, rows, &rows.all).await?;
        for _ in 0..REFERENCE_ROUNDS {
            let lacks_reference = |failure: &Failure| failure.code == "SQL_23503";
            let (lacking, guilty): (Vec<_>, Vec<_>) =
                refused.into_iter().partition(lacks_reference);
            let again: Vec<u32> = lacking.iter().map(|failure| failure.row).collect();
            refused = guilty;
            if again.len() == rows.all.len() || again.is_empty() {
                refused.extend(lacking);
                break;
            }
            let still = self.halve(table, prepared, rows, &again).await?;
            let no_progress = still.len() == again.len();
            refused.extend(still);
            if no_progress {
                break;
            }
        }
        Ok(refused)
    }

    /// Writes rows into one table in the fastest way. If a row is to blame for an error, that is
    /// the inner result, and nothing is written.
    async fn try_table(
        &mut self,
        table: usize,
        prepared: &Prepared,
        rows: &Changed,
    ) -> Result<Result<(), sqlx::Error>, Rollback> {
        sqlx::query("savepoint written")
            .execute(&mut *self.transaction)
            .await?;
        let written = self.write_step(table, prepared, rows).await;
        let end = match &written {
            Ok(()) => "release savepoint written",
            Err(error) if blame(error) == Blame::Refusal => "rollback to savepoint written",
            Err(_) => return Err(written.err().map_or(Rollback::Row, Rollback::from)),
        };
        sqlx::query(end).execute(&mut *self.transaction).await?;
        Ok(written)
    }

    /// Writes some of a wave's rows into one table, halving them until those that it refuses are
    /// alone. If the first of them are all refused, the table is asked at once.
    async fn halve(
        &mut self,
        table: usize,
        prepared: &Prepared,
        wave: &Changed,
        rows: &[u32],
    ) -> Result<Vec<Failure>, Rollback> {
        let mut refused = Vec::new();
        let mut kept = false;
        let mut halving = Halving::of_halves(&mut self.transaction, rows).await?;
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

    /// The same for a wave, in the fastest way.
    async fn write_step(
        &mut self,
        table: usize,
        prepared: &Prepared,
        rows: &Changed,
    ) -> Result<(), sqlx::Error> {
        if table < self.statements.tables.len() {
            self.write_table(table, &prepared.batch, rows).await
        } else {
            self.remember(prepared, &rows.all).await
        }
    }
}

/// The line of a `COPY` that an error is about, from 1 on; `None` if the server's messages are not
/// in English.
fn named_line(error: &sqlx::Error) -> Option<usize> {
    let error = error
        .as_database_error()?
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    let (_, line) = error.r#where()?.split_once(", line ")?;
    let digits = line.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|line| *line > 0)
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
