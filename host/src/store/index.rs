//! Vector indexes of the target tables: how a load gets by without them, and how they come back.
//!
//! Every new row of a table with an HNSW index costs a search of its graph, some milliseconds.
//! Built at once, the same graph takes a fraction of that. So an index can be taken away before a
//! load ([`take`]) and put back after it ([`finish`]), in one of two manners:
//!
//! - *defer* drops it. Searches are without it until it is built.
//! - *rebuild* marks it as not ready (`pg_index.indisready`), and leaves it valid: the server no
//!   longer enters new row versions, and searches go on using it. `REINDEX CONCURRENTLY` builds a
//!   successor and swaps the two. Meanwhile VACUUM skips the index, and must not free the line
//!   pointers that it still holds, which would then lead to other rows: the table's
//!   `vacuum_index_cleanup` is off until the index is back. That is a storage parameter, which
//!   outlives a host that dies, and automatic and manual VACUUM heed it.
//!
//! What always holds: the note in `forebay.index_work` is written by the transaction that takes
//! the index away, and removed only when it is there again. Several runs may load while an index
//! is away; it is put back by the last of them.
//!
//! What bounds it: building takes at most the memory that the configuration allows, or the
//! server's own `maintenance_work_mem` where that is more, and as many workers as the server's
//! `max_parallel_maintenance_workers` says.

pub mod build;
pub mod estimate;
pub mod restore;
pub mod suspend;

use sqlx::Row;
use uuid::Uuid;

use super::{Store, StoreError};

/// Rows of a table are counted up to here, which takes some ten milliseconds; beyond, the server
/// is asked for its estimate.
const COUNTED: u64 = 100_000;

/// How an index is taken out of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Dropped.
    Defer,
    /// Left to searches as it is.
    Rebuild,
}

impl Manner {
    /// As in `forebay.index_work`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Defer => "defer",
            Self::Rebuild => "rebuild",
        }
    }

    fn parse(text: &str) -> Self {
        if text == "rebuild" {
            Self::Rebuild
        } else {
            Self::Defer
        }
    }
}

/// A valid vector index, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct VectorIndex {
    oid: i64,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// The table's schema and name, quoted for use in SQL.
    pub table: String,
    /// How large it will be.
    pub shape: estimate::Shape,
    /// Whether the table has a row.
    pub has_rows: bool,
    /// Rows of the table, as the server estimates them.
    pub rows: u64,
    /// Whether it belongs to a table and an index that are not partitioned.
    pub plain: bool,
    /// Whether the role may drop and create it.
    pub owned: bool,
    /// Whether the role may change the catalog.
    pub superuser: bool,
}

/// An index that is away.
#[derive(Debug, Clone)]
pub struct Work {
    /// The table's schema and name, quoted for use in SQL.
    pub table: String,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// How it was taken away.
    pub manner: Manner,
    /// Pipelines with an unfinished run that waits for it, besides the run that asks.
    pub others: Vec<String>,
    /// Whether the run that asks waits for it.
    pub mine: bool,
    /// How large it will be.
    pub shape: estimate::Shape,
    relation: i64,
    name: String,
    definition: String,
    tablespace: String,
    comment: Option<String>,
    index_cleanup: Option<String>,
}

impl Store {
    /// The valid vector indexes of a table.
    ///
    /// # Errors
    /// If the database cannot be asked.
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
                shape: estimate::Shape::new(&method, &column, modifier, parameter.as_deref()),
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
            // What could be counted to its end is exact.
            let at_least = counted == COUNTED;
            index.rows = if at_least {
                index.rows.max(counted)
            } else {
                counted
            };
        }
        Ok(found)
    }

    /// Whether a table has a row, and how many, where they are few enough to be counted.
    async fn count(&self, table: &str) -> Result<(bool, u64), StoreError> {
        let count = format!("select count(*) from (select from {table} limit {COUNTED}) t");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .fetch_one(&self.pool)
            .await?;
        Ok((rows > 0, rows.unsigned_abs()))
    }

    /// The indexes of these tables that are away, as a run sees them; nil for none.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn index_work(&self, run: Uuid, tables: &[String]) -> Result<Vec<Work>, StoreError> {
        // Of a table that is gone there is nothing to put back.
        sqlx::query(
            "delete from forebay.index_work w where not exists (select from pg_class c where c.oid = w.relation)",
        )
        .execute(&self.pool)
        .await?;
        let rows = sqlx::query(
            "select format('%I.%I', n.nspname, c.relname), w.manner, w.relation::oid::bigint,
                    format('%I.%I', w.schema, w.name), w.name, w.definition, w.tablespace,
                    w.comment, w.index_cleanup, w.method, w.parameter, w.vector_bytes
             from forebay.index_work w
             join pg_class c on c.oid = w.relation join pg_namespace n on n.oid = c.relnamespace
             where w.relation = any(array(select name::regclass from unnest($1::text[]) name))
             order by w.since, w.name",
        )
        .bind(tables)
        .fetch_all(&self.pool)
        .await?;
        let mut work = Vec::new();
        for row in rows {
            let (manner, method): (String, String) = (row.try_get(1)?, row.try_get(9)?);
            let size = |index| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
            let mut found = Work {
                table: row.try_get(0)?,
                quoted: row.try_get(3)?,
                manner: Manner::parse(&manner),
                others: Vec::new(),
                mine: false,
                shape: estimate::Shape::known(&method, size(10)?, size(11)?),
                relation: row.try_get(2)?,
                name: row.try_get(4)?,
                definition: row.try_get(5)?,
                tablespace: row.try_get(6)?,
                comment: row.try_get(7)?,
                index_cleanup: row.try_get(8)?,
            };
            let mut connection = self.pool.acquire().await?;
            (found.mine, found.others) = waiting(&mut connection, &found, run).await?;
            work.push(found);
        }
        Ok(work)
    }
}

/// Whether a run waits for an index, and which other pipelines do. A run that was abandoned or
/// has succeeded waits for nothing any more.
async fn waiting(
    connection: &mut sqlx::PgConnection,
    work: &Work,
    run: Uuid,
) -> Result<(bool, Vec<String>), sqlx::Error> {
    let waiting: Vec<(Uuid, String)> = sqlx::query_as(
        "select r.id, p.name from forebay.index_wait w
         join forebay.run r on r.id = w.run join forebay.pipeline p on p.id = r.pipeline
         where w.relation = $1::oid and w.name = $2
           and r.status in ('running', 'failed', 'halted', 'interrupted')
         order by p.name",
    )
    .bind(work.oid())
    .bind(&work.name)
    .fetch_all(connection)
    .await?;
    let mine = waiting.iter().any(|(id, _)| *id == run);
    let others = waiting.into_iter().filter(|(id, _)| *id != run);
    Ok((mine, others.map(|(_, pipeline)| pipeline).collect()))
}

impl Work {
    fn oid(&self) -> sqlx::postgres::types::Oid {
        sqlx::postgres::types::Oid(u32::try_from(self.relation).unwrap_or_default())
    }
}
