//! Reads the target tables from the database's catalog.

mod meant;

use sqlx::{PgConnection, PgExecutor, PgPool, Row};

use super::error::StoreError;
use crate::route::{Column, EQUALS, ForeignKey, NearKey, OwnCheck, Table};

pub use self::meant::meant;

/// Reads the named tables, in their order; `None` for one that does not exist.
///
/// # Errors
/// Fails if the catalog cannot be read.
pub async fn read(pool: &PgPool, names: &[String]) -> Result<Vec<Option<Table>>, StoreError> {
    let mut oids = Vec::new();
    for name in names {
        let oid: Option<i64> = sqlx::query_scalar("select to_regclass($1)::oid::bigint")
            .bind(name)
            .fetch_one(pool)
            .await
            // There is no table of a name that cannot be parsed.
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
        let relation = sqlx::query(
            "select c.relname::text, pg_catalog.format('%I.%I', n.nspname, c.relname), not row_security_active(c.oid),
                 exists (select from pg_trigger t
                     where t.tgrelid in (select c.oid union all select relid from pg_partition_tree(c.oid))
                         and not t.tgisinternal and t.tgenabled in ('O', 'A')
                         and t.tgtype & 3 = 3 and t.tgtype & 20 <> 0),
                 exists (select from pg_trigger t
                     where t.tgrelid in (select c.oid union all select relid from pg_partition_tree(c.oid))
                         and not t.tgisinternal)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid::bigint = $1",
        )
        .bind(oid)
        .fetch_one(pool)
        .await?;
        let Keys {
            primary,
            unique,
            near,
        } = keys(pool, oid).await?;
        let (copies, triggers): (bool, bool) = (relation.try_get(2)?, relation.try_get(3)?);
        tables.push(Some(Table {
            name: name.clone(),
            bare: relation.try_get(0)?,
            quoted: relation.try_get(1)?,
            columns: columns(pool, oid).await?,
            primary_key: primary,
            unique_keys: unique,
            near_keys: near,
            guarded: triggers || !copies,
            has_triggers: relation.try_get(4)?,
            own_checks: own_checks(pool, oid).await?,
            copies,
            foreign_keys: foreign_keys(pool, oid, names, &oids).await?,
        }));
    }
    Ok(tables)
}

/// Check constraints of a table without triggers by which the values of a row alone decide: all that
/// they call is immutable. `$1` table.
const OWN_CHECKS: &str = "select c.conname::text, hashtextextended(concat_ws(' ', c.conrelid::bigint, c.conname,
            pg_get_constraintdef(c.oid), f.made,
            (select string_agg(d.adbin::text, ' ' order by d.adnum) from pg_attrdef d where d.adrelid = c.conrelid)), 0)
        from pg_constraint c
        cross join lateral (
            select string_agg(p.oid || ' ' || p.xmin, ' ' order by p.oid) as made,
                count(*) filter (where p.provolatile <> 'i') as others
            from regexp_matches(c.conbin::text, ':(?:op|elem)?funcid (\\d+)', 'g') m(ids)
            join pg_proc p on p.oid = m.ids[1]::oid) f
        where c.conrelid::bigint = $1 and c.contype = 'c' and f.others = 0
            and c.conbin::text !~ 'SQLVALUEFUNCTION|COERCEVIAIO|COERCETODOMAIN|ROWCOMPARE|XMLEXPR|SUBPLAN'
            and not exists (select from pg_trigger t
                where t.tgrelid in (select c.conrelid union all select relid from pg_partition_tree(c.conrelid))
                    and not t.tgisinternal)
        order by c.conname";

async fn own_checks(pool: &PgPool, table: i64) -> Result<Vec<OwnCheck>, StoreError> {
    let found: Vec<(String, i64)> = sqlx::query_as(OWN_CHECKS)
        .bind(table)
        .fetch_all(pool)
        .await?;
    let check = |(name, definition)| OwnCheck { name, definition };
    Ok(found.into_iter().map(check).collect())
}

/// The unique keys of a table.
#[derive(Default)]
struct Keys {
    primary: Vec<String>,
    /// Other keys by which `on conflict` can find a row.
    unique: Vec<Vec<String>>,
    near: Vec<NearKey>,
}

async fn keys(pool: &PgPool, table: i64) -> Result<Keys, StoreError> {
    let rows = sqlx::query(
        "select i.indisprimary, i.indimmediate, pg_catalog.array_agg(a.attname::text order by k.position),
             coalesce(pg_catalog.array_agg(a.attname::text order by k.position) filter (where not a.attnotnull), '{}')
         from pg_index i
         cross join pg_catalog.unnest(i.indkey::int2[]) with ordinality k(number, position)
         left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
         where i.indrelid::bigint = $1 and i.indisunique and i.indisvalid
             and i.indpred is null and i.indexprs is null and k.position <= i.indnkeyatts
         group by i.indexrelid, i.indisprimary, i.indimmediate order by i.indexrelid",
    )
    .bind(table)
    .fetch_all(pool)
    .await?;
    let mut keys = Keys::default();
    for row in rows {
        let (is_primary, immediate): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
        let (columns, nullable): (Vec<String>, Vec<String>) = (row.try_get(2)?, row.try_get(3)?);
        if !immediate || !nullable.is_empty() {
            keys.near.push(NearKey { columns, nullable });
        } else if is_primary {
            keys.primary = columns;
        } else {
            keys.unique.push(columns);
        }
    }
    Ok(keys)
}

