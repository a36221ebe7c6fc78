//! Decoded rows, in columns.

use bytestring::ByteString;
use forebay_plugin_host::row::{Schema, Value, Vector};

/// What to take of each row.
#[derive(Clone, Copy)]
pub struct Shape<'s> {
    /// Fields and embeddings; those without a type are not read.
    pub schema: &'s Schema,
    /// Name of the column that is the key.
    pub key: &'s str,
    /// Whether an embedding of this index is read.
    pub is_used: &'s dyn Fn(usize) -> bool,
    /// Maximum size of a row, in bytes.
    pub max_row_bytes: usize,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Index of the row.
    pub row: usize,
    /// For machines.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The column, if it is only one.
    pub field: Option<String>,
}

/// Decoded rows.
#[derive(Debug, Default)]
pub struct Rows {
    /// One a row; empty if it is missing.
    pub keys: Vec<ByteString>,
    /// As many a row as the schema has columns.
    pub values: Vec<Value>,
    /// As many a row as the schema has embeddings.
    pub vectors: Vec<Option<Vector>>,
    /// Fields that a row left out, as row and column, in no order.
    pub left_out: Vec<(u32, u32)>,
    /// In no order; a row may have several.
    pub faults: Vec<Fault>,
    columns: usize,
    embeddings: usize,
}

impl Rows {
    /// Room for `rows` rows, all null.
    #[must_use]
    pub fn new(rows: usize, schema: &Schema) -> Self {
        let (columns, embeddings) = (schema.columns.len(), schema.embeddings.len());
        Self {
            keys: vec![ByteString::new(); rows],
            values: vec![Value::Null; rows * columns],
            vectors: vec![None; rows * embeddings],
            left_out: Vec::new(),
            faults: Vec::new(),
            columns,
            embeddings,
        }
    }

    pub(crate) fn key(&mut self, row: usize, key: ByteString) {
        if let Some(slot) = self.keys.get_mut(row) {
            *slot = key;
        }
    }

    pub(crate) fn value(&mut self, row: usize, column: usize, value: Value) {
        if let Some(slot) = self.values.get_mut(row * self.columns + column) {
            *slot = value;
        }
    }

    pub(crate) fn vector(&mut self, row: usize, embedding: usize, vector: Vector) {
        if let Some(slot) = self.vectors.get_mut(row * self.embeddings + embedding) {
            *slot = Some(vector);
        }
    }

    pub(crate) fn leave_out(&mut self, row: usize, column: usize) {
        if let (Ok(row), Ok(column)) = (u32::try_from(row), u32::try_from(column)) {
            self.left_out.push((row, column));
        }
    }

    #[cold]
    pub(crate) fn fault(
        &mut self,
        row: usize,
        code: &'static str,
        message: impl Into<String>,
        field: Option<&str>,
    ) {
        self.faults.push(Fault {
            row,
            code,
            message: message.into(),
            field: field.map(str::to_owned),
        });
    }
}
