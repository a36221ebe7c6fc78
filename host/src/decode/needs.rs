//! What the tables need of a row, beside its key.

use crate::row::Batch;

/// How much an embedding is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Need {
    /// A row without it fails: a column that takes it is NOT NULL.
    #[default]
    Required,
    /// A row without it is stored with null.
    Optional,
    /// No table takes it: it costs no row, whatever it is.
    Unused,
}

/// What the tables need of a row. By default, all embeddings.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// For the embeddings of the schema, in their order; further ones are required.
    pub embeddings: Vec<Need>,
    /// The columns of the schema, ascending, that feed a column with a default.
    pub defaulted: Vec<usize>,
}

impl Needs {
    pub(super) fn embedding(&self, index: usize) -> Need {
        self.embeddings.get(index).copied().unwrap_or_default()
    }

    /// Forgets what a row left out before it was decoded again. `given` gets a slot for each column
    /// that may have a default: false until its field is met.
    pub(super) fn begin(&self, batch: &mut Batch, row: usize, given: &mut Vec<bool>) {
        given.clear();
        given.resize(self.defaulted.last().map_or(0, |last| last + 1), false);
        let last = batch.left_out.last();
        if last.is_some_and(|(last, _)| *last as usize >= row) {
            batch.left_out.retain(|(other, _)| *other as usize != row);
        }
    }

    /// Notes the fields that a row has left out.
    pub(super) fn note_left_out(&self, batch: &mut Batch, row: usize, given: &[bool]) {
        let is_given = |column: &usize| given.get(*column).copied().unwrap_or_default();
        let left_out = self.defaulted.iter().filter(|column| !is_given(column));
        let places = left_out
            .filter_map(|column| Some((u32::try_from(row).ok()?, u32::try_from(*column).ok()?)));
        let is_last = batch
            .left_out
            .last()
            .is_none_or(|(last, _)| (*last as usize) < row);
        batch.left_out.extend(places);
        if !is_last {
            // The row was decoded again.
            batch.left_out.sort_unstable();
        }
    }
}
