//! The statements that touch target tables, made once from the catalog.

mod items;
#[cfg(test)]
mod tests;

use crate::route;
use std::sync::Arc;

use super::by_key::ByKey;
use super::copy::Copy;
use super::encode::{Column, ColumnSource};
use crate::route::absent::Treatment;
use crate::route::{ColumnKind, Target, TargetColumn, Targets};

/// The statements of a pipeline.
#[derive(Debug)]
pub(super) struct Statements {
    /// `$1` pipeline, `$2` the rows' keys, `$3` and on `keys` → three arrays with an element for
    /// each key: digest, whether the first table has the row, whether all tables have it. Tables
    /// with the items of lists are not asked: a list may be empty.
    pub lookup: Arc<str>,
    /// By which the tables find a row.
    pub keys: Vec<Column>,
    /// In the order of the tables.
    pub tables: Vec<TableStatements>,
    /// For tombstones.
    pub delete: ByKey,
    /// For flagged rows that come back.
    pub unflag: ByKey,
}

/// The statements of a table.
#[derive(Debug)]
pub(super) struct TableStatements {
    /// `$1` and on of `delete` and `upsert`.
    pub parameters: Vec<Column>,
    /// Deletes the items that are no longer in the lists of known rows. Before `upsert`.
    pub delete: Option<Arc<str>>,
    /// Writes rows, known or new.
    pub upsert: Arc<str>,
    /// For new rows, where every column can be sent as the server stores it.
    pub copy: Option<Copy>,
}

impl Statements {
    pub(super) fn new(targets: &Targets) -> Self {
        let (lookup, keys) = lookup(targets);
        Self {
            lookup: lookup.into(),
            keys,
            tables: targets.tables.iter().map(TableStatements::new).collect(),
            delete: ByKey::delete(targets),
            unflag: match &targets.missing.treatment {
                Treatment::Flag(flags) => ByKey::unflag(targets, flags),
                Treatment::Keep | Treatment::Remove => ByKey::default(),
            },
        }
    }
}

/// One look into each index for each key, whatever the planner thinks of the tables: `lateral`
/// with a limit leaves it no other way. A table that was empty when the statement was planned
/// would be read from end to end for every key otherwise.
fn lookup(targets: &Targets) -> (String, Vec<Column>) {
    let mut keys: Vec<Column> = Vec::new();
    let (mut arrays, mut aliases) = (String::new(), String::new());
    let (mut joins, mut found) = (String::new(), Vec::new());
    let tables = targets
        .tables
        .iter()
        .filter(|target| target.items.is_none());
    for (index, target) in tables.enumerate() {
        let mut conditions = Vec::new();
        for fed in &target.key {
            let key = parameter(fed);
            let known = keys.iter().position(|other| *other == key);
            let number = known.unwrap_or(keys.len());
            if known.is_none() {
                arrays.push_str(&format!(
                    ", ${}::{}",
                    number + 3,
                    array_type(&fed.column, key.kind)
                ));
                aliases.push_str(&format!(", k{number}"));
                keys.push(key);
            }
            let name = quote(&fed.column.name);
            let value = value(fed, &format!("k.k{number}"));
            conditions.push(format!("t.{name} = {value}"));
        }
        joins.push_str(&format!(
            "\nleft join lateral (select true as found from {} t where {} limit 1) t{index} on true",
            target.table.quoted,
            conditions.join(" and "),
        ));
        found.push(format!("t{index}.found is not null"));
    }
    // One row of arrays: three hundred rows would cost both sides more than the look-up.
    let statement = format!(
        "select array_agg(d.digest order by k.position), array_agg({} order by k.position), array_agg({} order by k.position)
from unnest($2::text[]{arrays}) with ordinality k(name{aliases}, position)
left join lateral (select digest from forebay.row_digest r
    where r.pipeline = $1 and r.key = k.name collate \"C\" limit 1) d on true{joins}",
        found.first().map_or("false", String::as_str),
        found.join(" and "),
    );
    (statement, keys)
}

impl TableStatements {
    fn new(target: &Target) -> Self {
        if let Some(items) = &target.items {
            return items::statements(target, items);
        }
        Self {
            parameters: target.fed().map(parameter).collect(),
            delete: None,
            upsert: upsert(target).into(),
            copy: copy(target),
        }
    }
}

/// A column as a parameter, where rows are an array.
fn parameter(fed: &TargetColumn) -> Column {
    Column {
        source: ColumnSource::Feed(fed.feed),
        kind: fed.kind.as_parameter(),
        type_oid: fed.column.type_oid,
        array_oid: fed.column.array_oid,
    }
}

/// An element of such a parameter as a value of the column's type.
fn value(fed: &TargetColumn, element: &str) -> String {
    match fed.column.type_name.as_str() {
        // As text, a `char` could not be looked up in its index.
        "bpchar" => format!("{element}::bpchar"),
        _ if fed.kind.as_parameter().is_cast() => {
            format!("{element}::{}", fed.column.type_sql)
        }
        _ => element.to_owned(),
    }
}

/// `COPY` for new rows. Not for a column that the server has to cast, or to set to the time.
fn copy(target: &Target) -> Option<Copy> {
    let casts = target.fed().any(|column| column.kind.is_cast());
    if casts || !target.stamped.is_empty() {
        return None;
    }
    let columns = target.fed().map(|fed| Column {
        kind: fed.kind,
        ..parameter(fed)
    });
    Some(Copy {
        statement: copy_statement(target, target.fed().map(|column| &column.column)),
        columns: columns.collect(),
        list: None,
    })
}

fn copy_statement<'c>(target: &Target, columns: impl Iterator<Item = &'c route::Column>) -> String {
    let names: Vec<String> = columns.map(|column| quote(&column.name)).collect();
    format!(
        "copy {} ({}) from stdin (format binary)",
        target.table.quoted,
        names.join(", ")
    )
}

