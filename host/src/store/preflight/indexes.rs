//! Vectors: their storage, their indexes, and the version of pgvector.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::demand::Wanted;
use super::finding::{Finding, Severity};
use crate::route::Table;
use crate::store::sql::from_row;

/// Maximum dimensions of an index (pgvector's documentation, "HNSW" and "IVFFlat").
const INDEXED: [(&str, usize); 2] = [("vector", 2_000), ("halfvec", 4_000)];

/// Before this version, concurrent inserts and vacuum could corrupt an HNSW index (pgvector's change log).
const SOUND: [u32; 3] = [0, 8, 4];

/// Maximum size of a row in a page of 8 KB, without header and alignment.
const PAGE: usize = 8_000;
/// A shorter row is stored in its page in any case.
const LONG: usize = 2_000;
/// Size of the pointer in the row to a value that is stored out of line.
const POINTER: usize = 20;

#[derive(Debug)]
struct Stored {
    name: String,
    type_name: String,
    modifier: i32,
    length: i16,
    plain: bool,
}

from_row!(Stored {
    name,
    type_name,
    modifier,
    length,
    plain
});

#[derive(Debug)]
struct Index {
    name: String,
    method: String,
    of_extension: bool,
    valid: bool,
    class: String,
    on_what: String,
    partial: bool,
    operator: Option<String>,
}

from_row!(Index {
    name,
    method,
    of_extension,
    valid,
    class,
    on_what,
    partial,
    operator
});

impl Index {
    /// True if it orders by a distance and its access method is not PostgreSQL's own.
    fn is_of_vectors(&self) -> bool {
        self.of_extension && self.operator.is_some()
    }
}

pub(super) async fn check(
    connection: &mut PgConnection,
    table: &Table,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let stored: Vec<Stored> = sqlx::query_as(
        "select a.attname::text as name, t.typname::text as type_name, a.atttypmod as modifier,
             t.typlen as length, a.attstorage = 'p' as plain
         from pg_attribute a join pg_type t on t.oid = a.atttypid
         where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped order by a.attnum",
    )
    .bind(&table.quoted)
    .fetch_all(&mut *connection)
    .await?;
    let indexes: Vec<Index> = sqlx::query_as(
        "select i.indexrelid::regclass::text as name, m.amname::text as method, m.oid >= 16384 as of_extension,
             i.indisvalid as valid,
             o.opcname::text as class, pg_get_indexdef(i.indexrelid, 1, true) as on_what,
             i.indpred is not null as partial,
             (select p.oprname::text from pg_amop a join pg_operator p on p.oid = a.amopopr
              where a.amopfamily = o.opcfamily and a.amoppurpose = 'o' limit 1) as operator
         from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
             join pg_opclass o on o.oid = i.indclass[0]
         where i.indrelid = to_regclass($1) order by 1",
    )
    .bind(&table.quoted)
    .fetch_all(connection)
    .await?;
    findings.extend(judge_indexes(table, &indexes));
    findings.extend(judge_vectors(table, &stored, &indexes));
    Ok(())
}

fn judge_indexes(table: &Table, indexes: &[Index]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut first: BTreeMap<(&str, &str, &str), &str> = BTreeMap::new();
    for index in indexes {
        let name = &index.name;
        if !index.valid {
            findings.push(Finding::new(
                Severity::Warning,
                &table.name,
                format!("the index {name} is invalid: it is maintained, but no query uses it"),
                format!("reindex index {name}, or drop it"),
            ));
        }
        if !index.is_of_vectors() {
            continue;
        }
        let same = (
            index.method.as_str(),
            index.class.as_str(),
            index.on_what.as_str(),
        );
        if let Some(other) = first.get(&same).filter(|_| !index.partial) {
            findings.push(Finding::new(
                Severity::Warning,
                &table.name,
                format!(
                    "the indexes {other} and {name} are identical: each row is inserted into both"
                ),
                format!("drop index {name}"),
            ));
            continue;
        }
        if !index.partial {
            first.insert(same, name);
        }
        let (operator, method) = (index.operator.as_deref().unwrap_or("?"), &index.method);
        findings.push(Finding::new(
            Severity::Advice,
            &table.name,
            format!(
                "the {method} index {name} serves {operator} on {} ({})",
                index.on_what, index.class
            ),
            "queries that order by another operator scan the whole table",
        ));
    }
    findings
}

/// Bytes of a vector (pgvector's documentation: 4 or 2 for each element, and 8).
fn bytes(column: &Stored) -> Option<usize> {
    let width = match column.type_name.as_str() {
        "vector" => 4,
        "halfvec" => 2,
        _ => return None,
    };
    let dimensions = usize::try_from(column.modifier).ok()?;
    Some(dimensions * width + 8)
}

