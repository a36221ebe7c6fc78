//! From bytes to rows, with limits.
//!
//! Walks the encoded `forebay.v1.Row` messages of a chunk once and keeps slices of them: no
//! text or vector is copied, no map is built. What is wrong with a row makes a [`Failure`] of
//! that row and of no other. Two fields of the same name, and members that this version does
//! not know, are treated as protobuf says: the last one wins, the unknown are passed over.

mod fields;

use std::sync::Arc;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use uuid::Uuid;

use crate::plugin::head;
use crate::row::{Batch, Column, Embeddings, Failure, FieldType, Schema, Stage, Value, Vector};

/// The type of the target tables' primary key, which a row's key has to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `uuid`.
    Uuid,
    /// `smallint`, `integer` or `bigint`, with its width in bits.
    Integer(u32),
    /// `text` and its like.
    Text,
}

/// A key longer than this cannot be indexed (PostgreSQL: a third of an 8 KiB page).
const MAX_KEY_BYTES: usize = 2_600;

/// What is asked of every row.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// What rows consist of.
    pub schema: Arc<Schema>,
    /// What the key has to be.
    pub key_type: KeyType,
    /// The largest encoded row, in bytes.
    pub max_row_bytes: usize,
}

/// What a row turned out to be.
enum Sort {
    /// To be written.
    Live,
    /// A tombstone.
    Deleted,
}

/// What a key is found to be.
#[derive(Default)]
struct Key {
    /// Where the row has it in another spelling.
    canonical: Option<ByteString>,
    uuid: Option<Uuid>,
}

fn note(batch: &mut Batch, row: usize, key: Key) {
    if let Some(canonical) = key.canonical {
        set(&mut batch.keys, row, canonical);
    }
    if let Some(uuid) = key.uuid {
        set(&mut batch.uuids, row, uuid);
    }
}

