//! All statements of a pipeline.

use std::sync::Arc;

use super::control::Control;
use super::items;
use super::lookup::{lookup, names_keys, tables_of_rows};
use super::of_table::TableStatements;
use crate::route::absent::Treatment;
use crate::route::{self, ColumnKind, Feed, ItemFeed, Target, Targets};
use crate::store::by_key::ByKey;
use crate::store::encode::Column;

/// The statements of a pipeline.
#[derive(Debug)]
pub(in crate::store) struct Statements {
    /// `$1` pipeline, `$2` the ids of the rows, `$3` their keys if `names_keys`, then
    /// `keys` → arrays with an element for each
    /// key: digest, and for each of `asked` true if that table has the row.
    pub lookup: Arc<str>,
    /// The tables that are asked, by their indices in `tables`; at least one.
    pub asked: Vec<usize>,
    /// True if digests are found by the rows' ids and their keys.
    pub names_keys: bool,
    /// The columns by which the tables find a row.
    pub keys: Vec<Column>,
    /// One for each table, in the order of the tables.
    pub tables: Vec<TableStatements>,
    /// The columns that fields and items feed, in the order of the tables.
    pub fed: Vec<Fed>,
    /// One for each table, to tell a refused row from a table that refuses every row.
    pub controls: Vec<Control>,
    /// Deletes the rows of tombstones.
    pub delete: ByKey,
    /// Unflags rows that come back.
    pub unflag: ByKey,
}

/// A column as people know it, and the field that feeds it.
#[derive(Debug)]
pub(in crate::store) struct Fed {
    /// As the configuration names it.
    pub table: String,
    pub column: route::Column,
    pub kind: ColumnKind,
    /// Index in the schema's columns.
    pub field: usize,
    /// True if each item of that field, a list of texts, is a value.
    pub by_item: bool,
}

fn fed(target: &Target) -> impl Iterator<Item = Fed> {
    let of_row = target.fed().filter_map(|fed| match fed.feed {
        Feed::Field(field) => Some((&fed.column, fed.kind, field, false)),
        Feed::Key | Feed::Embedding(_) => None,
    });
    let lists = target.items.iter().filter(|items| !items.json);
    let of_items = lists.flat_map(|items| {
        let columns = items.columns.iter();
        let columns = columns.filter(|column| column.feed == ItemFeed::Item);
        columns.map(|column| (&column.column, column.kind, items.list, true))
    });
    of_row
        .chain(of_items)
        .map(|(column, kind, field, by_item)| Fed {
            table: target.table.name.clone(),
            column: column.clone(),
            kind,
            field,
            by_item,
        })
}

impl Statements {
    pub(in crate::store) fn new(targets: &Targets) -> Self {
        let (lookup, keys) = lookup(targets);
        Self {
            lookup: lookup.into(),
            asked: tables_of_rows(targets),
            names_keys: names_keys(targets),
            keys,
            tables: targets.tables.iter().map(table).collect(),
            fed: targets.tables.iter().flat_map(fed).collect(),
            controls: targets.tables.iter().map(Control::new).collect(),
            delete: ByKey::delete(targets),
            unflag: match &targets.missing.treatment {
                Treatment::Flag(flags) => ByKey::unflag(targets, flags),
                Treatment::Keep | Treatment::Remove => ByKey::default(),
            },
        }
    }
}

fn table(target: &Target) -> TableStatements {
    match &target.items {
        Some(items) => items::statements(target, items),
        None => TableStatements::of_rows(target),
    }
}
