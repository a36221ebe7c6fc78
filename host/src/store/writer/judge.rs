//! Judges refusals by evidence, not by their codes.
//!
//! A row is to blame if its chunk passes without it: rows of the chunk that were written in the
//! same way, new or known, are the evidence. If there are none, the table is asked itself: does it
//! refuse the statement without a row, has it changed since the run began, does it still take a row
//! that it has already? If not, no row is to blame, and the pipeline halts with nothing of the chunk
//! written. An empty table cannot answer; there a few rows refused alike are believed to be bad, and
//! more are not.
//!
//! Rows that a unique value or a reference keeps out may be accepted once other rows are there or
//! gone: for them only a table that refuses its own rows alike is to blame, as with a sequence that
//! is behind its rows.

use sqlx::AssertSqlSafe;

use super::evidence::{ENOUGH, Manner, Reason, add};
use super::isolate::failure;
use super::rollback::Rollback;
use super::rows::ChunkWriter;
use super::wave::{Changed, Refused};
use crate::chunk::Prepared;
use crate::policy::Halted;
use crate::row::Failure;
use crate::store::{Blame, blame, catalog};

/// Number of rows at each end of a table that are written again to see if it refuses these too: some
/// of them may be rows that it would not accept today.
const CONTROLS: i64 = 2;

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
        if refused.is_empty() {
            return Ok(());
        }
        for table in 0..=self.statements.tables.len() {
            for manner in Manner::WRITTEN {
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

    /// Halts if the first rows that a table was given were all refused, and it would refuse any
    /// statement: then there is no need to try the others.
    pub(super) async fn judge_first(
        &mut self,
        prepared: &Prepared,
        table: usize,
        rows: &Changed,
        first: &[Failure],
    ) -> Result<(), Rollback> {
        let Some(Answer::Refuses(evidence)) = self.ask_table(table, Manner::New).await? else {
            return Ok(());
        };
        let is_new = |failure: &Failure| rows.inserts.contains(&failure.row);
        let manner = match first.iter().all(is_new) {
            true => Manner::New,
            false => Manner::Known,
        };
        let first: Vec<&Failure> = first.iter().collect();
        Err(self.halt(prepared, table, manner, &first, &evidence).into())
    }

    /// Judges the tombstones of a wave of which none was carried out.
    ///
    /// # Errors
    /// [`Halted`] if a table would not let any row go.
    pub(super) async fn judge_tombstones(
        &mut self,
        prepared: &Prepared,
        refused: &[Failure],
    ) -> Result<(), Rollback> {
        let manner = Manner::Deleted;
        let groups = by_reason(&refused.iter().collect::<Vec<_>>());
        // A row that others refer to is judged alone.
        for (reason, alike) in groups.into_iter().filter(|(it, _)| !it.is_about_others()) {
            for table in 0..self.statements.tables.len() {
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
                // What waits for other rows may be accepted later.
                if reason.is_about_others() {
                    return Ok(());
                }
                let believed = (table, manner, reason.clone());
                let rows = self.evidence.count(&believed)
                    + add(&mut self.believed, believed, refused.len());
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
        let name = name.map_or("forebay.digest", |name| name);
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
        if let Some(answer) = self.ask_table(table, manner).await? {
            return Ok(answer);
        }
        let statements = self.statements;
        let control = statements.controls.get(table);
        let mut answer = Answer::Silent;
        for end in control.iter().flat_map(|control| &control.ends) {
            let statement = match manner {
                Manner::New => Some(&end.insert),
                Manner::Known => end.update.as_ref(),
                Manner::Deleted => Some(&end.delete),
            };
            let Some(statement) = statement else { break };
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
        }
        Ok(answer)
    }

    /// Asks a table if it would refuse any statement, or has changed.
    async fn ask_table(
        &mut self,
        table: usize,
        manner: Manner,
    ) -> Result<Option<Answer>, Rollback> {
        let statements = self.statements;
        let Some(control) = statements.controls.get(table) else {
            return Ok(None);
        };
        let tried = match manner {
            Manner::New | Manner::Known => self.try_nothing(table).await?,
            Manner::Deleted => Ok(()),
        };
        if let Err(error) = tried {
            let error = failure(0, &error);
            return Ok(Some(Answer::Refuses(format!(
                "it refuses the statement itself: {}",
                error.message
            ))));
        }
        let change = catalog::change(&mut self.transaction, &control.quoted, &control.fed);
        Ok(change.await?.map(|change| {
            Answer::Refuses(format!(
                "the table has changed since the run began: {change}"
            ))
        }))
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

/// The failures by their reason.
fn by_reason<'f>(failures: &[&'f Failure]) -> Vec<(Reason, Vec<&'f Failure>)> {
    let mut groups: Vec<(Reason, Vec<&Failure>)> = Vec::new();
    for failure in failures {
        let reason = Reason::of(failure);
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, group)) => group.push(failure),
            None => groups.push((reason, vec![failure])),
        }
    }
    groups
}
