//! What a role needs to write, beside the tables themselves: schemas of tables and types, and
//! sequences of defaults.

use sqlx::PgConnection;

use super::finding::{Finding, Severity};
use crate::store::sql::from_row;
use crate::store::{Store, StoreError};

/// `$1` tables → what has to be usable for writing them.
const NEEDS: &str = "with t as (
    select c.oid, c.relnamespace from pg_class c
    where c.oid in (select to_regclass(n.name) from pg_catalog.unnest($1::text[]) n(name))),
of_types as (
    select b.typnamespace, e.typnamespace as of_element from t
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    join pg_type y on y.oid = a.atttypid
    join pg_type b on b.oid in (y.oid, y.typbasetype)
    left join pg_type e on e.oid = b.typelem)
select pg_catalog.format('schema %I', n.nspname) as what, has_schema_privilege(n.oid, 'usage') as held
from pg_namespace n where n.nspname <> 'pg_catalog' and n.oid in (
    select relnamespace from t union select typnamespace from of_types union select of_element from of_types)
union all
select distinct pg_catalog.format('sequence %I.%I', n.nspname, s.relname), has_sequence_privilege(s.oid, 'usage')
from t join pg_attrdef d on d.adrelid = t.oid
join pg_depend x on x.classid = 'pg_attrdef'::regclass and x.objid = d.oid and x.refclassid = 'pg_class'::regclass
join pg_class s on s.oid = x.refobjid and s.relkind = 'S'
join pg_namespace n on n.oid = s.relnamespace
order by 1";

#[derive(Debug)]
struct Need {
    /// Kind and name, quoted.
    what: String,
    /// True if the role of the session may use it.
    held: bool,
}

from_row!(Need { what, held });

async fn needs(connection: &mut PgConnection, tables: &[&str]) -> Result<Vec<Need>, sqlx::Error> {
    sqlx::query_as(NEEDS)
        .bind(tables)
        .fetch_all(connection)
        .await
}

/// Finds what the role must not use.
pub(super) async fn check(
    connection: &mut PgConnection,
    tables: &[&str],
    role: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let needs = needs(connection, tables).await?;
    let lacking = needs.into_iter().filter(|need| !need.held);
    findings.extend(lacking.map(|Need { what, .. }| {
        Finding::new(
            Severity::Error,
            "database",
            format!("{role} lacks usage on the {what}"),
            format!("grant usage on {what} to {role}"),
        )
    }));
    Ok(())
}

impl Store {
    /// The statements that let a role run pipelines into these tables, and nothing more. Tables that
    /// do not exist are left out.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn grants(&self, role: &str, tables: &[String]) -> Result<Vec<String>, StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let (role, names): (String, Vec<String>) = sqlx::query_as(
            "select quote_ident($1), coalesce(pg_catalog.array_agg(distinct pg_catalog.format('%I.%I', n.nspname, c.relname)), '{}')
             from pg_catalog.unnest($2::text[]) t(name)
             join pg_class c on c.oid = to_regclass(t.name) join pg_namespace n on n.oid = c.relnamespace",
        )
        .bind(role)
        .bind(tables)
        .fetch_one(&mut *transaction)
        .await?;
        let of_tables: Vec<&str> = names.iter().map(String::as_str).collect();
        let needs = needs(&mut transaction, &of_tables).await?;
        transaction.rollback().await?;
        let rights = "select, insert, update, delete";
        let own = [
            "grant usage on schema forebay".to_owned(),
            format!("grant {rights} on all tables in schema forebay"),
            // For the tables of migrations to come, which the same role as now will run.
            format!("alter default privileges in schema forebay grant {rights} on tables"),
        ];
        let needs = needs.iter().map(|it| format!("grant usage on {}", it.what));
        let names = names.iter().map(|name| format!("grant {rights} on {name}"));
        let all = own.into_iter().chain(needs).chain(names);
        Ok(all.map(|grant| format!("{grant} to {role};")).collect())
    }
}
