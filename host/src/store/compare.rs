//! Compares prepared rows with what the tables have, for `forebay verify`. Only reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, SqlStr};

use super::by_key::ByKey;
use super::encode::ArrayParam;
use super::run::Run;
use super::statements::{Comparison, comparisons};
use super::{Blame, Store, StoreError, blame, digest, settings};
use crate::route::Targets;
use crate::route::absent::FLAGGED;
use crate::row::Batch;

/// Compares rows with the tables of a pipeline.
#[derive(Debug)]
pub struct Comparer {
    store: Store,
    begin: SqlStr,
    comparisons: Vec<Comparison>,
    /// The tables that each kind of rows concerns, if there are several.
    kinds: Vec<Vec<bool>>,
    find: ByKey,
}

/// A row that one table has not got, or has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Index of the row in its batch.
    pub row: u32,
    /// Index of the table in the targets.
    pub table: usize,
    /// True if the table has the row.
    pub found: bool,
    /// Indices of the columns that differ, as in [`Comparer::columns`].
    pub columns: Vec<usize>,
}

/// Outcome of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    /// In the order of the tables within each part of the rows.
    pub differences: Vec<Difference>,
    /// Rows that the server cannot compare, since no column could hold one of their values.
    pub refused: Vec<u32>,
}

/// For each table of a pipeline, whether a kind of rows concerns it.
fn tables_of(all: &Targets, kind: &Targets) -> Vec<bool> {
    let tables = all.tables.iter().map(|target| &target.table.quoted);
    let concerns = |table: &String| kind.tables.iter().any(|it| it.table.quoted == *table);
    tables.map(concerns).collect()
}

impl Comparer {
    /// Makes the statements for these tables.
    #[must_use]
    pub fn new(store: &Store, targets: &Targets) -> Self {
        Self {
            store: store.clone(),
            begin: settings::begin(store, targets),
            comparisons: comparisons(targets),
            kinds: targets
                .kinds
                .iter()
                .map(|kind| tables_of(targets, kind))
                .collect(),
            find: ByKey::find(targets),
        }
    }

    /// Names of the columns of a table that are compared.
    pub fn columns(&self, table: usize) -> &[String] {
        let comparison = self.comparisons.get(table);
        comparison.map_or(&[], |comparison| &comparison.columns)
    }

