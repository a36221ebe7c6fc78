//! The statements of a table with a row for each row of the dataset, and the parts of SQL that
//! every table needs.

use std::sync::Arc;

use super::turns::Turns;
use crate::route::{self, ColumnKind, Target, TargetColumn};
use crate::store::copy::Copy;
use crate::store::encode::{Column, ColumnSource};
use crate::store::sql::quote;

/// The statements of a table.
#[derive(Debug)]
pub(in crate::store) struct TableStatements {
    /// `$1` and on of `delete` and `upsert`.
    pub parameters: Vec<Column>,
    /// Runs before `upsert`: deletes the items that are no longer in the lists of known rows.
    pub delete: Option<Arc<str>>,
    /// Writes rows, known or new.
    pub upsert: Arc<str>,
    /// For new rows, if every column can be sent as the server stores it.
    pub copy: Option<Copy>,
    /// For unique values that move between rows; `None` for the items of lists.
    pub turns: Option<Turns>,
}

impl TableStatements {
    /// For a table that has no list's items.
    pub(super) fn of_rows(target: &Target) -> Self {
        Self {
            parameters: target.fed().map(parameter).collect(),
            delete: None,
            upsert: upsert(target).into(),
            copy: copy(target),
            turns: Some(Turns::of(target)),
        }
    }
}

/// The columns that rows feed, with those that the items of a list feed.
pub(super) fn columns_of(target: &Target) -> impl Iterator<Item = &route::Column> {
    let items = target.items.iter().flat_map(|items| &items.columns);
    let fed = target.fed().map(|fed| &fed.column);
    fed.chain(items.map(|item| &item.column))
}

/// A column as a parameter: an array with an element for each row.
pub(super) fn parameter(fed: &TargetColumn) -> Column {
    Column {
        source: ColumnSource::Feed(fed.feed),
        kind: fed.kind.as_parameter(),
        type_oid: fed.column.type_oid,
        array_oid: fed.column.array_oid,
    }
}

/// An element of that parameter as a value of the column's type.
pub(super) fn value(fed: &TargetColumn, element: &str) -> String {
    match fed.column.type_name.as_str() {
        // As text, a `char` could not be looked up in its index.
        "bpchar" => format!("{element}::bpchar"),
        _ if fed.kind.as_parameter().is_cast() => {
            format!("{element}::{}", fed.column.type_sql)
        }
        _ => element.to_owned(),
    }
}

/// `COPY` for new rows; `None` if the server has to cast a column or set it to the time.
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

pub(super) fn copy_statement<'c>(
    target: &Target,
    columns: impl Iterator<Item = &'c route::Column>,
) -> String {
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

/// Updates a row that is there already where it differs, and leaves it alone otherwise.
pub(super) fn on_conflict<'c>(
    target: &Target,
    key: impl Iterator<Item = &'c route::Column>,
    updated: impl Iterator<Item = (&'c route::Column, ColumnKind)>,
) -> String {
    let key: Vec<String> = key.map(|column| quote(&column.name)).collect();
    let (mut sets, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for (column, kind) in updated {
        let name = quote(&column.name);
        // Some types cannot be compared, or hold different values that are equal; texts show any
        // difference.
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

/// The type of a column's parameter.
pub(super) fn array_type(column: &route::Column, kind: ColumnKind) -> String {
    if kind == ColumnKind::Text || kind.is_cast() {
        return "text[]".into();
    }
    format!("{}[]", column.type_sql)
}
