//! What was probably meant by the name of a table that does not exist.

use std::collections::BTreeMap;

use sqlx::PgPool;

use crate::config::closest;
use crate::route::Table;
use crate::store::error::StoreError;
use crate::store::sql::from_row;

/// Maximum number of tables that names are compared with.
const MAX_TABLES: i64 = 10_000;

#[derive(Debug)]
struct Known {
    /// Not quoted, and without its schema.
    bare: String,
    /// As SQL and the configuration take it.
    written: String,
}

from_row!(Known { bare, written });

/// A hint for each name in `names` that has no table, if there is a table of a similar name.
///
/// # Errors
/// Fails if the catalog cannot be read.
pub async fn meant(
    pool: &PgPool,
    names: &[String],
    tables: &[Option<Table>],
) -> Result<BTreeMap<String, String>, StoreError> {
    let missing = names.iter().zip(tables);
    let missing: Vec<&String> = missing
        .filter_map(|(name, table)| table.is_none().then_some(name))
        .collect();
    if missing.is_empty() {
        return Ok(BTreeMap::new());
    }
    let known: Vec<Known> = sqlx::query_as(
        "select c.relname::text as bare,
             case when pg_table_is_visible(c.oid) then pg_catalog.format('%I', c.relname)
                 else pg_catalog.format('%I.%I', n.nspname, c.relname) end as written
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f')
             and n.nspname not in ('information_schema', 'forebay') and n.nspname not like 'pg\\_%'
         order by pg_table_is_visible(c.oid) desc, n.nspname, c.relname limit $1",
    )
    .bind(MAX_TABLES)
    .fetch_all(pool)
    .await?;
    let hints = missing
        .into_iter()
        .filter_map(|name| Some((name.clone(), hint(name, &known)?)));
    Ok(hints.collect())
}

fn hint(name: &str, known: &[Known]) -> Option<String> {
    let unquoted = name.replace('"', "");
    let last = unquoted.rsplit('.').next().unwrap_or_default();
    let is_meant = |bare: &str| {
        let bare = bare.to_lowercase();
        bare == last.to_lowercase() || bare == unquoted.to_lowercase()
    };
    let Some(found) = known.iter().find(|known| is_meant(&known.bare)) else {
        let likely = closest(last, known.iter().map(|known| known.bare.as_str()))?;
        let likely = known.iter().find(|known| known.bare == likely)?;
        return Some(format!("did you mean {}?", entry(&likely.written)));
    };
    let (written, entry) = (&found.written, entry(&found.written));
    Some(if written.contains('"') {
        format!(
            "there is {written}: SQL reads a name without quotes in lower case, so write the quotes too: tables = [{entry}]"
        )
    } else {
        format!("there is {written}: tables = [{entry}]")
    })
}

/// A name as an entry of `tables` in TOML.
fn entry(written: &str) -> String {
    if written.contains('"') && !written.contains('\'') {
        format!("'{written}'")
    } else {
        format!("{written:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_quotes_case_and_schema() {
        let known = [
            ("Document", "\"Document\""),
            ("my.table", "\"my.table\""),
            ("O'Brien \"x\"", "\"O'Brien \"\"x\"\"\""),
            ("docs", "app.docs"),
            ("documents", "documents"),
        ];
        let known = known.map(|(bare, written)| Known {
            bare: bare.into(),
            written: written.into(),
        });
        let told = [
            "Document",
            "public.DOCUMENT",
            "my.table",
            "o'brien x",
            "\"Docs\"",
            "documnets",
            "entirely",
        ];
        let told = told.map(|name| hint(name, &known).unwrap_or_else(|| "-".into()));
        insta::assert_snapshot!(told.join("\n"), @r#"
        there is "Document": SQL reads a name without quotes in lower case, so write the quotes too: tables = ['"Document"']
        there is "Document": SQL reads a name without quotes in lower case, so write the quotes too: tables = ['"Document"']
        there is "my.table": SQL reads a name without quotes in lower case, so write the quotes too: tables = ['"my.table"']
        did you mean "\"O'Brien \"\"x\"\"\""?
        there is app.docs: tables = ["app.docs"]
        did you mean "documents"?
        -
        "#);
    }
}