fn judge_vectors(table: &Table, columns: &[Stored], indexes: &[Index]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let row: usize = columns
        .iter()
        .map(|column| bytes(column).unwrap_or(usize::try_from(column.length).unwrap_or(POINTER)))
        .sum();
    for column in columns {
        let Some((_, most)) = INDEXED.iter().find(|(name, _)| *name == column.type_name) else {
            continue;
        };
        let (quoted, name) = (
            &table.quoted,
            format!("\"{}\"", column.name.replace('"', "\"\"")),
        );
        let place = format!("{}.{}", table.name, column.name);
        let dimensions = usize::try_from(column.modifier).unwrap_or_default();
        if dimensions == 0 {
            findings.push(Finding::new(
                Severity::Advice,
                place,
                "declares no dimensions: it cannot be indexed",
                format!(
                    "alter table {quoted} alter column {name} type {}(N)",
                    column.type_name
                ),
            ));
            continue;
        }
        let is_indexed = indexes
            .iter()
            .any(|index| index.is_of_vectors() && index.on_what.contains(&column.name));
        if dimensions > *most && !is_indexed {
            let hint = if column.type_name == "vector" && dimensions <= 4_000 {
                format!(
                    "index it in half precision: create index on {quoted} using hnsw (({name}::halfvec({dimensions})) halfvec_cosine_ops)"
                )
            } else {
                format!(
                    "index its signs: create index on {quoted} using hnsw ((binary_quantize({name})::bit({dimensions})) bit_hamming_ops)"
                )
            };
            let message = format!(
                "has {dimensions} dimensions, but an index on {} takes at most {most}",
                column.type_name
            );
            findings.push(Finding::new(Severity::Advice, &place, message, hint));
        }
        if !column.plain && (LONG..=PAGE).contains(&row) {
            findings.push(Finding::new(
                Severity::Advice,
                place,
                "fits into the page of its row, but is stored out of line: writing it is about a quarter slower",
                format!("alter table {quoted} alter column {name} set storage plain, which applies to rows written from then on"),
            ));
        }
    }
    findings
}

/// Checks the version of pgvector, if vectors are written.
pub(super) async fn check_extension(
    connection: &mut PgConnection,
    tables: &[Wanted<'_>],
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let tables: Vec<&str> = tables
        .iter()
        .filter_map(|wanted| wanted.table)
        .filter(|table| {
            let mut columns = table.columns.iter();
            columns.any(|column| INDEXED.iter().any(|(name, _)| *name == column.type_name))
        })
        .map(|table| table.quoted.as_str())
        .collect();
    if tables.is_empty() {
        return Ok(());
    }
    let found: Option<(String, Option<String>, bool)> = sqlx::query_as(
        "select e.extversion, (select default_version from pg_available_extensions a where a.name = e.extname),
             exists (select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
                 where m.amname = 'hnsw' and i.indrelid = any (select to_regclass(t) from pg_catalog.unnest($1::text[]) t))
         from pg_extension e where e.extname = 'vector'",
    )
    .bind(tables)
    .fetch_optional(connection)
    .await?;
    if let Some((version, available, has_hnsw)) = found {
        findings.extend(judge_extension(&version, available.as_deref(), has_hnsw));
    }
    Ok(())
}

fn judge_extension(version: &str, available: Option<&str>, has_hnsw: bool) -> Option<Finding> {
    if parts(version) >= SOUND {
        return None;
    }
    let (severity, message) = if has_hnsw {
        (
            Severity::Warning,
            format!(
                "pgvector is {version}: before 0.8.4, writes during a vacuum can corrupt an HNSW index"
            ),
        )
    } else {
        (
            Severity::Advice,
            format!(
                "pgvector is {version}: before 0.8.4, writes during a vacuum could corrupt an HNSW index if there were one"
            ),
        )
    };
    let hint = match available {
        Some(available) if parts(available) >= SOUND => {
            "alter extension vector update, and reindex HNSW indexes"
        }
        _ => {
            "install pgvector 0.8.4 or newer on the server, alter extension vector update, and reindex HNSW indexes"
        }
    };
    Some(Finding::new(severity, "database", message, hint))
}

fn parts(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_extension_is_worse_with_an_index() {
        assert_eq!(judge_extension("0.8.4", None, true), None);
        assert_eq!(judge_extension("0.10.0", None, true), None);
        let found = |version, available, has_hnsw| {
            let found = judge_extension(version, available, has_hnsw);
            found.map(|it| (it.severity, it.hint.contains("on the server")))
        };
        assert_eq!(
            found("0.8.3", Some("0.8.5"), true),
            Some((Severity::Warning, false))
        );
        assert_eq!(
            found("0.8", Some("0.8.1"), false),
            Some((Severity::Advice, true))
        );
        assert_eq!(found("0.5.1", None, false), Some((Severity::Advice, true)));
    }
}
