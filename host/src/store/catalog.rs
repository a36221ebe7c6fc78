//! What the database's catalog says about the target tables.

use sqlx::{PgPool, Row};

use super::StoreError;

/// A table, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct Table {
    /// As the configuration names it.
    pub name: String,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// In the order of the table.
    pub columns: Vec<Column>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// Tables, of those that were asked for, which this one refers to.
    pub references: Vec<String>,
}

/// A column, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct Column {
    /// Not quoted.
    pub name: String,
    /// Name of the type, or of what a domain is made from.
    pub type_name: String,
    /// As in SQL, without a length or the like.
    pub type_sql: String,
    /// Of the type.
    pub type_oid: u32,
    /// Of the array of the type.
    pub array_oid: u32,
    /// Of a vector, where declared.
    pub dimensions: Option<usize>,
    /// NOT NULL.
    pub required: bool,
    /// Has a default or is an identity column.
    pub has_default: bool,
    /// Computed by the server: GENERATED ALWAYS.
    pub generated: bool,
}

/// Reads the tables named, in their order; `None` for one that is not there.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn read(pool: &PgPool, names: &[String]) -> Result<Vec<Option<Table>>, StoreError> {
    let mut oids = Vec::new();
    for name in names {
        let oid: Option<i64> = sqlx::query_scalar("select to_regclass($1)::oid::bigint")
            .bind(name)
            .fetch_one(pool)
            .await
            // A name that cannot be parsed names no table.
            .or_else(|error| {
                if error.as_database_error().is_some() {
                    Ok(None)
                } else {
                    Err(error)
                }
            })?;
        oids.push(oid);
    }
    let mut tables = Vec::new();
    for (name, oid) in names.iter().zip(&oids) {
        let Some(oid) = *oid else {
            tables.push(None);
            continue;
        };
        let quoted = sqlx::query_scalar(
            "select format('%I.%I', n.nspname, c.relname)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid::bigint = $1",
        )
        .bind(oid)
        .fetch_one(pool)
        .await?;
        let columns = columns(pool, oid).await?;
        let primary_key = sqlx::query_scalar(
            "select a.attname::text from pg_constraint c
             join unnest(c.conkey) with ordinality k(number, position) on true
             join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number
             where c.conrelid::bigint = $1 and c.contype = 'p' order by k.position",
        )
        .bind(oid)
        .fetch_all(pool)
        .await?;
        let referenced: Vec<i64> = sqlx::query_scalar(
            "select confrelid::bigint from pg_constraint where conrelid::bigint = $1 and contype = 'f'",
        )
        .bind(oid)
        .fetch_all(pool)
        .await?;
        let references = names
            .iter()
            .zip(&oids)
            .filter(|(_, other)| {
                other.is_some_and(|other| other != oid && referenced.contains(&other))
            })
            .map(|(name, _)| name.clone())
            .collect();
        tables.push(Some(Table {
            name: name.clone(),
            quoted,
            columns,
            primary_key,
            references,
        }));
    }
    Ok(tables)
}

async fn columns(pool: &PgPool, table: i64) -> Result<Vec<Column>, StoreError> {
    let rows = sqlx::query(
        "select a.attname::text, b.typname::text, format_type(b.oid, null), b.oid::bigint as type_oid,
                b.typarray::bigint as array_oid, a.atttypmod, a.attnotnull,
                a.atthasdef or a.attidentity <> '' as has_default,
                a.attgenerated <> '' or a.attidentity = 'a' as generated
         from pg_attribute a
         join pg_type t on t.oid = a.atttypid
         join pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
         where a.attrelid::bigint = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
    )
    .bind(table)
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let modifier: i32 = row.try_get(5)?;
            let oid = |value: i64| u32::try_from(value).unwrap_or_default();
            Ok(Column {
                name: row.try_get(0)?,
                type_name: row.try_get(1)?,
                type_sql: row.try_get(2)?,
                type_oid: oid(row.try_get(3)?),
                array_oid: oid(row.try_get(4)?),
                dimensions: usize::try_from(modifier)
                    .ok()
                    .filter(|dimensions| *dimensions > 0),
                required: row.try_get(6)?,
                has_default: row.try_get(7)?,
                generated: row.try_get(8)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::from)
}
