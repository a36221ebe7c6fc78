//! The tables: their kinds, the privileges of the role, and obstacles to writing.

use sqlx::PgConnection;

use super::demand::Wanted;
use super::finding::{Finding, Severity};
use crate::route::Table;
use crate::store::sql::from_row;

#[derive(Debug)]
struct Facts {
    kind: String,
    unlogged: bool,
    row_security: bool,
    /// Commands that no policy lets the role do.
    closed: Vec<String>,
    rules: bool,
    takes_all: bool,
    triggers: Vec<String>,
    missing: Vec<String>,
}

from_row!(Facts {
    kind,
    unlogged,
    row_security,
    closed,
    rules,
    takes_all,
    triggers,
    missing
});

const FACTS: &str = "select c.relkind::text as kind, c.relpersistence = 'u' as unlogged,
    row_security_active(c.oid) as row_security,
    array(select p.name from (values ('select', 'r'), ('insert', 'a'), ('update', 'w'), ('delete', 'd')) p(name, letter)
        where row_security_active(c.oid) and (p.name <> 'delete' or $4) and not exists (
            select from pg_policy y where y.polrelid = c.oid and y.polpermissive and y.polcmd::text in ('*', p.letter)
                and (y.polroles = '{0}' or exists (select from pg_catalog.unnest(y.polroles) r(role)
                    where pg_has_role(r.role, 'usage'))))) as closed,
    c.relhasrules as rules,
    c.relkind <> 'p' or exists (select from pg_partitioned_table p where p.partrelid = c.oid and p.partdefid <> 0) as takes_all,
    array(select t.tgname::text from pg_trigger t
        where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled in ('O', 'A') order by 1) as triggers,
    array(select p.name from pg_catalog.unnest(array['select', 'insert', 'update', 'delete']) with ordinality p(name, place)
        where case p.name when 'delete' then $4 and not has_table_privilege(c.oid, p.name)
            else exists (select from pg_catalog.unnest($2::text[]) k(name) where p.name <> 'update' and not has_column_privilege(c.oid, k.name, p.name))
                or exists (select from pg_catalog.unnest($3::text[]) k(name) where not has_column_privilege(c.oid, k.name, p.name)) end
        order by p.place) as missing
    from pg_class c where c.oid = to_regclass($1)";

pub(super) async fn check(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
    table: &Table,
    role: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let facts: Option<Facts> = sqlx::query_as(FACTS)
        .bind(&table.quoted)
        .bind(&wanted.key)
        .bind(&wanted.columns)
        .bind(wanted.deletes)
        .fetch_optional(&mut *connection)
        .await?;
    // Dropped a moment ago: the first statement will fail.
    let Some(facts) = facts else { return Ok(()) };
    findings.extend(judge(table, &facts, role));
    findings.extend(references(connection, table).await?);
    Ok(())
}

fn judge(table: &Table, facts: &Facts, role: &str) -> Vec<Finding> {
    let kind = match facts.kind.as_str() {
        "v" => Some("view"),
        "m" => Some("materialised view"),
        "f" => Some("foreign table"),
        _ => None,
    };
    if let Some(kind) = kind {
        return vec![Finding::new(
            Severity::Error,
            &table.name,
            format!("is a {kind}"),
            "name the underlying table",
        )];
    }
    let mut findings = judge_access(table, facts, role);
    findings.extend(judge_storage(table, facts));
    findings
}

/// Checks what the role may do with a table.
fn judge_access(table: &Table, facts: &Facts, role: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !facts.missing.is_empty() {
        let missing = facts.missing.join(", ");
        findings.push(Finding::new(
            Severity::Error,
            &table.name,
            format!("{role} lacks {missing}"),
            format!("grant {missing} on {} to {role}", table.quoted),
        ));
    }
    if !facts.closed.is_empty() {
        let closed = facts.closed.join(", ");
        findings.push(Finding::new(
            Severity::Error,
            &table.name,
            format!("row-level security has no policy that lets {role} {closed}"),
            format!(
                "create policy … on {} for all to {role} using (true) with check (true)",
                table.quoted
            ),
        ));
    } else if facts.row_security {
        findings.push(Finding::new(
            Severity::Warning,
            &table.name,
            format!(
                "row-level security applies to {role}: rows that its policies refuse or hide are dead-lettered (42501), and rows are not copied, which is slower"
            ),
            "give it a policy for all rows that it writes: create policy … for all to … using (true) with check (true)",
        ));
    }
    findings
}

/// Checks what happens to rows that are written to a table.
fn judge_storage(table: &Table, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.unlogged {
        let quoted = &table.quoted;
        findings.push(Finding::new(
            Severity::Warning,
            &table.name,
            "is unlogged: a server crash empties it",
            format!(
                "alter table {quoted} set logged; after a crash, the next snapshot run fills it again"
            ),
        ));
    }
    if facts.rules {
        findings.push(Finding::new(
            Severity::Error,
            &table.name,
            "has rewrite rules, which change what is written to it",
            "replace them with triggers: select rulename from pg_rules shows them",
        ));
    }
    if !facts.takes_all {
        findings.push(Finding::new(
            Severity::Advice,
            &table.name,
            "is partitioned without a default partition: rows outside all partitions are dead-lettered",
            "create partitions for all keys, or a default partition",
        ));
    }
    if !facts.triggers.is_empty() {
        let triggers = facts.triggers.join(", ");
        findings.push(Finding::new(
            Severity::Advice,
            &table.name,
            format!("has triggers that run on writes: {triggers}"),
            "the next run does not see their changes as changes of the row; a row for which one returns null is dropped (SWALLOWED)",
        ));
    }
    findings
}

/// Finds foreign keys that reference the table and have no index on their columns.
async fn references(
    connection: &mut PgConnection,
    table: &Table,
) -> Result<Vec<Finding>, sqlx::Error> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "select c.conrelid::regclass::text,
             (select string_agg(quote_ident(a.attname), ', ' order by k.position)
              from pg_catalog.unnest(c.conkey) with ordinality k(number, position)
              join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number)
         from pg_constraint c where c.confrelid = to_regclass($1) and c.contype = 'f'
             and not exists (select from pg_index i where i.indrelid = c.conrelid and i.indisvalid and i.indpred is null
                 and (i.indkey::smallint[])[0:pg_catalog.cardinality(c.conkey) - 1] @> c.conkey)
         order by 1, 2",
    )
    .bind(&table.quoted)
    .fetch_all(connection)
    .await?;
    let findings = found.into_iter().map(|(child, columns)| {
        Finding::new(
            Severity::Advice,
            format!("{child} ({columns})"),
            format!(
                "references {} without an index: each row deleted there scans all of {child}",
                table.name
            ),
            format!("create index on {child} ({columns})"),
        )
    });
    Ok(findings.collect())
}

/// Finds out if a table is invisible because the role may not use its schema.
pub(super) async fn hidden(
    connection: &mut PgConnection,
    name: &str,
    role: &str,
) -> Result<Option<Finding>, sqlx::Error> {
    let schema: Option<String> = sqlx::query_scalar(
        "select quote_ident(nspname) from pg_namespace
         where not has_schema_privilege(oid, 'usage') and starts_with($1, quote_ident(nspname) || '.')",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?;
    Ok(schema.map(|schema| {
        Finding::new(
            Severity::Error,
            name,
            format!("{role} lacks usage on the schema {schema}"),
            format!("grant usage on schema {schema} to {role}"),
        )
    }))
}
