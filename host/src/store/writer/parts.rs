//! Copies rows in parts, and finds those that are refused by the lines that `COPY` names.
//!
//! A refused `COPY` keeps nothing, so it is made again without the row that it has named. The more
//! rows a table has refused lately, the smaller are the parts, and the fewer rows are sent again for
//! each refused one.

use std::collections::HashSet;

use super::evidence::ENOUGH;
use super::isolate::failure;
use super::rollback::Rollback;
use super::rows::ChunkWriter;
use super::wave::Changed;
use crate::chunk::Prepared;
use crate::failpoints;
use crate::row::Failure;
use crate::store::message::of_server;
use crate::store::{Blame, blame};

/// Minimum number of rows of a part: the round trips of smaller ones would cost more than rows that
/// are sent again.
const LEAST: usize = 8;

impl ChunkWriter<'_> {
    /// Copies the new rows of a wave into one table, and adds those that it refuses to `refused`.
    /// Returns rows that are to be written in another way, and were not written: rows that cannot be
    /// copied, and the rest after a refusal of which `COPY` does not tell the row.
    pub(super) async fn copy_in_parts(
        &mut self,
        table: usize,
        prepared: &Prepared,
        wave: &Changed,
        refused: &mut Vec<Failure>,
    ) -> Result<Vec<u32>, Rollback> {
        let (mut left, rows) = self.not_copied(table, prepared, &wave.new);
        let parts = self.evidence.parts().clone();
        let mut size = parts.size(table);
        let (mut at, mut kept) = (0, !wave.known.is_empty());
        let mut out = HashSet::new();
        while let Some(rest) = rows.get(at..).filter(|rest| !rest.is_empty()) {
            let end = at + size.min(rest.len());
            let part = rest.iter().take(end - at);
            let part: Vec<u32> = part.filter(|row| !out.contains(*row)).copied().collect();
            if part.is_empty() {
                at = end;
                continue;
            }
            let error = match self.copy_part(table, prepared, &part).await {
                Ok(()) => {
                    self.keep_part().await?;
                    (at, kept, size) = (end, true, size.saturating_mul(2));
                    continue;
                }
                Err(error) if blame(&error) == Blame::Refusal => error,
                Err(error) => return Err(error.into()),
            };
            sqlx::query("rollback to savepoint part")
                .execute(&mut *self.transaction)
                .await?;
            size = (part.len() / 2).max(LEAST);
            let Some(row) = self.named(table, prepared, &part, &error).await? else {
                left.extend(rest.iter().filter(|row| !out.contains(*row)));
                break;
            };
            out.insert(row);
            refused.push(failure(row, &error));
            if !kept && refused.len() == ENOUGH {
                self.judge_first(prepared, table, wave, refused).await?;
            }
        }
        parts.set_size(table, size);
        Ok(left)
    }

    /// Rows that cannot be copied, and the others.
    fn not_copied(&self, table: usize, prepared: &Prepared, rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let Some(statements) = self.statements.tables.get(table) else {
            return (Vec::new(), rows.to_vec());
        };
        if statements.copy.is_none() {
            return (rows.to_vec(), Vec::new());
        }
        let leaves_out = |row: &u32| {
            let mut omits = statements.omits.iter();
            omits.any(|field| prepared.batch.is_left_out(*row, *field))
        };
        rows.iter().partition(|row| leaves_out(row))
    }

    /// Copies rows into one table, or their digests after the last one.
    async fn copy_part(
        &mut self,
        table: usize,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        if table == self.statements.tables.len() {
            return self.remember_new(prepared, rows).await;
        }
        self.copy(table, &prepared.batch, rows).await?;
        failpoints::point!("write.table");
        Ok(())
    }

    /// The row that is to blame for the error of a `COPY`. `None` if that is not certain.
    async fn named(
        &mut self,
        table: usize,
        prepared: &Prepared,
        rows: &[u32],
        error: &sqlx::Error,
    ) -> Result<Option<u32>, Rollback> {
        let statements = self.statements.tables.get(table);
        let copy = statements.and_then(|table| table.copy.as_ref());
        let Some((copy, server)) = copy.zip(of_server(error)) else {
            return Ok(None);
        };
        let line = server
            .r#where()
            .and_then(|context| line_of(context, &copy.relation));
        let row = line.and_then(|line| copy.row_of_line(line, &prepared.batch, rows));
        let Some(row) = row else { return Ok(None) };
        let is_certain = match server.code() {
            // A row that was there already under its key is not refused.
            "23505" => {
                let indexes = self.unique_indexes(table).await?;
                let constraint = server.constraint();
                indexes.iter().any(|index| Some(&*index.name) == constraint)
            }
            // Rows are stored some at a time, and one that is too large is not named.
            code => !code.starts_with("54") && !code.starts_with("XX"),
        };
        Ok(is_certain.then_some(row))
    }
}

/// The line of a `COPY` that an error is about, from 1 on, by the context of the error; `None` if the
/// server's messages are not in English. Inner contexts come first, and may have lines of their own:
/// those of a function, or of a JSON document.
fn line_of(context: &str, relation: &str) -> Option<usize> {
    let copy = context.lines().last()?.strip_prefix("COPY ")?;
    let line = copy.strip_prefix(relation)?.strip_prefix(", line ")?;
    let digits = line.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|line| *line > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_copy() {
        for (context, relation, line) in [
            ("COPY docs, line 7", "docs", Some(7)),
            (
                "COPY docs, line 7, column body: \"a, line 9\"",
                "docs",
                Some(7),
            ),
            (
                "JSON data, line 1: \"\\u0000\nCOPY docs, line 61, column body",
                "docs",
                Some(61),
            ),
            (
                "PL/pgSQL function f() line 3 at RAISE\nCOPY docs, line 2",
                "docs",
                Some(2),
            ),
            ("COPY a, line 5, line 8", "a, line 5", Some(8)),
            ("COPY others, line 2", "docs", None),
            ("COPY docs, Zeile 7", "docs", None),
            ("COPY docs, line 0", "docs", None),
            (
                "COPY docs, line 7\nSQL function \"f\" statement 1",
                "docs",
                None,
            ),
            ("", "docs", None),
        ] {
            assert_eq!(line_of(context, relation), line, "{context}");
        }
    }
}
