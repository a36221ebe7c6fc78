//! What the tables have of a chunk's rows while it is written, and what the statements did to them.

use std::collections::BTreeSet;

/// The rows of a chunk by their indices in its batch.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// For each table, true for the rows that it has.
    present: Vec<Vec<bool>>,
    /// True for rows of which some table was changed.
    touched: Vec<bool>,
    /// Rows that a table does not have as they were written, although the server raised no error.
    swallowed: BTreeSet<u32>,
}

impl Outcomes {
    /// For a chunk of `rows` rows: no table has any.
    pub(super) fn new(tables: usize, rows: usize) -> Self {
        Self {
            present: vec![vec![false; rows]; tables],
            touched: vec![false; rows],
            swallowed: BTreeSet::new(),
        }
    }

    /// Notes if a table has a row.
    pub(super) fn note(&mut self, table: usize, row: u32, is_present: bool) {
        let rows = self.present.get_mut(table);
        if let Some(slot) = rows.and_then(|rows| rows.get_mut(row as usize)) {
            *slot = is_present;
        }
    }

    /// The rows that a table has, and the others.
    pub(super) fn split(&self, table: usize, rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let present = self.present.get(table).map_or(&[][..], Vec::as_slice);
        let is_present = |row: &u32| present.get(*row as usize).copied().unwrap_or_default();
        rows.iter().partition(|row| is_present(row))
    }

    /// Notes that a table was changed for these rows.
    pub(super) fn touch(&mut self, rows: impl IntoIterator<Item = u32>) {
        for row in rows {
            if let Some(slot) = self.touched.get_mut(row as usize) {
                *slot = true;
            }
        }
    }

    /// True if some table was changed for a row.
    pub(super) fn is_touched(&self, row: u32) -> bool {
        self.touched.get(row as usize).copied().unwrap_or_default()
    }

    /// Forgets that rows were swallowed: they are written again.
    pub(super) fn begin(&mut self, rows: &[u32]) {
        if !self.swallowed.is_empty() {
            for row in rows {
                self.swallowed.remove(row);
            }
        }
    }

    /// Notes that rows were swallowed.
    pub(super) fn swallow(&mut self, rows: impl IntoIterator<Item = u32>) {
        self.swallowed.extend(rows);
    }

    /// True if a row was swallowed.
    pub(super) fn is_swallowed(&self, row: u32) -> bool {
        self.swallowed.contains(&row)
    }

    /// Rows that were swallowed.
    pub(super) fn swallowed(&self) -> impl Iterator<Item = u32> + use<'_> {
        self.swallowed.iter().copied()
    }
}
