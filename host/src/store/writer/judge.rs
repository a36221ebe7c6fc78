//! Judges refusals by evidence, not by their codes.
//!
//! A row is to blame if its chunk passes without it: rows of the chunk that were written in the
//! same way, new or known, are the evidence. If there are none, the table is asked itself: does it
//! refuse the statement without a row, has it changed since the run began, does it still take a row
//! that it has already? If not, no row is to blame, and the pipeline halts with nothing of the chunk
//! written. An empty table cannot answer; there a few rows refused alike are believed to be bad, and
//! more are not.
//!
//! Rows that a unique value or a reference keeps out are judged one by one: these depend on other
//! rows, and may be accepted once those are there or gone.

use sqlx::AssertSqlSafe;

use super::evidence::{ENOUGH, Manner, Reason};
use super::isolate::{Refused, failure};
use super::rollback::Rollback;
use super::rows::{Changed, ChunkWriter};
use crate::chunk::Prepared;
use crate::policy::Halted;
use crate::row::Failure;
use crate::store::{Blame, blame, catalog};

/// Number of rows of a table that are written again to see if it refuses these too: one of them may
/// be a row that it would not accept today.
const CONTROLS: i64 = 3;

/// Answer of a table.
enum Answer {
    /// It accepts rows that it has.
    Accepts,
    /// It refuses rows that it has, or any statement, or it has changed; in words.
    Refuses(String),
    /// It has no row, or refuses its rows for something else.
    Silent,
}

