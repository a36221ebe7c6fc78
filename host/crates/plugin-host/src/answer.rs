//! Questions to the roles and their answers, independent of the form in which they are passed:
//! rows of values (`rows.rs`) or a batch in one piece (`packed.rs`).

use bytestring::ByteString;

use super::bindings::types::Rejection;
use super::limits::{MAX_CODE, MAX_FIELD, MAX_MESSAGE, MAX_REASON};
use super::sanitize::{cut, line, shortened};
use crate::row::{Batch, Value};

/// The rows of a call, and the columns that the plugin sees.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) batch: &'a Batch,
    /// Indices in the batch. Rows of an answer are indices of this slice.
    pub(super) rows: &'a [u32],
    /// Indices of the columns.
    pub(super) columns: &'a [usize],
}

impl<'a> Question<'a> {
    /// Names of the columns.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let columns = &self.batch.schema.columns;
        self.columns
            .iter()
            .filter_map(|column| columns.get(*column))
            .map(|column| column.name.as_str())
            .collect()
    }

    /// The key of a row.
    pub(super) fn key(&self, row: u32) -> &'a str {
        self.batch.keys.get(row as usize).map_or("", |key| &**key)
    }

    /// The values of a row, in the order of the columns.
    pub(super) fn values(&self, row: u32) -> impl Iterator<Item = &'a Value> {
        let values = self.batch.row(row);
        self.columns.iter().filter_map(|column| values.get(*column))
    }
}

/// Answer of `transform`. Rows that it does not name stay as they are.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Fields to set. The last value of a field counts.
    pub(super) cells: Vec<Cell>,
    /// Rows that leave the pipeline: ascending, each once.
    pub(super) gone: Vec<Gone>,
    /// Bytes that the values share: all are kept as long as one value is.
    pub(super) shared: usize,
}

/// A field to set.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) row: u32,
    /// The index of the column in the schema.
    pub(super) column: usize,
    pub(super) value: Value,
}

/// A row that leaves the pipeline.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) row: u32,
    pub(super) why: Why,
}

/// Reason why a row leaves the pipeline.
#[derive(Debug)]
pub(super) enum Why {
    Drop(String),
    Reject(Rejection),
    /// A field that cannot be set, and the reason.
    Wrong {
        field: String,
        message: String,
    },
}

/// Answer of a call.
pub(super) trait Answer {
    /// Bytes that the host keeps for it. Visits each value.
    fn bytes(&self) -> usize;
}

impl Answer for Changes {
    fn bytes(&self) -> usize {
        let of_text = |text: &ByteString| size_of::<ByteString>() + text.len();
        let of_value = |cell: &Cell| match &cell.value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Binary(bytes) => bytes.len(),
            Value::Texts(texts) => texts.iter().map(of_text).sum(),
            Value::Null
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::Real(_)
            | Value::Timestamp(_) => 0,
        };
        let of_gone = |gone: &Gone| match &gone.why {
            Why::Drop(reason) => reason.len(),
            Why::Reject(rejection) => rejection.bytes(),
            Why::Wrong { field, message } => field.len() + message.len(),
        };
        let values: usize = self.cells.iter().map(of_value).sum();
        let gone: usize = self.gone.iter().map(of_gone).sum();
        let fixed = size_of_val(self.cells.as_slice()) + size_of_val(self.gone.as_slice());
        fixed + values.max(self.shared) + gone
    }
}

impl Answer for Faults {
    fn bytes(&self) -> usize {
        let rejections: usize = self.iter().map(|(_, rejection)| rejection.bytes()).sum();
        size_of_val(self.as_slice()) + rejections
    }
}

impl Answer for Rejection {
    fn bytes(&self) -> usize {
        self.code.len() + self.message.len() + self.field.as_ref().map_or(0, String::len)
    }
}

/// Cuts a guest's rejection to the lengths that the interface allows.
pub(super) fn kept(rejection: Rejection) -> Rejection {
    let code = match line(rejection.code, MAX_CODE) {
        code if code.is_empty() => "REJECTED".to_owned(),
        code => code,
    };
    Rejection {
        code,
        message: cut(rejection.message, MAX_MESSAGE),
        field: rejection.field.map(|field| line(field, MAX_FIELD)),
    }
}

impl Why {
    /// The plugin drops the row.
    pub(super) fn drop(reason: String) -> Self {
        Self::Drop(line(reason, MAX_REASON))
    }

    /// The plugin rejects the row.
    pub(super) fn reject(rejection: Rejection) -> Self {
        Self::Reject(kept(rejection))
    }

    /// The plugin sets a field that exists neither in the source nor in a table.
    pub(super) fn unknown_field(name: &str) -> Self {
        let shown = shortened(name, MAX_FIELD);
        Self::Wrong {
            field: line(name, MAX_FIELD),
            message: format!("set the unknown field {shown:?}"),
        }
    }

    /// The plugin sets a JSON field to invalid JSON.
    pub(super) fn not_json(name: &str, reason: &serde_json::Error) -> Self {
        Self::Wrong {
            field: name.to_owned(),
            message: format!("set field {name:?} to invalid JSON: {reason}"),
        }
    }
}

/// Answer of `validate`: one entry per fault, in ascending order of rows.
pub(super) type Faults = Vec<(u32, Rejection)>;
