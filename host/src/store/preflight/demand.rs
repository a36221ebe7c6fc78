//! Requirements of a pipeline that a preflight checks.

use crate::route::Table;

/// A table to be written to.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// As configured.
    pub name: &'a str,
    /// `None` if no table of that name is visible.
    pub table: Option<&'a Table>,
    /// Columns by which rows are found.
    pub key: Vec<String>,
    /// Columns to be written, besides those of the key.
    pub columns: Vec<String>,
    /// True if rows are certainly deleted.
    pub deletes: bool,
}

/// Requirements of a pipeline.
#[derive(Debug, Clone)]
pub struct Demand<'a> {
    /// Its tables.
    pub tables: Vec<Wanted<'a>>,
    /// Maximum number of connections that it holds at the same time.
    pub connections: u32,
    /// Size of its rows on disk if all are new, in bytes; 0 if unknown.
    pub bytes: u64,
}