/// A row's fault: code, message, field. Boxed, so that what goes well is handed on in registers.
type Fault = Box<(&'static str, String, Option<String>)>;

#[cold]
fn fault(code: &'static str, message: impl Into<String>, field: Option<String>) -> Fault {
    Box::new((code, message.into(), field))
}

impl Decoder {
    /// Decodes the rows of a chunk. Those that fail are in `failures`, tombstones in `deleted`,
    /// the others in `live`.
    #[must_use]
    pub fn decode(&self, wire: Vec<Bytes>) -> Batch {
        let rows = wire.len();
        let mut batch = Batch {
            schema: Arc::clone(&self.schema),
            keys: vec![ByteString::new(); rows],
            uuids: match self.key_type {
                KeyType::Uuid => vec![Uuid::nil(); rows],
                KeyType::Integer(_) | KeyType::Text => Vec::new(),
            },
            values: vec![Value::Null; rows * self.schema.columns.len()],
            embeddings: Embeddings {
                width: self.schema.embeddings.len(),
                vectors: vec![None; rows * self.schema.embeddings.len()],
            },
            live: Vec::with_capacity(rows),
            wire,
            ..Batch::default()
        };
        let mut order = Order::default();
        for row in 0..rows {
            self.decode_next(&mut batch, row, &mut order);
        }
        batch
    }

    /// Decodes one row of a batch again, from its wire bytes.
    pub fn decode_row(&self, batch: &mut Batch, row: usize) {
        self.decode_next(batch, row, &mut Order::default());
    }

    fn decode_next(&self, batch: &mut Batch, row: usize, order: &mut Order) {
        let index = u32::try_from(row).unwrap_or(u32::MAX);
        match self.row(batch, row, order) {
            Ok(Sort::Live) => batch.live.push(index),
            Ok(Sort::Deleted) => batch.deleted.push(index),
            Err(fault) => {
                let (code, message, field) = *fault;
                self.note_key(batch, row, index);
                batch.failures.push(Failure {
                    row: index,
                    stage: Stage::Decode,
                    code: code.into(),
                    message,
                    field,
                    plugin: None,
                    attempt: 1,
                });
            }
        }
    }

    /// A row that failed has a key as the database has it, or is known to have none.
    fn note_key(&self, batch: &mut Batch, row: usize, index: u32) {
        let key = batch.keys.get(row).cloned().unwrap_or_default();
        match (self.check_key(&key), batch.keyless.binary_search(&index)) {
            (Ok(key), _) => note(batch, row, key),
            (Err(_), Err(place)) => batch.keyless.insert(place, index),
            (Err(_), Ok(_)) => {}
        }
    }

    fn row(&self, batch: &mut Batch, row: usize, order: &mut Order) -> Result<Sort, Fault> {
        let Some(wire) = batch.wire.get(row).cloned() else {
            return Ok(Sort::Live);
        };
        let mut bytes = wire.as_ref();
        if bytes.len() > self.max_row_bytes {
            let message = format!(
                "the row has {} bytes, {} are allowed",
                bytes.len(),
                self.max_row_bytes
            );
            // The key is worth knowing even so; it comes first in what usual encoders write.
            if let Ok(Part::Key(key)) = self.part(&wire, &mut bytes, order) {
                set(&mut batch.keys, row, key);
            }
            return Err(fault("ROW_TOO_LARGE", message, None));
        }
        let columns = self.schema.columns.len();
        let width = self.schema.embeddings.len();
        // The first fault is kept while the rest is read: the policy may want the fields.
        let mut fault = None;
        let mut sort = Sort::Live;
        order.begin();
        while bytes.has_remaining() {
            match self.part(&wire, &mut bytes, order) {
                Ok(Part::Key(key)) => set(&mut batch.keys, row, key),
                Ok(Part::Field(column, value)) => {
                    set(&mut batch.values, row * columns + column, value)
                }
                Ok(Part::Embedding(column, vector)) => {
                    set(
                        &mut batch.embeddings.vectors,
                        row * width + column,
                        Some(vector),
                    );
                }
                Ok(Part::Sort(found)) => sort = found,
                Ok(Part::Unknown) => {}
                Err(error) if error.0 == "ROW_MALFORMED" => return Err(error),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        let key = batch
            .keys
            .get(row)
            .map(ByteString::as_ref)
            .unwrap_or_default();
        note(batch, row, self.check_key(key)?);
        if let Sort::Deleted = sort {
            return Ok(sort);
        }
        fault.map_or(Ok(()), Err)?;
        self.check_embeddings(&batch.embeddings, row)?;
        Ok(sort)
    }

    fn part(&self, row: &Bytes, bytes: &mut &[u8], order: &mut Order) -> Result<Part, Fault> {
        let (tag, wire_type) = member(bytes)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => Ok(Part::Key(text(row, delimited(bytes)?)?)),
            (2, WireType::LengthDelimited) => self.field(row, delimited(bytes)?, order),
            (3, WireType::LengthDelimited) => self.embedding(row, delimited(bytes)?),
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

    fn field(&self, row: &Bytes, entry: &[u8], order: &mut Order) -> Result<Part, Fault> {
        let (name, value) = map_entry(entry)?;
        let columns = &self.schema.columns;
        let found = order.next(name, columns);
        let declared = found.and_then(|at| {
            let column = columns.get(at)?;
            Some((at, &column.name, column.field_type?))
        });
        let Some((column, name, declared)) = declared else {
            let name = utf8(name)?;
            let message = format!("the dataset declares no field `{name}`");
            return Err(fault("FIELD_UNKNOWN", message, Some(name.to_string())));
        };
        let value = fields::value(row, value).map_err(|mut fault| {
            fault.2 = Some(name.clone());
            fault
        })?;
        if !fits(&value, declared) {
            let came = kind(&value);
            let message = format!("`{name}` is declared {declared:?} and came as {came}");
            return Err(fault("FIELD_TYPE", message, Some(name.clone())));
        }
        Ok(Part::Field(column, value))
    }

    fn embedding(&self, row: &Bytes, entry: &[u8]) -> Result<Part, Fault> {
        let (name, vector) = map_entry(entry)?;
        let mut embeddings = self.schema.embeddings.iter();
        let found = embeddings.position(|embedding| embedding.name.as_bytes() == name);
        let Some(column) = found else {
            let name = utf8(name)?;
            let message = format!("the dataset declares no embedding `{name}`");
            return Err(fault("EMBEDDING_UNKNOWN", message, Some(name.to_string())));
        };
        match fields::vector(row, vector)? {
            Some(vector) => Ok(Part::Embedding(column, vector)),
            None => Ok(Part::Unknown),
        }
    }

    /// Judges a key. One that is spelled in another way than the database would (a UUID in
    /// capitals, `007`) is returned as the database has it: equal keys have to be equal texts.
    fn check_key(&self, key: &str) -> Result<Key, Fault> {
        if key.is_empty() {
            return Err(fault("KEY_MISSING", "the row has no key", None));
        }
        let invalid = |wanted: &str| {
            let message = format!("`{}` is not {wanted}", excerpt(key));
            fault("KEY_INVALID", message, None)
        };
        let canonical = |text: &str| (text != key).then(|| ByteString::from(text));
        match self.key_type {
            KeyType::Uuid => {
                let uuid = Uuid::try_parse(key).map_err(|_| invalid("a uuid"))?;
                let mut buffer = Uuid::encode_buffer();
                Ok(Key {
                    canonical: canonical(uuid.hyphenated().encode_lower(&mut buffer)),
                    uuid: Some(uuid),
                })
            }
            KeyType::Integer(bits) => {
                let range = -(1i128 << (bits - 1))..(1i128 << (bits - 1));
                let integer = key.parse().ok().filter(|integer| range.contains(integer));
                let integer = integer.ok_or_else(|| invalid("an integer in range"))?;
                Ok(Key {
                    canonical: canonical(&integer.to_string()),
                    uuid: None,
                })
            }
            KeyType::Text if key.len() > MAX_KEY_BYTES || key.contains('\0') => {
                Err(invalid("a text of at most 2,600 bytes without NUL"))
            }
            KeyType::Text => Ok(Key::default()),
        }
    }

    fn check_embeddings(&self, embeddings: &Embeddings, row: usize) -> Result<(), Fault> {
        for (index, declared) in self.schema.embeddings.iter().enumerate() {
            let name = &declared.name;
            let Some(vector) = embeddings.get(row, index) else {
                return Err(fault(
                    "EMBEDDING_MISSING",
                    format!("`{name}` is missing"),
                    Some(name.clone()),
                ));
            };
            let (bytes, width) = match vector {
                Vector::F32(bytes) => (bytes, 4),
                Vector::F16(bytes) => (bytes, 2),
            };
            if bytes.len() != declared.dimensions * width {
                let message = format!(
                    "`{name}` has {} bytes, {} dimensions need {}",
                    bytes.len(),
                    declared.dimensions,
                    declared.dimensions * width
                );
                return Err(fault("EMBEDDING_DIMENSIONS", message, Some(name.clone())));
            }
            if let Some(position) = fields::first_not_finite(vector) {
                let message = format!("`{name}` has a NaN or an infinity at element {position}");
                return Err(fault("EMBEDDING_NOT_FINITE", message, Some(name.clone())));
            }
        }
        Ok(())
    }
}

/// What a member of a row turned out to be.
enum Part {
    Key(ByteString),
    Field(usize, Value),
    Embedding(usize, Vector),
    Sort(Sort),
    Unknown,
}

/// In which order the fields of the last row came: those of the next one most often do, too, and
/// no name has to be looked for.
#[derive(Default)]
struct Order {
    columns: Vec<usize>,
    next: usize,
}

impl Order {
    /// The row begins.
    fn begin(&mut self) {
        self.next = 0;
    }

    /// The column of the row's next field.
    fn next(&mut self, name: &[u8], all: &[Column]) -> Option<usize> {
        let is = |column: &Column| column.name.as_bytes() == name;
        let at = self.next;
        self.next += 1;
        if let Some(column) = self.columns.get(at)
            && all.get(*column).is_some_and(is)
        {
            return Some(*column);
        }
        let column = all.iter().position(is)?;
        self.columns.resize(all.len(), column);
        set(&mut self.columns, at, column);
        Some(column)
    }
}

fn set<T>(slots: &mut [T], index: usize, value: T) {
    if let Some(slot) = slots.get_mut(index) {
        *slot = value;
    }
}

fn malformed(error: prost::DecodeError) -> Fault {
    fault("ROW_MALFORMED", error.to_string(), None)
}

/// The tag and the type of the next member. Those of one byte, which all of ours have, are read
/// at once: prost's function is made for more.
#[inline(always)]
fn member(bytes: &mut &[u8]) -> Result<(u32, WireType), Fault> {
    match bytes.split_first() {
        Some((first @ 8..0x80, rest)) => {
            *bytes = rest;
            let wire_type = WireType::try_from(u64::from(first & 7)).map_err(malformed)?;
            Ok((u32::from(first >> 3), wire_type))
        }
        _ => decode_key(bytes).map_err(malformed),
    }
}

#[inline(always)]
fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    match bytes.split_first() {
        Some((first @ ..0x80, rest)) => {
            *bytes = rest;
            Ok(u64::from(*first))
        }
        _ => decode_varint(bytes).map_err(malformed),
    }
}

/// The bytes of a length-delimited member.
#[inline(always)]
fn delimited<'r>(bytes: &mut &'r [u8]) -> Result<&'r [u8], Fault> {
    let length = usize::try_from(varint(bytes)?).ok();
    let Some((member, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
        let message = "a member is longer than the row";
        return Err(fault("ROW_MALFORMED", message, None));
    };
    *bytes = rest;
    Ok(member)
}

fn skip(wire_type: WireType, tag: u32, bytes: &mut &[u8]) -> Result<(), Fault> {
    skip_field(wire_type, tag, bytes, DecodeContext::default()).map_err(malformed)
}

fn not_utf8<E>(_: E) -> Fault {
    fault("ROW_MALFORMED", "a text is not UTF-8", None)
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    str::from_utf8(bytes).map_err(not_utf8)
}

/// A text of a row, which it goes on sharing.
fn text(row: &Bytes, bytes: &[u8]) -> Result<ByteString, Fault> {
    ByteString::try_from(row.slice_ref(bytes)).map_err(not_utf8)
}

/// A map's entry: key 1, value 2, either of which may be left out when empty. The key is not
/// known to be UTF-8.
#[inline(always)]
fn map_entry(mut entry: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (mut name, mut value) = (&[][..], &[][..]);
    while entry.has_remaining() {
        let (tag, wire_type) = member(&mut entry)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => name = delimited(&mut entry)?,
            (2, WireType::LengthDelimited) => value = delimited(&mut entry)?,
            _ => skip(wire_type, tag, &mut entry)?,
        }
    }
    Ok((name, value))
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

fn excerpt(key: &str) -> String {
    head(key, 60).to_owned()
}

#[cfg(test)]
mod tests;
