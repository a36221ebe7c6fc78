//! What is asked of the roles and what they answer, whichever form they have: rows of values
//! (`rows.rs`) or a batch in one piece (`packed.rs`).

use super::bindings::types::Rejection;
use super::limits::MAX_FIELD;
use super::text::{cut, shortened};
use crate::row::{Batch, Value};

/// One of the two forms.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<R, P> {
    Rows(R),
    Packed(P),
}

/// The rows of a call, and what it may see of them.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) batch: &'a Batch,
    /// Indices in the batch. Answers count in these.
    pub(super) rows: &'a [u32],
    /// Indices of the columns.
    pub(super) columns: &'a [usize],
}

impl<'a> Question<'a> {
    /// The columns' names.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let columns = &self.batch.schema.columns;
        self.columns
            .iter()
            .filter_map(|column| columns.get(*column))
            .map(|column| column.name.as_str())
            .collect()
    }

    /// A row's key.
    pub(super) fn key(&self, row: u32) -> &'a str {
        self.batch.keys.get(row as usize).map_or("", |key| &**key)
    }

    /// A row's values, in the order of the columns.
    pub(super) fn values(&self, row: u32) -> impl Iterator<Item = &'a Value> {
        let values = self.batch.row(row);
        self.columns.iter().filter_map(|column| values.get(*column))
    }
}

/// What becomes of the rows of a call of `transform`; of those that are not named, nothing.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Fields to set. The last one counts.
    pub(super) cells: Vec<Cell>,
    /// Rows that do not go on: ascending, each once.
    pub(super) gone: Vec<Gone>,
}

/// A field to set.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) row: u32,
    /// The index of the column in the schema.
    pub(super) column: usize,
    pub(super) value: Value,
}

/// A row that does not go on.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) row: u32,
    pub(super) why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    Drop(String),
    Reject(Rejection),
    /// What cannot be set, and why.
    Wrong {
        field: String,
        message: String,
    },
}

impl Why {
    /// A field that neither the source nor a table has.
    pub(super) fn unknown_field(name: &str) -> Self {
        let shown = shortened(name, MAX_FIELD);
        Self::Wrong {
            field: cut(name.to_owned(), MAX_FIELD),
            message: format!("set the unknown field {shown:?}"),
        }
    }

    /// Text of a field of JSON that is none.
    pub(super) fn not_json(name: &str, reason: &serde_json::Error) -> Self {
        Self::Wrong {
            field: name.to_owned(),
            message: format!("set field {name:?} to what is not JSON: {reason}"),
        }
    }
}

/// What a call of `validate` finds wrong: ascending rows, each as often as it has faults.
pub(super) type Faults = Vec<(u32, Rejection)>;