fn upsert(target: &Target) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    let (mut arrays, mut aliases) = (Vec::new(), Vec::new());
    for (index, fed) in target.fed().enumerate() {
        let array = array_type(&fed.column, fed.kind.as_parameter());
        arrays.push(format!("${}::{array}", index + 1));
        aliases.push(format!("c{index}"));
        values.push(value(fed, &format!("u.c{index}")));
        names.push(quote(&fed.column.name));
    }
    for name in &target.stamped {
        names.push(quote(name));
        values.push("now()".into());
    }
    let key = target.key.iter().map(|fed| &fed.column);
    let updated = target.columns.iter().map(|fed| (&fed.column, fed.kind));
    format!(
        "insert into {} as t ({})\nselect {}\nfrom unnest({}) as u({})\n{}",
        target.table.quoted,
        names.join(", "),
        values.join(", "),
        arrays.join(", "),
        aliases.join(", "),
        on_conflict(target, key, updated),
    )
}

/// What becomes of a row that is there already: changed where it differs, and else left alone.
fn on_conflict<'c>(
    target: &Target,
    key: impl Iterator<Item = &'c route::Column>,
    updated: impl Iterator<Item = (&'c route::Column, ColumnKind)>,
) -> String {
    let key: Vec<String> = key.map(|column| quote(&column.name)).collect();
    let (mut sets, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for (column, kind) in updated {
        let name = quote(&column.name);
        // Not every type can be compared, or tells all its values apart; its text always does.
        let by_text = kind.is_cast() || matches!(kind, ColumnKind::Label | ColumnKind::Json);
        let cast = if by_text { "::text" } else { "" };
        sets.push(format!("{name} = excluded.{name}"));
        old.push(format!("t.{name}{cast}"));
        new.push(format!("excluded.{name}{cast}"));
    }
    if old.is_empty() {
        return format!("on conflict ({}) do nothing", key.join(", "));
    }
    let touched = target.touched.iter();
    sets.extend(touched.map(|name| format!("{} = now()", quote(name))));
    format!(
        "on conflict ({}) do update set {}\nwhere ({}) is distinct from ({})",
        key.join(", "),
        sets.join(", "),
        old.join(", "),
        new.join(", ")
    )
}

fn array_type(column: &route::Column, kind: ColumnKind) -> String {
    if kind == ColumnKind::Text || kind.is_cast() {
        return "text[]".into();
    }
    format!("{}[]", column.type_sql)
}

pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
