//! All statements of a pipeline.

use std::collections::HashMap;
use std::sync::Arc;

use super::control::Control;
use super::items;
use super::lookup::{Lookup, is_empty, lookup, names_keys, tables_of_rows};
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
    /// The same, but rows without a digest are looked up in no table.
    pub lookup_of_known: Arc<str>,
    /// `$1` pipeline → true if it has digests, true if the tables that are asked are empty. `None` if
    /// a row that is wrongly taken for new would not be refused.
    pub is_empty: Option<Arc<str>>,
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
    /// Check constraints by which the values of a row alone decide, by name, with hashes of their
    /// definitions: those whose name tells the table.
    pub rules: HashMap<String, i64>,
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
        let Lookup {
            of_all,
            of_known,
            keys,
        } = lookup(targets);
        let tables: Vec<TableStatements> = targets.tables.iter().map(table).collect();
        let asked = tables_of_rows(targets);
        let refuses = refuses_known(&tables, &asked);
        Self {
            rules: rules(targets),
            lookup: of_all.into(),
            lookup_of_known: of_known.into(),
            is_empty: refuses.then(|| is_empty(targets).into()),
            asked,
            names_keys: names_keys(targets),
            keys,
            tables,
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

/// True if a row that is copied although it is there is refused: the first of the tables that are
/// asked takes every row by `COPY`, and no trigger or policy keeps a row out of a table.
fn refuses_known(tables: &[TableStatements], asked: &[usize]) -> bool {
    let first = asked.first().and_then(|first| tables.get(*first));
    first.is_some_and(|first| first.copy.is_some() && first.omits.is_empty())
        && tables.iter().all(|table| !table.guarded)
}

/// None if some table has triggers: what these do may be refused by any constraint.
fn rules(targets: &Targets) -> HashMap<String, i64> {
    let tables = || targets.tables.iter().map(|target| &target.table);
    if tables().any(|table| table.has_triggers) {
        return HashMap::new();
    }
    let checks = || tables().flat_map(|table| &table.own_checks);
    let is_told = |name: &str| checks().filter(|check| check.name == name).count() == 1;
    let told = checks().filter(|check| is_told(&check.name));
    told.map(|check| (check.name.clone(), check.definition))
        .collect()
}

fn table(target: &Target) -> TableStatements {
    match &target.items {
        Some(items) => items::statements(target, items),
        None => TableStatements::of_rows(target),
    }
}
