//! The statements of a table, whatever its rows are made of.

use std::sync::Arc;

use super::table::{
    compared, copy, differing, differs, insert, missing, omitted, parameter, unfound, update,
};
use super::turns::Turns;
use crate::route::{OwnCheck, Target};
use crate::store::copy::Copy;
use crate::store::encode::Column;

/// The statements of a table. Those that return positions return one array of them, from 1 on, or
/// null for none.
#[derive(Debug)]
pub(in crate::store) struct TableStatements {
    /// `$1` and on of all statements but `missing`.
    pub parameters: Vec<Column>,
    /// Inserts rows that are not there, and updates those that have come meanwhile. `None` for
    /// the table of a list.
    pub insert: Option<Arc<str>>,
    /// Statements for rows that are there, in this order; for the table of a list, for all rows.
    /// Positions of the rows that they change.
    pub change: Vec<Arc<str>>,
    /// Positions of rows that are there and still differ.
    pub differing: Option<Arc<str>>,
    /// Positions of rows, or of the rows of items, that are not there.
    pub missing: Arc<str>,
    /// The number of `parameters` that `missing` has.
    pub keys: usize,
    /// Raises an error: a row was written and is not found by its key.
    pub unfound: Arc<str>,
    /// Fields that leave a column to its default if a row leaves them out. Such a row cannot be
    /// copied.
    pub omits: Vec<usize>,
    /// For new rows, if every column can be sent as the server stores it.
    pub copy: Option<Copy>,
    /// For unique values that move between rows; `None` for the items of lists.
    pub turns: Option<Turns>,
    /// Check constraints that refuse a row for nothing but its own values.
    pub own_checks: Vec<OwnCheck>,
    /// True if something may keep the server from writing a row without an error.
    pub guarded: bool,
}

impl TableStatements {
    /// For a table that has no list's items.
    pub(super) fn of_rows(target: &Target) -> Self {
        let change = differs(compared(target));
        Self {
            parameters: target
                .fed()
                .map(parameter)
                .chain(omitted(target).map(|(_, field, _)| Column::left_out(field)))
                .collect(),
            omits: omitted(target).map(|(_, field, _)| field).collect(),
            insert: Some(insert(target).into()),
            change: change
                .iter()
                .map(|differs| update(target, differs).into())
                .collect(),
            differing: change.map(|differs| differing(target, &differs).into()),
            missing: missing(target).into(),
            keys: target.key.len(),
            unfound: unfound(target).into(),
            copy: copy(target),
            turns: Some(Turns::of(target)),
            guarded: target.table.guarded,
            own_checks: target.table.own_checks.clone(),
        }
    }
}