async fn foreign_keys(
    pool: &PgPool,
    table: i64,
    names: &[String],
    oids: &[Option<i64>],
) -> Result<Vec<ForeignKey>, StoreError> {
    let rows = sqlx::query(
        "select c.confrelid::bigint, pg_catalog.array_agg(a.attname::text order by k.position),
                pg_catalog.array_agg(r.attname::text order by k.position)
         from pg_constraint c
         cross join unnest(c.conkey, c.confkey) with ordinality k(number, referenced, position)
         join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number
         join pg_attribute r on r.attrelid = c.confrelid and r.attnum = k.referenced
         where c.conrelid::bigint = $1 and c.confrelid <> c.conrelid and c.contype = 'f'
         group by c.oid, c.confrelid order by c.oid",
    )
    .bind(table)
    .fetch_all(pool)
    .await?;
    let mut found = Vec::new();
    for row in rows {
        let referenced: i64 = row.try_get(0)?;
        let mut known = names.iter().zip(oids);
        if let Some((name, _)) = known.find(|(_, oid)| **oid == Some(referenced)) {
            found.push(ForeignKey {
                table: name.clone(),
                columns: row.try_get(1)?,
                referenced: row.try_get(2)?,
            });
        }
    }
    Ok(found)
}

/// `$1` table, `$2` the equality of types that are the server's own.
const COLUMNS: &str = "select a.attname::text, b.typname::text, format_type(b.oid, -1), b.oid::bigint, b.typarray::bigint,
                d.modifier, a.attnotnull or d.required as required,
                a.atthasdef or a.attidentity <> '' or d.has_default as has_default,
                a.attgenerated <> '' or a.attidentity = 'a' as generated, b.typcategory::text,
                (select pg_get_expr(e.adbin, e.adrelid) from pg_attrdef e
                    where e.adrelid = a.attrelid and e.adnum = a.attnum) as default_sql,
                format_type(a.atttypid, a.atttypmod) as declared,
                case when a.attgenerated <> '' then null
                    when a.attidentity <> '' then pg_catalog.format('nextval(%L)', pg_get_serial_sequence(a.attrelid::regclass::text, a.attname))
                    else coalesce((select pg_get_expr(e.adbin, e.adrelid) from pg_attrdef e
                            where e.adrelid = a.attrelid and e.adnum = a.attnum),
                        (select pg_get_expr(t.typdefaultbin, 0) from pg_type t where t.oid = a.atttypid)) end as omitted,
                coalesce((select pg_catalog.format('operator(%I.%s)', n.nspname, p.oprname)
                    from pg_opclass c join pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
                    join pg_amop o on o.amopfamily = c.opcfamily and o.amopstrategy = 3
                        and o.amoplefttype = b.oid and o.amoprighttype = b.oid
                    join pg_operator p on p.oid = o.amopopr join pg_namespace n on n.oid = p.oprnamespace
                    where c.opcdefault and c.opcintype = b.oid and n.nspname <> 'pg_catalog'), $2) as equals
         from pg_attribute a
         cross join lateral (
             with recursive made(oid, modifier, required, has_default) as (
                 select a.atttypid, a.atttypmod, false, false
                 union all
                 select t.typbasetype, case when m.modifier < 0 then t.typtypmod else m.modifier end,
                     m.required or t.typnotnull, m.has_default or t.typdefault is not null
                 from made m join pg_type t on t.oid = m.oid where t.typtype = 'd'
             )
             select m.* from made m join pg_type t on t.oid = m.oid where t.typtype <> 'd'
         ) d
         join pg_type b on b.oid = d.oid
         where a.attrelid::bigint = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum";

/// The columns of a table. A domain counts as its base type, with the constraints and defaults of
/// all its domains. The modifier -1 makes `format_type` return `bpchar` and `"bit"`, which unlike
/// `character` and `bit` have no length of 1.
async fn columns(executor: impl PgExecutor<'_>, table: i64) -> Result<Vec<Column>, sqlx::Error> {
    let rows = sqlx::query(COLUMNS)
        .bind(table)
        .bind(EQUALS)
        .fetch_all(executor)
        .await?;
    rows.into_iter()
        .map(|row| {
            let modifier: i32 = row.try_get(5)?;
            let oid = |value: i64| u32::try_from(value).unwrap_or_default();
            Ok(Column {
                name: row.try_get(0)?,
                type_name: row.try_get(1)?,
                type_sql: row.try_get(2)?,
                declared_sql: row.try_get(11)?,
                omitted_sql: row.try_get(12)?,
                equals: row.try_get(13)?,
                category: row.try_get(9)?,
                type_oid: oid(row.try_get(3)?),
                array_oid: oid(row.try_get(4)?),
                dimensions: usize::try_from(modifier)
                    .ok()
                    .filter(|dimensions| *dimensions > 0),
                required: row.try_get(6)?,
                has_default: row.try_get(7)?,
                default_sql: row.try_get(10)?,
                generated: row.try_get(8)?,
            })
        })
        .collect()
}

/// What has changed in a table since its columns were read: the first of them that is gone or has
/// another type, in words. `None` if all are as they were.
///
/// # Errors
/// If a query fails.
pub(super) async fn change(
    connection: &mut PgConnection,
    quoted: &str,
    before: &[Column],
) -> Result<Option<String>, sqlx::Error> {
    let oid: Option<i64> = sqlx::query_scalar("select to_regclass($1)::oid::bigint")
        .bind(quoted)
        .fetch_one(&mut *connection)
        .await?;
    let Some(oid) = oid else {
        return Ok(Some("it is gone".into()));
    };
    let after = columns(connection, oid).await?;
    Ok(before.iter().find_map(|old| {
        let name = &old.name;
        let Some(new) = after.iter().find(|new| new.name == *name) else {
            return Some(format!("column `{name}` is gone"));
        };
        let (was, is) = (old.declared(), new.declared());
        (was != is).then(|| format!("column `{name}` was {was} and is {is} now"))
    }))
}
