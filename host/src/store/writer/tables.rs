//! Writes rows into one table, and looks for those that the server did not write.
//!
//! A trigger that returns null keeps a row out of its table, or as it was, and so does a policy
//! that hides it; the server raises no error. It only counts fewer rows. Where it does, or where
//! the table has such a trigger or policy, the server is asked which rows are missing.

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;

use super::rows::ChunkWriter;
use super::wave::Changed;
use crate::failpoints;
use crate::row::Batch;
use crate::store::copy::copy;
use crate::store::encode::{ArrayParam, Column};
use crate::store::statements::TableStatements;

impl ChunkWriter<'_> {
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
    pub(super) async fn copy(
        &mut self,
        table: usize,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        let statements = self.statements;
        let Some(statements) = statements.tables.get(table).filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let Some(plan) = &statements.copy else {
            return self.upsert(table, batch, rows).await;
        };
        let leaves_out = |row: &u32| {
            let mut omits = statements.omits.iter();
            omits.any(|field| batch.is_left_out(*row, *field))
        };
        let (inserted, copied): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| leaves_out(row));
        let rows = copied.as_slice();
        self.upsert(table, batch, &inserted).await?;
        self.outcomes.begin(rows);
        let copied = copy(&mut self.transaction, plan, batch, rows, self.buffer).await?;
        if copied.written < copied.sent || statements.guarded {
            let written = plan.list.is_none().then_some(copied.written);
            self.find_missing(statements, batch, rows, written).await?;
        }
        Ok(())
    }

    /// Writes rows into one table, known or new.
    pub(super) async fn upsert(
        &mut self,
        table: usize,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        let statements = self.statements;
        let Some(statements) = statements.tables.get(table).filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        self.outcomes.begin(rows);
        if statements.insert.is_none() {
            return self.write_items(statements, batch, rows).await;
        }
        let (present, absent) = self.outcomes.split(table, rows);
        self.change(statements, batch, &present).await?;
        self.insert(statements, batch, &absent).await
    }

    /// Runs the statements of one table without a row: one that is refused then is refused for any.
    pub(super) async fn write_nothing(&mut self, table: usize) -> Result<(), sqlx::Error> {
        let Some(statements) = self.statements.tables.get(table) else {
            return Ok(());
        };
        let batch = Batch::default();
        for statement in statements.change.iter().chain(&statements.insert) {
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(statement)));
            for column in &statements.parameters {
                query = query.bind(ArrayParam {
                    batch: &batch,
                    rows: &[],
                    column: *column,
                });
            }
            query.execute(&mut *self.transaction).await?;
        }
        Ok(())
    }

    /// Changes rows that are there.
    async fn change(
        &mut self,
        statements: &TableStatements,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        let mut rest = rows.to_vec();
        for statement in statements.change.iter().filter(|_| !rows.is_empty()) {
            let columns = &statements.parameters;
            let changed = self.rows_of(statement, columns, batch, rows).await?;
            rest.retain(|row| changed.binary_search(row).is_err());
            self.outcomes.touch(changed);
        }
        if !rest.is_empty() {
            // Equal, or deleted since they were looked up.
            let keys = statements.parameters.get(..statements.keys);
            let keys = keys.unwrap_or_default();
            let gone = self
                .rows_of(&statements.missing, keys, batch, &rest)
                .await?;
            rest.retain(|row| gone.binary_search(row).is_err());
            self.insert(statements, batch, &gone).await?;
            self.outcomes.touch(gone);
        }
        let differing = statements.differing.as_ref();
        if let Some(differing) = differing.filter(|_| statements.guarded && !rest.is_empty()) {
            let columns = &statements.parameters;
            let swallowed = self.rows_of(differing, columns, batch, &rest).await?;
            self.outcomes.swallow(swallowed);
        }
        Ok(())
    }

    /// Inserts rows that are not there.
    async fn insert(
        &mut self,
        statements: &TableStatements,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        let Some(insert) = statements.insert.as_ref().filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(insert)));
        for column in &statements.parameters {
            query = query.bind(ArrayParam {
                batch,
                rows,
                column: *column,
            });
        }
        let written = query.execute(&mut *self.transaction).await?.rows_affected();
        self.outcomes.touch(rows.iter().copied());
        if written < rows.len() as u64 || statements.guarded {
            self.find_missing(statements, batch, rows, Some(written))
                .await?;
        }
        Ok(())
    }

    /// Makes the items of lists equal to the lists.
    async fn write_items(
        &mut self,
        statements: &TableStatements,
        batch: &Batch,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        for statement in &statements.change {
            let columns = &statements.parameters;
            let changed = self.rows_of(statement, columns, batch, rows).await?;
            self.outcomes.touch(changed);
        }
        if statements.guarded {
            self.find_missing(statements, batch, rows, None).await?;
        }
        Ok(())
    }

    /// Finds rows, or rows with items, that are not there after they were written. If the server
    /// counted one of them among `written` rows, it is there under another key: an error.
    async fn find_missing(
        &mut self,
        statements: &TableStatements,
        batch: &Batch,
        rows: &[u32],
        written: Option<u64>,
    ) -> Result<(), sqlx::Error> {
        let columns = statements.parameters.get(..statements.keys);
        let columns = columns.unwrap_or_default();
        let missing = self
            .rows_of(&statements.missing, columns, batch, rows)
            .await?;
        let accounted = written.unwrap_or_default() + missing.len() as u64;
        if written.is_some() && accounted > rows.len() as u64 {
            let raise = sqlx::raw_sql(AssertSqlSafe(Arc::clone(&statements.unfound)));
            raise.execute(&mut *self.transaction).await?;
        }
        self.outcomes.swallow(missing);
        Ok(())
    }

    /// The rows whose positions a statement returns, in their order.
    async fn rows_of(
        &mut self,
        statement: &Arc<str>,
        columns: &[Column],
        batch: &Batch,
        rows: &[u32],
    ) -> Result<Vec<u32>, sqlx::Error> {
        let mut query: QueryScalar<'_, Postgres, Option<Vec<i64>>, PgArguments> =
            sqlx::query_scalar(AssertSqlSafe(Arc::clone(statement)));
        for column in columns {
            query = query.bind(ArrayParam {
                batch,
                rows,
                column: *column,
            });
        }
        let positions = query.fetch_one(&mut *self.transaction).await?;
        let row = |position: i64| rows.get(usize::try_from(position - 1).ok()?).copied();
        let positions = positions.unwrap_or_default().into_iter();
        let mut found: Vec<u32> = positions.filter_map(row).collect();
        found.sort_unstable();
        Ok(found)
    }
}
