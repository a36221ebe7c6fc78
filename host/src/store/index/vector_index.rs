//! The vector indexes of a table, from the catalog.
//!
//! A vector index is one over a value that can hold a vector, of an access method that is not
//! PostgreSQL's own: hnsw, ivfflat, and whatever other extensions bring. An index of a partitioned
//! table has a part in each partition.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::estimate::Shape;
use crate::store::connect::Store;
use crate::store::error::StoreError;

/// Rows of a table are counted up to this number, which takes some ten milliseconds; beyond it,
/// the server's estimate is used.
const COUNTED: u64 = 100_000;

/// Valid vector indexes of `$1` and its partitions. Objects below 16384 are made by initdb.
const FIND: &str = "
    with tree as (
        select $1::regclass::oid as relid, 0 as level
        union select relid::oid, level from pg_partition_tree($1::regclass)
    ), found as (
        select i.indexrelid as oid, tree.level, ic.relname, n.nspname, tn.nspname as table_schema,
               c.relname as table_name, m.amname, t.typname, a.atttypmod, ic.reloptions,
               c.reltuples, ic.relkind, ic.relispartition,
               not exists (select from pg_constraint where conindid = ic.oid) as is_plain,
               pg_has_role(c.relowner, 'USAGE') as is_owned,
               has_schema_privilege(n.oid, 'CREATE') as may_create
        from tree join pg_index i on i.indrelid = tree.relid
        join pg_class ic on ic.oid = i.indexrelid
        join pg_class c on c.oid = i.indrelid
        join pg_namespace n on n.oid = ic.relnamespace
        join pg_namespace tn on tn.oid = c.relnamespace
        join pg_am m on m.oid = ic.relam
        join pg_attribute a on a.attrelid = i.indexrelid and a.attnum = 1
        join pg_type t on t.oid = a.atttypid
        where m.oid >= 16384 and i.indisvalid and i.indislive and exists (
            select from pg_attribute v join pg_type vt on vt.oid = v.atttypid
            where vt.typname in ('vector', 'halfvec', 'sparsevec', 'bit', 'varbit', '_float4', '_float8')
              and (v.attrelid = i.indexrelid
                   or v.attrelid = i.indrelid and 0 = any(i.indkey) and exists (
                       select from pg_depend d
                       where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                         and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid
                         and d.refobjsubid = v.attnum)))
    )
    select oid::bigint, pg_catalog.format('%I.%I', nspname, relname), pg_catalog.format('%I.%I', table_schema, table_name),
           level, relkind = 'I',
           coalesce((select r.oid from found r where f.relispartition and r.oid = pg_partition_root(f.oid)),
                    f.oid)::bigint as root,
           amname::text, typname::text, atttypmod,
           (select option_value from pg_options_to_table(reloptions)
            where option_name = case amname when 'hnsw' then 'm' else 'lists' end),
           reltuples::float8, is_plain, relispartition, is_owned, may_create,
           has_table_privilege('pg_catalog.pg_index', 'UPDATE')
    from found f order by root, level, relname";

/// A valid vector index, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct VectorIndex {
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// The table's schema and name, quoted for use in SQL.
    pub table: String,
    /// Name of the access method.
    pub method: String,
    /// Parameters of its size.
    pub shape: Shape,
    /// True if the table has a row.
    pub has_rows: bool,
    /// Number of rows of the table: counted, or else estimated by the server.
    pub rows: u64,
    /// The index itself and, if it is partitioned, its parts; in the order of their tables' depth.
    pub parts: Vec<Part>,
    /// True if it belongs to no constraint.
    pub is_plain: bool,
    /// False for a part of an index of a partitioned table that is not the target itself.
    pub may_be_dropped: bool,
    /// True if the role owns the table and its partitions.
    pub is_owned: bool,
    /// True if the role may create objects in its schemas.
    pub may_create: bool,
    /// True if the role may change the catalog.
    pub superuser: bool,
}

/// An index that may be a part of a partitioned one.
#[derive(Debug, Clone)]
pub struct Part {
    pub(super) oid: i64,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// The table's schema and name, quoted for use in SQL.
    pub(super) table: String,
    /// Level of the table below the target.
    pub(super) depth: i32,
    /// True if it has no entries, but parts.
    pub is_partitioned: bool,
}

impl VectorIndex {
    /// The parts that have entries.
    pub fn leaves(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !part.is_partitioned)
    }

    /// True if it has parts.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.parts.iter().any(|part| part.is_partitioned)
    }

    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let part = Part::read(row)?;
        let method: String = row.try_get(6)?;
        let (column, modifier): (String, i32) = (row.try_get(7)?, row.try_get(8)?);
        let parameter: Option<String> = row.try_get(9)?;
        let estimated: f64 = row.try_get(10)?;
        let (oid, root): (i64, i64) = (part.oid, row.try_get(5)?);
        let belongs: bool = row.try_get(12)?;
        Ok(Self {
            quoted: part.quoted.clone(),
            table: part.table.clone(),
            shape: Shape::new(&method, &column, modifier, parameter.as_deref()),
            method,
            has_rows: false,
            rows: estimated.max(0.0) as u64,
            parts: vec![part],
            is_plain: row.try_get(11)?,
            may_be_dropped: !belongs || oid != root,
            is_owned: row.try_get(13)?,
            may_create: row.try_get(14)?,
            superuser: row.try_get(15)?,
        })
    }
}

impl Part {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            oid: row.try_get(0)?,
            quoted: row.try_get(1)?,
            table: row.try_get(2)?,
            depth: row.try_get(3)?,
            is_partitioned: row.try_get(4)?,
        })
    }
}

impl Store {
    /// The valid vector indexes of a table, each with its parts in partitions.
    ///
    /// # Errors
    /// Fails if the database cannot be queried.
    pub async fn vector_indexes(&self, table: &str) -> Result<Vec<VectorIndex>, StoreError> {
        let rows = sqlx::query(FIND).bind(table).fetch_all(&self.pool).await?;
        let mut found: Vec<VectorIndex> = Vec::new();
        let mut last = None;
        for row in rows {
            let index = VectorIndex::read(&row)?;
            let root: i64 = row.try_get(5)?;
            match found.last_mut().filter(|_| last == Some(root)) {
                Some(whole) => {
                    whole.is_owned &= index.is_owned;
                    whole.may_create &= index.may_create;
                    whole.parts.extend(index.parts);
                }
                None => found.push(index),
            }
            last = Some(root);
        }
        found.sort_by(|one, other| one.quoted.cmp(&other.quoted));
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
