//! The statements that touch target tables, made once from the catalog.

mod compare;
mod control;
mod items;
mod lookup;
mod of_table;
mod pipeline;
mod table;
#[cfg(test)]
mod tests;
mod turns;

pub(super) use self::compare::{Comparison, comparisons};
pub(super) use self::of_table::TableStatements;
pub(super) use self::pipeline::{Fed, Statements};
pub(super) use self::turns::{INDEXES, UniqueIndex};
