//! The tables: what they are, what the role may do with them, and what stands in the way.

use sqlx::PgConnection;
use sqlx::prelude::FromRow;

use super::{Finding, Severity, Wanted};
use crate::route::Table;
use crate::store::Store;

#[derive(Debug, FromRow)]
struct Facts {
    kind: String,
    unlogged: bool,
    row_security: bool,
    takes_all: bool,
    triggers: Vec<String>,
    missing: Vec<String>,
}

const FACTS: &str = "select c.relkind::text as kind, c.relpersistence = 'u' as unlogged,
    row_security_active(c.oid) as row_security,
    c.relkind <> 'p' or exists (select from pg_partitioned_table p where p.partrelid = c.oid and p.partdefid <> 0) as takes_all,
    array(select t.tgname::text from pg_trigger t
        where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled in ('O', 'A') order by 1) as triggers,
    array(select p.name from unnest(array['select', 'insert', 'update', 'delete']) with ordinality p(name, place)
        where case p.name when 'delete' then $4 and not has_table_privilege(c.oid, p.name)
            else exists (select from unnest($2::text[]) k(name) where p.name <> 'update' and not has_column_privilege(c.oid, k.name, p.name))
                or exists (select from unnest($3::text[]) k(name) where not has_column_privilege(c.oid, k.name, p.name)) end
        order by p.place) as missing
    from pg_class c where c.oid = to_regclass($1)";

pub(super) async fn look(
    store: &Store,
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
    table: &Table,
    role: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let facts: Option<Facts> = sqlx::query_as(FACTS)
        .bind(&table.quoted)
        .bind(&table.primary_key)
        .bind(&wanted.columns)
        .bind(wanted.deletes)
        .fetch_optional(&mut *connection)
        .await?;
    // Dropped a moment ago: the first statement will say so.
    let Some(facts) = facts else { return Ok(()) };
    findings.extend(judge(table, &facts, role, store.copies));
    findings.extend(references(connection, table).await?);
    Ok(())
}

fn judge(table: &Table, facts: &Facts, role: &str, copies: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, message: String, hint: String| {
        findings.push(Finding::new(severity, &table.name, message, hint));
    };
    let quoted = &table.quoted;
    let kind = match facts.kind.as_str() {
        "v" => Some("view"),
        "m" => Some("materialised view"),
        "f" => Some("foreign table"),
        _ => None,
    };
    if let Some(kind) = kind {
        find(
            Severity::Error,
            format!("is a {kind}"),
            "name the table that is behind it".into(),
        );
        return findings;
    }
    if !facts.missing.is_empty() {
        let missing = facts.missing.join(", ");
        find(
            Severity::Error,
            format!("{role} lacks {missing}"),
            format!("grant {missing} on {quoted} to {role}"),
        );
    }
    if facts.row_security {
        // The server refuses COPY then.
        let severity = if copies {
            Severity::Error
        } else {
            Severity::Warning
        };
        find(
            severity,
            format!("row-level security applies to {role}: rows that it hides would look new"),
            format!("alter role {role} bypassrls, or use the role that owns the table"),
        );
    }
    if facts.unlogged {
        find(
            Severity::Warning,
            "is unlogged: a crash of the server empties it".into(),
            format!(
                "alter table {quoted} set logged; after a crash, the next run of a snapshot fills it again"
            ),
        );
    }
    if !facts.takes_all {
        find(
            Severity::Advice,
            "is partitioned without a default: rows that belong to no partition are dead-lettered"
                .into(),
            "create partitions for all keys, or a default one".into(),
        );
    }
    if !facts.triggers.is_empty() {
        find(
            Severity::Advice,
            format!(
                "has triggers that run for what is written: {}",
                facts.triggers.join(", ")
            ),
            "what they change is not seen as a change of the row the next time".into(),
        );
    }
    findings
}

/// Foreign keys to the table whose columns no index has.
async fn references(
    connection: &mut PgConnection,
    table: &Table,
) -> Result<Vec<Finding>, sqlx::Error> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "select c.conrelid::regclass::text,
             (select string_agg(quote_ident(a.attname), ', ' order by k.position)
              from unnest(c.conkey) with ordinality k(number, position)
              join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number)
         from pg_constraint c where c.confrelid = to_regclass($1) and c.contype = 'f'
             and not exists (select from pg_index i where i.indrelid = c.conrelid and i.indisvalid and i.indpred is null
                 and (i.indkey::smallint[])[0:cardinality(c.conkey) - 1] @> c.conkey)
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
                "refers to {} without an index: each row deleted there reads all of {child}",
                table.name
            ),
            format!("create index on {child} ({columns})"),
        )
    });
    Ok(findings.collect())
}

/// Why a table may not be seen: its schema is closed to the role.
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
            format!("{role} may not use the schema {schema}"),
            format!("grant usage on schema {schema} to {role}"),
        )
    }))
}
