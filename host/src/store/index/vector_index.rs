//! The vector indexes of a table, from the catalog.

use sqlx::Row;

use super::estimate::Shape;
use crate::store::connect::Store;
use crate::store::error::StoreError;

/// Rows of a table are counted up to this number, which takes some ten milliseconds; beyond it,
/// the server's estimate is used.
const COUNTED: u64 = 100_000;

/// A valid vector index, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct VectorIndex {
    pub(super) oid: i64,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// The table's schema and name, quoted for use in SQL.
    pub table: String,
    /// Parameters of its size.
    pub shape: Shape,
    /// True if the table has a row.
    pub has_rows: bool,
    /// Number of rows of the table: counted, or else estimated by the server.
    pub rows: u64,
    /// True if neither the table nor the index is partitioned or belongs to a constraint.
    pub plain: bool,
    /// True if the role may drop and create it.
    pub owned: bool,
    /// True if the role may change the catalog.
    pub superuser: bool,
}

impl Store {
    /// The valid vector indexes of a table.
    ///
    /// # Errors
    /// Fails if the database cannot be queried.
    pub async fn vector_indexes(&self, table: &str) -> Result<Vec<VectorIndex>, StoreError> {
        let rows = sqlx::query(
            "select i.indexrelid::bigint, format('%I.%I', n.nspname, ic.relname), m.amname::text,
                    t.typname::text, a.atttypmod,
                    (select option_value from pg_options_to_table(ic.reloptions)
                     where option_name = case m.amname when 'hnsw' then 'm' else 'lists' end),
                    c.reltuples::float8,
                    c.relkind = 'r' and not ic.relispartition
                        and not exists (select from pg_constraint where conindid = ic.oid),
                    pg_has_role(c.relowner, 'USAGE') and has_schema_privilege(n.oid, 'CREATE'),
                    has_table_privilege('pg_catalog.pg_index', 'UPDATE')
             from pg_index i
             join pg_class ic on ic.oid = i.indexrelid
             join pg_class c on c.oid = i.indrelid
             join pg_namespace n on n.oid = ic.relnamespace
             join pg_am m on m.oid = ic.relam
             join pg_attribute a on a.attrelid = i.indexrelid and a.attnum = 1
             join pg_type t on t.oid = a.atttypid
             where i.indrelid = $1::regclass and m.amname in ('hnsw', 'ivfflat')
               and i.indisvalid and i.indislive
             order by ic.relname",
        )
        .bind(table)
        .fetch_all(&self.pool)
        .await?;
        let mut found = Vec::new();
        for row in rows {
            let (method, column, modifier): (String, String, i32) =
                (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            let parameter: Option<String> = row.try_get(5)?;
            let estimated: f64 = row.try_get(6)?;
            found.push(VectorIndex {
                oid: row.try_get(0)?,
                quoted: row.try_get(1)?,
                table: table.to_owned(),
                shape: Shape::new(&method, &column, modifier, parameter.as_deref()),
                has_rows: false,
                rows: estimated.max(0.0) as u64,
                plain: row.try_get(7)?,
                owned: row.try_get(8)?,
                superuser: row.try_get(9)?,
            });
        }
        if found.is_empty() {
            return Ok(found);
        }
        let (has_rows, counted) = self.count(table).await?;
        for index in &mut found {
            index.has_rows = has_rows;
            // A count below the limit is exact.
            let at_least = counted == COUNTED;
            index.rows = if at_least {
                index.rows.max(counted)
            } else {
                counted
            };
        }
        Ok(found)
    }

    /// Counts the rows of a table up to [`COUNTED`]; also returns true if it has any.
    async fn count(&self, table: &str) -> Result<(bool, u64), StoreError> {
        let count = format!("select count(*) from (select from {table} limit {COUNTED}) t");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .fetch_one(&self.pool)
            .await?;
        Ok((rows > 0, rows.unsigned_abs()))
    }
}
