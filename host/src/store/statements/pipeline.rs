//! All statements of a pipeline.

use std::sync::Arc;

use super::items;
use super::lookup::lookup;
use super::table::TableStatements;
use crate::route::absent::Treatment;
use crate::route::{Target, Targets};
use crate::store::by_key::ByKey;
use crate::store::encode::Column;

/// The statements of a pipeline.
#[derive(Debug)]
pub(in crate::store) struct Statements {
    /// `$1` pipeline, `$2` the rows' keys, `$3` and on `keys` → three arrays with an element for
    /// each key: digest, true if the first table has the row, true if all tables have it. Tables
    /// with the items of lists are not asked: a list may be empty.
    pub lookup: Arc<str>,
    /// The columns by which the tables find a row.
    pub keys: Vec<Column>,
    /// One for each table, in the order of the tables.
    pub tables: Vec<TableStatements>,
    /// Deletes the rows of tombstones.
    pub delete: ByKey,
    /// Unflags rows that come back.
    pub unflag: ByKey,
}

impl Statements {
    pub(in crate::store) fn new(targets: &Targets) -> Self {
        let (lookup, keys) = lookup(targets);
        Self {
            lookup: lookup.into(),
            keys,
            tables: targets.tables.iter().map(table).collect(),
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
