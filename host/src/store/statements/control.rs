//! Control statements: they write a row that a table has already, in the way in which new or known
//! rows are written. If they are refused as rows of a chunk were, those rows are not to blame.

use super::table::columns_of;
use crate::route::{self, Target};
use crate::store::sql::quote;

/// The control statements of a table, and what it was when the run began.
#[derive(Debug)]
pub(in crate::store) struct Control {
    /// The table as the configuration names it.
    pub name: String,
    /// The table, quoted for use in SQL.
    pub quoted: String,
    /// The columns that rows feed.
    pub fed: Vec<route::Column>,
    /// Takes the `$1`-th row out of the table and inserts it again.
    pub insert: String,
    /// Sets the columns of the `$1`-th row to what they are; `None` if it has only a key.
    pub update: Option<String>,
}

impl Control {
    pub(super) fn new(target: &Target) -> Self {
        let table = &target.table;
        // By its place, since a key's type may have no operators on the search path.
        let row = format!(
            "(tableoid, ctid) = (select tableoid, ctid from {} limit 1 offset $1)",
            table.quoted
        );
        let names: Vec<String> = columns_of(target)
            .map(|column| quote(&column.name))
            .collect();
        let stamped = target.stamped.iter().map(|name| quote(name));
        let all: Vec<String> = names.iter().cloned().chain(stamped).collect();
        let all = all.join(", ");
        let same = target.columns.iter().map(|fed| quote(&fed.column.name));
        let same: Vec<String> = same.map(|name| format!("{name} = {name}")).collect();
        Self {
            name: table.name.clone(),
            quoted: table.quoted.clone(),
            fed: columns_of(target).cloned().collect(),
            insert: format!(
                "with old as (delete from {0} where {row} returning {all})\ninsert into {0} ({all}) select {all} from old",
                table.quoted
            ),
            update: (!same.is_empty()).then(|| {
                format!(
                    "update {} set {} where {row}",
                    table.quoted,
                    same.join(", ")
                )
            }),
        }
    }
}
