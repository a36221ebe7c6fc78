//! The rows of a wave, and what becomes of them while they are written.

use std::collections::{BTreeMap, HashSet};

use crate::row::{Drop, Failure};
use crate::store::run::Counts;

/// Outcome of writing the rows of a chunk, which may still be rolled back.
pub(super) struct Written {
    pub rows: Counts,
    /// Rows that the database refuses.
    pub failures: Vec<Failure>,
    /// Rows that the database does not have, or not so, and raised no error for.
    pub swallowed: Vec<Drop>,
    /// Rows that are tried in the chunk's turn.
    pub early: Option<Early>,
    /// True if rows were refused that earlier runs have not refused.
    pub is_refused: bool,
}

/// Rows to write, in their order, without duplicates.
#[derive(Debug, Clone, Default)]
pub(super) struct Changed {
    pub all: Vec<u32>,
    /// Rows of `all` that can be copied.
    pub new: Vec<u32>,
    /// The other rows of `all`.
    pub known: Vec<u32>,
    /// Rows of `all` that the first table does not have.
    pub inserts: HashSet<u32>,
}

impl Changed {
    /// Rows that are not copied.
    pub(super) fn some(rows: Vec<u32>, inserts: HashSet<u32>) -> Self {
        Self {
            known: rows.clone(),
            all: rows,
            new: Vec::new(),
            inserts,
        }
    }

    pub(super) fn remove(&mut self, row: u32) {
        for rows in [&mut self.all, &mut self.new, &mut self.known] {
            rows.retain(|other| *other != row);
        }
    }
}

/// Result of looking up a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    pub in_first: bool,
    /// In no table that has the first table's key, and never written: it can be copied.
    pub new: bool,
    pub unchanged: bool,
    /// Flagged as a row that the source no longer has.
    pub flagged: bool,
}

impl Known {
    /// Of a row that nothing is looked up for.
    pub(super) const NEW: Self = Self {
        in_first: false,
        new: true,
        unchanged: false,
        flagged: false,
    };
}

/// A row that a table refuses, by the table's index; the digests come after the tables.
pub(super) struct Refused {
    pub table: usize,
    pub failure: Failure,
}

/// What is expected of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// Most of them are accepted.
    Together,
    /// Most of them are refused, as they were before.
    OneByOne,
}

/// Rows of a wave to be written into a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempted<'r> {
    pub rows: &'r [u32],
    pub trial: Trial,
    /// True if the table has accepted other rows of the wave.
    pub kept: bool,
}

/// The rows of a chunk some of which were refused before its turn.
pub(super) struct Early {
    pub wave: Changed,
    /// What is known of the rows of `wave`.
    pub known: Vec<(u32, Known)>,
    pub refused: Vec<Refused>,
    pub before: Before,
}

/// Rows that earlier runs have refused, and that have come again unchanged. They are not in the wave.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Rows whose own values violate a check constraint that is still there.
    pub certain: Vec<Failure>,
    /// Other rows, each with a hash of why it was refused.
    pub doubted: BTreeMap<u32, u64>,
}

impl Before {
    pub(super) fn is_empty(&self) -> bool {
        self.certain.is_empty() && self.doubted.is_empty()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = u32> + use<'_> {
        let certain = self.certain.iter().map(|failure| failure.row);
        certain.chain(self.doubted.keys().copied())
    }
}
