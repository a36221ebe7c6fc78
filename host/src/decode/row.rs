//! The format `forebay.v1.Row`.

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use prost::encoding::WireType;

use super::fault::{Fault, fault};
use super::order::Orders;
use super::wire::{delimited, map_entry, member, skip, text, utf8, varint};
use super::{Decoder, Sort, excerpt, fields, set};
use crate::row::{Batch, FieldType, Value, Vector};

/// A member of a row.
enum Part {
    Key(ByteString),
    Field(usize, Value),
    Embedding(usize, Vector),
    Sort(Sort),
    Unknown,
}

impl Decoder {
    /// Reads a row into a batch.
    pub(super) fn row<'s>(
        &'s self,
        batch: &mut Batch,
        row: usize,
        wire: &Bytes,
        order: &mut Orders<'s>,
    ) -> Result<Sort, Fault> {
        let mut bytes = wire.as_ref();
        if bytes.len() > self.max_row_bytes {
            // The key is worth knowing even then; most encoders write it first.
            if let Ok(Part::Key(key)) = self.part(wire, &mut bytes, order) {
                set(&mut batch.keys, row, key);
            }
            return Err(self.too_large(wire.len()));
        }
        let columns = self.schema.columns.len();
        // The first fault is kept while the rest is read: the policy may want the fields.
        let mut fault = None;
        let mut sort = Sort::Live;
        self.needs.begin(batch, row, &mut order.given);
        order.begin(self.max_row_bytes);
        while bytes.has_remaining() {
            match self.part(wire, &mut bytes, order) {
                Ok(Part::Key(key)) => set(&mut batch.keys, row, key),
                Ok(Part::Field(column, value)) => {
                    set(&mut order.given, column, true);
                    set(&mut batch.values, row * columns + column, value);
                }
                Ok(Part::Embedding(column, vector)) => {
                    let at = row * self.schema.embeddings.len() + column;
                    set(&mut batch.embeddings.vectors, at, Some(vector));
                }
                Ok(Part::Sort(found)) => sort = found,
                Ok(Part::Unknown) => {}
                Err(error) if error.0 == "ROW_MALFORMED" => return Err(error),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        self.check(batch, row, (sort, fault), Some(&order.given))
    }

    fn part<'s>(
        &'s self,
        row: &Bytes,
        bytes: &mut &[u8],
        order: &mut Orders<'s>,
    ) -> Result<Part, Fault> {
        let (tag, wire_type) = member(bytes)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => Ok(Part::Key(text(row, delimited(bytes)?)?)),
            (2, WireType::LengthDelimited) => self.field(row, delimited(bytes)?, order),
            (3, WireType::LengthDelimited) => self.embedding(row, delimited(bytes)?, order),
            (4, WireType::Varint) => Ok(Part::Sort(match varint(bytes)? {
                0 => Sort::Live,
                _ => Sort::Deleted,
            })),
            (1..=4, _) => Err(fault(
                "ROW_MALFORMED",
                format!("member {tag} has the wrong wire type"),
                None,
            )),
            _ => {
                skip(wire_type, tag, bytes)?;
                Ok(Part::Unknown)
            }
        }
    }

    fn field<'s>(
        &'s self,
        row: &Bytes,
        entry: &[u8],
        order: &mut Orders<'s>,
    ) -> Result<Part, Fault> {
        let (name, value) = map_entry(entry)?;
        let found = order.fields.next(name);
        let declared = found.and_then(|at| {
            let column = self.schema.columns.get(at)?;
            Some((at, &column.name, column.field_type?))
        });
        let Some((column, name, declared)) = declared else {
            let name = utf8(name)?;
            let name = excerpt(name);
            let message = format!("the dataset declares no field `{name}`");
            return Err(fault("FIELD_UNKNOWN", message, Some(name)));
        };
        let value = fields::value(row, value, &mut order.items).map_err(|mut fault| {
            fault.2 = Some(name.clone());
            fault
        })?;
        if !fits(&value, declared) {
            let actual = kind(&value);
            let message = format!("`{name}` is declared {declared:?} but is {actual}");
            return Err(fault("FIELD_TYPE", message, Some(name.clone())));
        }
        Ok(Part::Field(column, value))
    }

    fn embedding<'s>(
        &'s self,
        row: &Bytes,
        entry: &[u8],
        order: &mut Orders<'s>,
    ) -> Result<Part, Fault> {
        let (name, vector) = map_entry(entry)?;
        let Some(column) = order.embeddings.next(name) else {
            let name = excerpt(utf8(name)?);
            let message = format!("the dataset declares no embedding `{name}`");
            return Err(fault("EMBEDDING_UNKNOWN", message, Some(name)));
        };
        match fields::vector(row, vector)? {
            Some(vector) => Ok(Part::Embedding(column, vector)),
            None => Ok(Part::Unknown),
        }
    }
}

fn fits(value: &Value, declared: FieldType) -> bool {
    match value {
        Value::Null => true,
        Value::Boolean(_) => declared == FieldType::Boolean,
        Value::Integer(_) => declared == FieldType::Integer,
        Value::Real(_) => declared == FieldType::Real,
        Value::Text(_) => declared == FieldType::Text,
        Value::Binary(_) => declared == FieldType::Binary,
        Value::Timestamp(_) => declared == FieldType::Timestamp,
        Value::Texts(_) => declared == FieldType::Texts,
        Value::Json(_) => declared == FieldType::Json,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real",
        Value::Text(_) => "a text",
        Value::Binary(_) => "binary",
        Value::Timestamp(_) => "a timestamp",
        Value::Texts(_) => "texts",
        Value::Json(_) => "JSON",
    }
}