impl ChunkWriter<'_> {
    /// Judges the rows of a wave that tables have refused.
    ///
    /// # Errors
    /// [`Halted`] if no row is to blame.
    pub(super) async fn judge(
        &mut self,
        prepared: &Prepared,
        rows: &Changed,
        refused: &[Refused],
    ) -> Result<(), Rollback> {
        for table in 0..=self.statements.tables.len() {
            for manner in Manner::ALL {
                let is_of = |row: &u32| rows.inserts.contains(row) == (manner == Manner::New);
                let here: Vec<&Failure> = refused
                    .iter()
                    .filter(|refused| refused.table == table && is_of(&refused.failure.row))
                    .map(|refused| &refused.failure)
                    .collect();
                // A table is not given the rows that an earlier one has refused.
                let earlier = refused.iter().filter(|refused| refused.table < table);
                let earlier = earlier
                    .filter(|refused| is_of(&refused.failure.row))
                    .count();
                let given = rows.all.iter().filter(|row| is_of(row)).count() - earlier;
                if here.len() < given {
                    continue;
                }
                for (reason, alike) in by_reason(&here) {
                    self.question(prepared, table, manner, &alike, &reason)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Halts if the first rows that a table was given were all refused, and it refuses rows that it
    /// has as well: then there is no need to try the others.
    pub(super) async fn judge_first(
        &mut self,
        prepared: &Prepared,
        table: usize,
        rows: &Changed,
        first: &[Failure],
    ) -> Result<(), Rollback> {
        for manner in Manner::ALL {
            let here = first
                .iter()
                .filter(|failure| rows.inserts.contains(&failure.row) == (manner == Manner::New));
            for (reason, alike) in by_reason(&here.collect::<Vec<_>>()) {
                if let Answer::Refuses(evidence) = self.ask(table, manner, &reason).await? {
                    return Err(self.halt(prepared, table, manner, &alike, &evidence).into());
                }
            }
        }
        Ok(())
    }

    /// Halts if the table is to blame for the refusal of all its rows.
    async fn question(
        &mut self,
        prepared: &Prepared,
        table: usize,
        manner: Manner,
        refused: &[&Failure],
        reason: &Reason,
    ) -> Result<(), Rollback> {
        let evidence = match self.ask(table, manner, reason).await? {
            Answer::Accepts => return Ok(()),
            Answer::Refuses(evidence) => evidence,
            Answer::Silent => {
                let rows = self.evidence.add(table, manner, reason, refused.len());
                if rows < ENOUGH {
                    return Ok(());
                }
                format!("so were all {rows} rows so far")
            }
        };
        Err(self
            .halt(prepared, table, manner, refused, &evidence)
            .into())
    }

    fn halt(
        &self,
        prepared: &Prepared,
        table: usize,
        manner: Manner,
        refused: &[&Failure],
        evidence: &str,
    ) -> Halted {
        let name = self
            .statements
            .controls
            .get(table)
            .map(|control| &control.name);
        let name = name.map_or("forebay.row_digest", |name| name);
        let (rows, manner) = (refused.len(), manner.as_str());
        let mut message =
            format!("{name} refuses {rows} {manner} rows of a chunk alike, and accepts none");
        if let Some(first) = refused.first() {
            let state = first.code.trim_start_matches("SQL_");
            let key = prepared.batch.keys.get(first.row as usize);
            let key = key.map_or("", |key| key);
            let field = first.field.iter().map(|field| format!(" ({field})"));
            let field: String = field.collect();
            message.push_str(&format!(
                ": SQLSTATE {state}{field}: {}; for example row `{key}`",
                first.message
            ));
        }
        message.push_str(&format!(
            "; {evidence}\n  hint: no row is to blame, and none is lost: mend the table, then run again"
        ));
        Halted { message }
    }

    /// Asks a table if it would refuse any row in this way.
    async fn ask(
        &mut self,
        table: usize,
        manner: Manner,
        reason: &Reason,
    ) -> Result<Answer, Rollback> {
        let statements = self.statements;
        let Some(control) = statements.controls.get(table) else {
            return Ok(Answer::Silent);
        };
        if let Err(error) = self.try_nothing(table).await? {
            let error = failure(0, &error);
            return Ok(Answer::Refuses(format!(
                "it refuses the statement itself: {}",
                error.message
            )));
        }
        let change = catalog::change(&mut self.transaction, &control.quoted, &control.fed);
        if let Some(change) = change.await? {
            return Ok(Answer::Refuses(format!(
                "the table has changed since the run began: {change}"
            )));
        }
        let statement = match manner {
            Manner::New => Some(&control.insert),
            Manner::Known => control.update.as_ref(),
        };
        let Some(statement) = statement else {
            return Ok(Answer::Silent);
        };
        let mut answer = Answer::Silent;
        for row in 0..CONTROLS {
            match self.try_control(statement, row).await? {
                Ok(0) => break,
                Ok(_) => return Ok(Answer::Accepts),
                Err(error) if Reason::of(&failure(0, &error)) == *reason => {
                    let evidence = "a row that it has already is refused as well";
                    answer = Answer::Refuses(evidence.into());
                }
                Err(_) => {}
            }
        }
        Ok(answer)
    }

    /// Writes no row into a table: the inner result.
    async fn try_nothing(&mut self, table: usize) -> Result<Result<(), sqlx::Error>, Rollback> {
        sqlx::query("savepoint control")
            .execute(&mut *self.transaction)
            .await?;
        let tried = self.write_nothing(table).await;
        self.undo_control(tried).await
    }

    /// Writes a row again that a table has: the inner result is the number of such rows.
    async fn try_control(
        &mut self,
        statement: &str,
        row: i64,
    ) -> Result<Result<u64, sqlx::Error>, Rollback> {
        sqlx::query("savepoint control")
            .execute(&mut *self.transaction)
            .await?;
        let tried = sqlx::query(AssertSqlSafe(statement))
            .bind(row)
            .execute(&mut *self.transaction)
            .await
            .map(|done| done.rows_affected());
        self.undo_control(tried).await
    }

    async fn undo_control<T>(
        &mut self,
        tried: Result<T, sqlx::Error>,
    ) -> Result<Result<T, sqlx::Error>, Rollback> {
        match tried {
            Err(error) if blame(&error) == Blame::Server => Err(error.into()),
            tried => {
                sqlx::raw_sql("rollback to savepoint control; release savepoint control")
                    .execute(&mut *self.transaction)
                    .await?;
                Ok(tried)
            }
        }
    }
}

/// The failures by their reason, without those that are about other rows.
fn by_reason<'f>(failures: &[&'f Failure]) -> Vec<(Reason, Vec<&'f Failure>)> {
    let mut groups: Vec<(Reason, Vec<&Failure>)> = Vec::new();
    for failure in failures {
        let reason = Reason::of(failure);
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, group)) => group.push(failure),
            None if reason.is_about_others() => {}
            None => groups.push((reason, vec![failure])),
        }
    }
    groups
}
