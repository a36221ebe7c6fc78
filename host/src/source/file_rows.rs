//! Rows of a file, with what is needed to keep one as a dead letter.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::files::{Rows, Shape, Units, decode};
use crate::proto;
use crate::row::{Value, Vector};
use crate::source::dataset::FileFormat;

/// The field of a dead letter that has the line of a file as it is, where no row could be made of it.
const LINE: &str = "(line)";

/// Rows of a file.
#[derive(Debug, Clone)]
pub struct FileRows {
    rows: Units,
    format: Arc<FileFormat>,
}

impl FileRows {
    pub(super) fn new(rows: Units, format: &Arc<FileFormat>) -> Self {
        Self {
            rows,
            format: Arc::clone(format),
        }
    }

    /// The undecoded rows.
    #[must_use]
    pub fn units(&self) -> &Units {
        &self.rows
    }

    /// Name of the column that is the key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.format.key
    }

    /// Adds the rows that follow.
    pub(in crate::source) fn append(&mut self, more: Self) {
        self.rows.append(more.rows);
    }

    /// One of the rows.
    #[must_use]
    pub fn one(&self, row: usize) -> Self {
        self.select(&[row])
    }

    /// Some of the rows.
    pub(in crate::source) fn select(&self, rows: &[usize]) -> Self {
        let mut selected = Units::default();
        for one in rows.iter().filter_map(|row| self.rows.one(*row)) {
            selected.append(one);
        }
        Self::new(selected, &self.format)
    }

    /// A row as an encoded `forebay.v1.Row`. What could not be decoded of it is there as JSON; a line
    /// that is no row, as a text.
    pub(in crate::source) fn encoded(&self, row: usize) -> Bytes {
        let Some(one) = self.rows.one(row) else {
            return Bytes::new();
        };
        let shape = Shape {
            schema: &self.format.schema,
            key: &self.format.key,
            is_used: &|_| true,
            max_row_bytes: usize::MAX,
        };
        let decoded = decode(&one, &shape);
        let mut row = self.row(&decoded);
        for fault in &decoded.faults {
            let (name, text) = match &fault.field {
                Some(field) => (field.clone(), one.json(field)),
                None => (LINE.to_owned(), one.line()),
            };
            if let Some(text) = text {
                let kind = match fault.field {
                    Some(_) => proto::value::Kind::Json(text),
                    None => proto::value::Kind::Text(text),
                };
                row.fields.insert(name, proto::Value { kind: Some(kind) });
            }
        }
        row.encode_to_vec().into()
    }

    fn row(&self, decoded: &Rows) -> proto::Row {
        let schema = &self.format.schema;
        let fields = schema.columns.iter().zip(&decoded.values);
        let embeddings = schema.embeddings.iter().zip(&decoded.vectors);
        proto::Row {
            key: decoded
                .keys
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            fields: fields
                .map(|(column, value)| (column.name.clone(), field(value)))
                .collect(),
            embeddings: embeddings
                .filter_map(|(embedding, vector)| {
                    Some((embedding.name.clone(), self::vector(vector.as_ref()?)))
                })
                .collect(),
            deleted: false,
        }
    }
}

fn field(value: &Value) -> proto::Value {
    use proto::value::Kind;
    let kind = match value {
        Value::Null => None,
        Value::Boolean(value) => Some(Kind::Boolean(*value)),
        Value::Integer(value) => Some(Kind::Integer(*value)),
        Value::Real(value) => Some(Kind::Real(*value)),
        Value::Text(value) => Some(Kind::Text(value.to_string())),
        Value::Binary(value) => Some(Kind::Binary(value.clone())),
        Value::Timestamp(micros) => Some(Kind::Timestamp(prost_types::Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
        })),
        Value::Json(value) => Some(Kind::Json(value.to_string())),
        Value::Texts(values) => Some(Kind::Texts(proto::Texts {
            values: values.iter().map(ToString::to_string).collect(),
        })),
    };
    proto::Value { kind }
}

fn vector(vector: &Vector) -> proto::Vector {
    use proto::vector::Elements;
    let elements = match vector {
        Vector::F32(bytes) => Elements::F32(bytes.clone()),
        Vector::F16(bytes) => Elements::F16(bytes.clone()),
    };
    proto::Vector {
        elements: Some(elements),
    }
}
