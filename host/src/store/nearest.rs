//! The rows nearest to one of them.

use sqlx::{AssertSqlSafe, Row};

use super::connect::Store;
use super::error::StoreError;
use super::sql::{literal, quote};
use crate::route::Table;

/// A search for the rows nearest to one of them, by cosine distance.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The table.
    pub table: &'a Table,
    /// The column that identifies a row.
    pub key: &'a str,
    /// The column of the vectors.
    pub vector: &'a str,
    /// The row.
    pub of: &'a str,
    /// Maximum number of neighbours.
    pub limit: u32,
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Neighbour {
    /// Its key.
    pub key: String,
    /// Cosine distance; 0 for the same direction, 2 for the opposite one.
    pub distance: f64,
    /// Its other columns as JSON, without vectors.
    pub row: serde_json::Value,
}

impl Search<'_> {
    /// The statement, as a person would write it.
    #[must_use]
    pub fn statement(&self) -> String {
        let (table, key, vector) = (&self.table.quoted, quote(self.key), quote(self.vector));
        let of = literal(self.of).replacen('E', "", usize::from(!self.of.contains('\\')));
        format!(
            "select *, {vector} <=> (select {vector} from {table} where {key} = {of}) as distance\n\
             from {table} where {key} <> {of} order by distance limit {}",
            self.limit
        )
    }
}

impl Store {
    /// The key of a row whose vector is not null, of those with the least keys.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn any_key(
        &self,
        table: &Table,
        key: &str,
        vector: &str,
    ) -> Result<Option<String>, StoreError> {
        let (key, vector) = (quote(key), quote(vector));
        let statement = format!(
            "select {key}::text from {} where {vector} is not null order by {key} limit 1",
            table.quoted
        );
        Ok(sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_optional(&self.pool)
            .await?)
    }

    /// The rows nearest to one of them; `None` if there is no such row, or it has no vector.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn nearest(&self, search: &Search<'_>) -> Result<Option<Vec<Neighbour>>, StoreError> {
        let (table, key, vector) = (
            &search.table.quoted,
            quote(search.key),
            quote(search.vector),
        );
        let columns = &search.table.columns;
        let is_vector = |name: &&str| matches!(*name, "vector" | "halfvec" | "sparsevec" | "bit");
        let vectors: Vec<String> = columns
            .iter()
            .filter(|column| is_vector(&column.type_name.as_str()))
            .map(|column| literal(&column.name))
            .chain([literal(search.key)])
            .collect();
        let own = format!("select {vector}::text from {table} where {key}::text = $1");
        let own: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(own))
            .bind(search.of)
            .fetch_optional(&self.pool)
            .await?;
        let Some(own) = own.flatten() else {
            return Ok(None);
        };
        let kind = columns.iter().find(|column| column.name == search.vector);
        let kind = kind.map_or("vector", |column| column.type_sql.as_str());
        // The key is compared outside: the index gives one more than is wanted.
        let statement = format!(
            "select {key}::text, distance, (to_jsonb(t) - array[{}, 'distance'])::text from (
                 select *, {vector} <=> $1::{kind} as distance from {table}
                 order by {vector} <=> $1::{kind} limit $3) t
             where {key}::text <> $2 order by distance limit $3 - 1",
            vectors.join(", ")
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(own)
            .bind(search.of)
            .bind(i64::from(search.limit) + 1)
            .fetch_all(&self.pool)
            .await?;
        let neighbour = |row: &sqlx::postgres::PgRow| {
            let shown: String = row.try_get(2)?;
            Ok(Neighbour {
                key: row.try_get(0)?,
                distance: row.try_get(1)?,
                row: serde_json::from_str(&shown).unwrap_or_default(),
            })
        };
        let found: Result<_, sqlx::Error> = rows.iter().map(neighbour).collect();
        Ok(Some(found?))
    }
}
