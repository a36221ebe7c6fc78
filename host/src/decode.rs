//! Decodes undecoded rows, in whatever format, to a [`Batch`], with limits.
//!
//! Walks the encoded messages of a chunk once and keeps slices of them: no text or vector is
//! copied, no map is built. A fault in a row makes a [`Failure`] of that row and of no other.
//! Duplicate fields and unknown members are treated as protobuf says: the last duplicate wins,
//! unknown members are skipped.

mod fault;
mod fields;
mod file;
mod message;
mod needs;
mod order;
mod row;
mod scalar;
mod scratch;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use self::fault::{Fault, fault};
pub use self::needs::{Need, Needs};
use self::order::Orders;
use self::scratch::Scratch;
use crate::plugin::head;
use crate::row::{Batch, EmbeddingColumn, Embeddings, Failure, Schema, Stage, Value, Vector};
use crate::source::{Format, Units};

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
/// key, its id, its digest and its places in the columns.
#[must_use]
pub fn row_cost(schema: &Schema) -> usize {
    let row = size_of::<Bytes>() + size_of::<ByteString>() + 3 * size_of::<Uuid>();
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
    /// The encoding of rows that come as messages.
    pub format: Format,
}

/// What is kept from row to row of a chunk.
struct State<'s> {
    order: Orders<'s>,
    scratch: Scratch,
}

impl<'s> State<'s> {
    fn new(schema: &'s Schema) -> Self {
        Self {
            order: Orders::new(schema),
            scratch: Scratch::default(),
        }
    }
}

/// Rows that are encoded messages, and the index of their kind.
fn messages(units: &Units) -> (usize, &[Bytes]) {
    match units {
        Units::Messages(messages) => (0, messages),
        Units::OfKind(kind, messages) => (*kind, messages),
        Units::File(_) => (0, &[]),
    }
}

/// Whether a row is written or removed.
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
    pub fn decode(&self, units: &Units) -> Batch {
        let rows = units.len();
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
            ..Batch::default()
        };
        if let Units::File(rows) = units {
            self.file(rows, &mut batch);
            return batch;
        }
        let (kind, messages) = messages(units);
        let mut state = State::new(&self.schema);
        for (row, message) in messages.iter().enumerate() {
            self.decode_next(&mut batch, row, (kind, message), &mut state);
        }
        batch
    }

    /// Decodes one row of a batch again, from the units that it came of.
    pub fn decode_row(&self, units: &Units, batch: &mut Batch, row: usize) {
        if let Units::File(rows) = units {
            return self.file_row(rows, batch, row);
        }
        let (kind, messages) = messages(units);
        if let Some(message) = messages.get(row) {
            self.decode_next(batch, row, (kind, message), &mut State::new(&self.schema));
        }
    }

    fn decode_next<'s>(
        &'s self,
        batch: &mut Batch,
        row: usize,
        (kind, message): (usize, &Bytes),
        state: &mut State<'s>,
    ) {
        let read = match &self.format {
            // Dead letters of files are messages too.
            Format::Row | Format::File(_) => self.row(batch, row, message, &mut state.order),
            Format::Messages(plan) => match plan.kinds.get(kind) {
                Some(kind) => self.message(kind, (batch, row), message, &mut state.scratch),
                None => Err(fault("ROW_MALFORMED", "a row of no known kind", None)),
            },
        };
        self.settle(batch, row, read);
    }

    /// Puts a row that was read where it belongs.
    fn settle(&self, batch: &mut Batch, row: usize, read: Result<Sort, Fault>) {
        let index = u32::try_from(row).unwrap_or(u32::MAX);
        match read {
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

    /// Checks a row whose members have all been read: its key, and unless it is a tombstone, the first
    /// `fault` that was met, its vectors, and what it has left out: `given` has the columns that came,
    /// unless that is noted already.
    fn check(
        &self,
        batch: &mut Batch,
        row: usize,
        (sort, fault): (Sort, Option<Fault>),
        given: Option<&[bool]>,
    ) -> Result<Sort, Fault> {
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
        if let Some(given) = given {
            self.needs.note_left_out(batch, row, given);
        }
        Ok(sort)
    }

    /// The fault of a row that is larger than a row may be.
    fn too_large(&self, bytes: usize) -> Fault {
        let most = self.max_row_bytes;
        let message = format!("the row has {bytes} bytes; limits.row allows {most}");
        fault("ROW_TOO_LARGE", message, None)
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

fn set<T>(slots: &mut [T], index: usize, value: T) {
    if let Some(slot) = slots.get_mut(index) {
        *slot = value;
    }
}

fn excerpt(key: &str) -> String {
    head(key, 60).to_owned()
}

#[cfg(test)]
mod tests;
