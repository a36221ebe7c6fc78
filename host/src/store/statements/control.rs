//! Control statements: they write a row that a table has already, in the way in which new or known
//! rows are written. If they are refused as rows of a chunk were, those rows are not to blame.

use super::table::columns_of;
use crate::route::{self, Target};
use crate::store::sql::{literal, quote};

/// The control statements of a table, and what it was when the run began.
#[derive(Debug)]
pub(in crate::store) struct Control {
    /// The table as the configuration names it.
    pub name: String,
    /// The table, quoted for use in SQL.
    pub quoted: String,
    /// The columns that rows feed.
    pub fed: Vec<route::Column>,
    /// Statements for the `$1`-th of the oldest rows, and for the `$1`-th of the latest.
    pub ends: [ControlStatements; 2],
}

/// Statements that change a row to what it is.
#[derive(Debug)]
pub(in crate::store) struct ControlStatements {
    /// Takes the row out of the table and inserts it again.
    pub insert: String,
    /// Sets the columns of the row to what they are; `None` if it has only a key.
    pub update: Option<String>,
    /// Deletes the row.
    pub delete: String,
}

impl Control {
    pub(super) fn new(target: &Target) -> Self {
        let table = &target.table;
        // The last rows of the last page are the latest, unless older ones have left room before it.
        // The rows of a partitioned table are elsewhere, and not sorted for this.
        let size = format!("pg_relation_size({}::regclass)", literal(&table.quoted));
        let latest = format!(
            " where {size} > 0 and ctid >= pg_catalog.format('(%s,0)',
                 greatest({size} / current_setting('block_size')::int - 1, 0))::tid order by ctid desc"
        );
        Self {
            name: table.name.clone(),
            quoted: table.quoted.clone(),
            fed: columns_of(target).cloned().collect(),
            ends: ["", &latest].map(|rows| ControlStatements::new(target, rows)),
        }
    }
}

impl ControlStatements {
    /// `rows` is the condition of the rows to choose from.
    fn new(target: &Target, rows: &str) -> Self {
        let table = &target.table.quoted;
        // By its place, since a key's type may have no operators on the search path.
        let row = format!("ctid = any(array(select ctid from {table}{rows} limit 1 offset $1))");
        let names = columns_of(target).map(|column| quote(&column.name));
        let stamped = target.stamped.iter().map(|name| quote(name));
        let all: Vec<String> = names.chain(stamped).collect();
        let all = all.join(", ");
        let same = target.columns.iter().map(|fed| quote(&fed.column.name));
        let same: Vec<String> = same.map(|name| format!("{name} = {name}")).collect();
        let same = same.join(", ");
        Self {
            insert: format!(
                "with old as (delete from {table} where {row} returning {all})\ninsert into {table} ({all}) select {all} from old"
            ),
            update: (!same.is_empty()).then(|| format!("update {table} set {same} where {row}")),
            delete: format!("delete from {table} where {row}"),
        }
    }
}