    /// Compares rows of a batch. No key may be among them twice. A row with a value that its
    /// column cannot hold is found by halving.
    ///
    /// # Errors
    /// If a query fails for another reason.
    pub async fn compare(
        &self,
        batch: &Batch,
        rows: &[u32],
        kind: usize,
    ) -> Result<Compared, StoreError> {
        let mut compared = Compared::default();
        let mut parts = vec![rows];
        while let Some(part) = parts.pop().filter(|_| !rows.is_empty()) {
            match self.compare_part(batch, part, kind).await {
                Ok(differences) => compared.differences.extend(differences),
                Err(error) if blame(&error) == Blame::Refusal => {
                    if part.len() == rows.len() {
                        // What is refused without a row as well is refused for any.
                        self.compare_part(batch, &[], kind).await?;
                    }
                    match part {
                        [row] => compared.refused.push(*row),
                        _ => {
                            let (left, right) = part.split_at(part.len() / 2);
                            parts.extend([right, left]);
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(compared)
    }

    async fn compare_part(
        &self,
        batch: &Batch,
        rows: &[u32],
        kind: usize,
    ) -> Result<Vec<Difference>, sqlx::Error> {
        let mut transaction = self.store.pool.begin_with(self.begin.clone()).await?;
        let mut differences = Vec::new();
        let concerned = self.kinds.get(kind);
        let concerns = |table| concerned.is_none_or(|it| it.get(table) == Some(&true));
        let comparisons = self.comparisons.iter().enumerate();
        for (table, comparison) in comparisons.filter(|(table, _)| concerns(*table)) {
            let statement = AssertSqlSafe(Arc::clone(&comparison.statement));
            let mut query = sqlx::query_as(statement);
            for column in &comparison.parameters {
                query = query.bind(ArrayParam {
                    batch,
                    rows,
                    column: *column,
                });
            }
            let found: Vec<(i64, bool, Vec<i32>)> = query.fetch_all(&mut *transaction).await?;
            differences.extend(found.into_iter().filter_map(|(number, found, columns)| {
                let index = usize::try_from(number - 1).ok()?;
                let columns = columns.into_iter();
                Some(Difference {
                    row: *rows.get(index)?,
                    table,
                    found,
                    columns: columns.filter_map(|it| usize::try_from(it).ok()).collect(),
                })
            }));
        }
        transaction.commit().await?;
        Ok(differences)
    }

    /// Indices of the keys that some table has.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn present(&self, keys: &[&str]) -> Result<BTreeSet<usize>, StoreError> {
        let mut transaction = self.store.pool.begin_with(self.begin.clone()).await?;
        let found = self.find.apply(&mut transaction, keys).await?;
        transaction.commit().await?;
        Ok(found)
    }
}

impl Store {
    /// Gives `each` the keys of the rows that a pipeline has written and has not flagged.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn known_keys(
        &self,
        pipeline: &str,
        each: impl FnMut(String),
    ) -> Result<(), StoreError> {
        let keys = sqlx::query_scalar(
            "select coalesce(d.key, d.id::text) from forebay.digest d join forebay.pipeline p on p.id = d.pipeline
             where p.name = $1 and d.digest <> $2",
        );
        self.keys(keys.bind(pipeline).bind(FLAGGED), each).await
    }

    /// Gives `each` the keys of open dead letters that the database or a column has refused.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn refused_keys(
        &self,
        pipeline: &str,
        each: impl FnMut(String),
    ) -> Result<(), StoreError> {
        let keys = sqlx::query_scalar(
            "select d.key from forebay.dead_letter d join forebay.pipeline p on p.id = d.pipeline
             where p.name = $1 and d.status = 'open' and d.stage = 'write' and d.key is not null",
        );
        self.keys(keys.bind(pipeline), each).await
    }

    async fn keys(
        &self,
        query: sqlx::query::QueryScalar<'_, sqlx::Postgres, String, sqlx::postgres::PgArguments>,
        mut each: impl FnMut(String),
    ) -> Result<(), StoreError> {
        let mut keys = query.fetch(&self.pool);
        while let Some(key) = keys.try_next().await? {
            each(key);
        }
        Ok(())
    }

    /// Makes the writer write rows again that are as they were: what is known of them is not
    /// believed.
    ///
    /// # Errors
    /// If the statement fails.
    pub(crate) async fn doubt(&self, pipeline: i32, keys: &[&str]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        digest::set_all(&mut transaction, pipeline, keys, DOUBTED).await?;
        Ok(transaction.commit().await?)
    }

    /// Number of dead letters of a run whose rows are in the tables as an earlier run has written them.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn stale_rows(&self, run: &Run) -> Result<u64, StoreError> {
        let rows: i64 = sqlx::query_scalar(concat!(
            "select count(distinct d.key) from (select key, ",
            digest::id_of_key!(),
            " as id from forebay.dead_letter
                 where pipeline = $1 and run = $2 and status = 'open' and key is not null) d
             join forebay.digest r on r.pipeline = $1 and r.id = d.id and (r.key is null or r.key = d.key collate \"C\")
             where r.digest <> $3"
        ))
        .bind(run.pipeline)
        .bind(run.id)
        .bind(FLAGGED)
        .fetch_one(&self.pool)
        .await?;
        Ok(rows.unsigned_abs())
    }

    /// Number of rows that the plugins dropped in the pipeline's last run although an earlier run has
    /// written them.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn dropped_known(&self, pipeline: &str) -> Result<u64, StoreError> {
        let rows: Option<i64> = sqlx::query_scalar(
            "select r.dropped_known from forebay.run r join forebay.pipeline p on p.id = r.pipeline
             where p.name = $1 and r.starts > 0 order by r.started_at desc, r.id desc limit 1",
        )
        .bind(pipeline)
        .fetch_optional(&self.pool)
        .await?;
        Ok(rows.unwrap_or_default().unsigned_abs())
    }

    /// Status of the pipeline's unfinished run, which the next start continues.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn unfinished(&self, pipeline: &str) -> Result<Option<String>, StoreError> {
        let status = sqlx::query_scalar(
            "select r.status from forebay.run r join forebay.pipeline p on p.id = r.pipeline
             where p.name = $1 and r.status in ('running', 'failed', 'halted', 'interrupted')
               and exists (select from forebay.checkpoint c where c.pipeline = p.id and c.run = r.id)
             order by r.started_at desc, r.id desc limit 1",
        );
        Ok(status.bind(pipeline).fetch_optional(&self.pool).await?)
    }
}

/// Digest of a row that is not believed to be as it was written: it equals no row's digest.
pub(super) const DOUBTED: uuid::Uuid = uuid::Uuid::max();
