//! Decodes bytes to rows, with limits.
//!
//! Walks the encoded `forebay.v1.Row` messages of a chunk once and keeps slices of them: no
//! text or vector is copied, no map is built. A fault in a row makes a [`Failure`] of that row
//! and of no other. Duplicate fields and unknown members are treated as protobuf says: the last
//! duplicate wins, unknown members are skipped.

mod fault;
mod fields;
mod needs;
mod order;
mod wire;

use std::sync::Arc;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use prost::encoding::WireType;
use uuid::Uuid;

use self::fault::{Fault, fault};
pub use self::needs::{Need, Needs};
use self::order::Orders;
use self::wire::{delimited, map_entry, member, skip, text, utf8, varint};
use crate::plugin::head;
use crate::row::{
    Batch, EmbeddingColumn, Embeddings, Failure, FieldType, Schema, Stage, Value, Vector,
};

/// Type of the target tables' primary key, which a row's key must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `uuid`.
    Uuid,
    /// `smallint`, `integer` or `bigint`, with its width in bits.
    Integer(u32),
    /// `text` and similar types.
    Text,
}

/// Maximum length of a key, in bytes: a longer one cannot be indexed (PostgreSQL: a third of an
/// 8 KiB page).
const MAX_KEY_BYTES: usize = 2_600;

/// Memory that a row takes beside its bytes while it is in flight, in bytes: at least that of its
/// key, its digest and its places in the columns.
#[must_use]
pub fn row_cost(schema: &Schema) -> usize {
    let row = size_of::<Bytes>() + size_of::<ByteString>() + 2 * size_of::<Uuid>();
    row + schema.columns.len() * size_of::<Value>()
        + schema.embeddings.len() * size_of::<Option<Vector>>()
}

/// Rows to ask the source for, at most `wanted`: a chunk of them has to fit into `in_flight` bytes,
/// however many columns it has.
#[must_use]
pub fn chunk_rows(schema: &Schema, in_flight: usize, wanted: u32) -> u32 {
    let room = u32::try_from(in_flight / row_cost(schema)).unwrap_or(u32::MAX);
    wanted.min(room).max(1)
}

/// Decodes rows, and holds the requirements that every row must meet.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// Fields and embeddings of a row.
    pub schema: Arc<Schema>,
    /// Type of the key.
    pub key_type: KeyType,
    /// Maximum size of an encoded row, in bytes.
    pub max_row_bytes: usize,
    /// What the tables need of a row.
    pub needs: Needs,
}

/// The kind of a row.
enum Sort {
    /// To be written.
    Live,
    /// A tombstone.
    Deleted,
}

/// A valid key.
#[derive(Default)]
struct Key {
    /// Its canonical spelling, if the row has another one.
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

impl Decoder {
    /// Decodes the rows of a chunk. Rows that fail are in `failures`, tombstones in `deleted`,
    /// all others in `live`.
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
        let mut order = Orders::new(&self.schema);
        for row in 0..rows {
            self.decode_next(&mut batch, row, &mut order);
        }
        batch
    }

    /// Decodes one row of a batch again, from its wire bytes.
    pub fn decode_row(&self, batch: &mut Batch, row: usize) {
        self.decode_next(batch, row, &mut Orders::new(&self.schema));
    }

    fn decode_next<'s>(&'s self, batch: &mut Batch, row: usize, order: &mut Orders<'s>) {
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

    /// Records the canonical key of a row that failed, or that it has none.
    fn note_key(&self, batch: &mut Batch, row: usize, index: u32) {
        let key = batch.keys.get(row).cloned().unwrap_or_default();
        match (self.check_key(&key), batch.keyless.binary_search(&index)) {
            (Ok(key), _) => note(batch, row, key),
            (Err(_), Err(place)) => batch.keyless.insert(place, index),
            (Err(_), Ok(_)) => {}
        }
    }

    fn row<'s>(
        &'s self,
        batch: &mut Batch,
        row: usize,
        order: &mut Orders<'s>,
    ) -> Result<Sort, Fault> {
        let Some(wire) = batch.wire.get(row).cloned() else {
            return Ok(Sort::Live);
        };
        let mut bytes = wire.as_ref();
        if bytes.len() > self.max_row_bytes {
            let message = format!(
                "the row has {} bytes; limits.row allows {}",
                bytes.len(),
                self.max_row_bytes
            );
            // The key is worth knowing even then; most encoders write it first.
            if let Ok(Part::Key(key)) = self.part(&wire, &mut bytes, order) {
                set(&mut batch.keys, row, key);
            }
            return Err(fault("ROW_TOO_LARGE", message, None));
        }
        let columns = self.schema.columns.len();
        // The first fault is kept while the rest is read: the policy may want the fields.
        let mut fault = None;
        let mut sort = Sort::Live;
        self.needs.begin(batch, row, &mut order.given);
        order.begin(self.max_row_bytes);
        while bytes.has_remaining() {
            match self.part(&wire, &mut bytes, order) {
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
        self.check_embeddings(&mut batch.embeddings, row)?;
        self.needs.note_left_out(batch, row, &order.given);
        Ok(sort)
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

    /// Checks a key. A key that is not spelled as the database would (a UUID in capitals, `007`) is
    /// returned in the database's spelling: equal keys must be equal texts.
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

    fn check_embeddings(&self, embeddings: &mut Embeddings, row: usize) -> Result<(), Fault> {
        for (index, declared) in self.schema.embeddings.iter().enumerate() {
            let fault = match (embeddings.get(row, index), self.needs.embedding(index)) {
                (Some(vector), _) => vector_fault(declared, vector),
                (None, Need::Required) => {
                    let message = format!("`{}` is missing", declared.name);
                    Some(("EMBEDDING_MISSING", message))
                }
                (None, Need::Optional | Need::Unused) => None,
            };
            match (fault, self.needs.embedding(index)) {
                (None, _) => {}
                // No table has it, so it costs no row; plugins do not see it.
                (Some(_), Need::Unused) => {
                    if let Some(slot) = embeddings.slot(row, index) {
                        *slot = None;
                    }
                }
                (Some((code, message)), Need::Required | Need::Optional) => {
                    return Err(fault::fault(code, message, Some(declared.name.clone())));
                }
            }
        }
        Ok(())
    }
}

/// The reason why a vector is not what the dataset declares, as a code and a message.
fn vector_fault(declared: &EmbeddingColumn, vector: &Vector) -> Option<(&'static str, String)> {
    let name = &declared.name;
    let (bytes, width) = match vector {
        Vector::F32(bytes) => (bytes, 4),
        Vector::F16(bytes) => (bytes, 2),
    };
    if bytes.len() != declared.dimensions * width {
        let message = format!(
            "`{name}` has {} bytes; {} dimensions need {}",
            bytes.len(),
            declared.dimensions,
            declared.dimensions * width
        );
        return Some(("EMBEDDING_DIMENSIONS", message));
    }
    let position = fields::first_not_finite(vector)?;
    let message = format!("`{name}` has a NaN or an infinity at element {position}");
    Some(("EMBEDDING_NOT_FINITE", message))
}

/// A member of a row.
enum Part {
    Key(ByteString),
    Field(usize, Value),
    Embedding(usize, Vector),
    Sort(Sort),
    Unknown,
}

fn set<T>(slots: &mut [T], index: usize, value: T) {
    if let Some(slot) = slots.get_mut(index) {
        *slot = value;
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

fn excerpt(key: &str) -> String {
    head(key, 60).to_owned()
}

#[cfg(test)]
mod tests;
