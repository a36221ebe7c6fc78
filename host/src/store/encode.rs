//! Encodes columns of a batch in PostgreSQL's binary formats: as arrays for statements, as tuples
//! for `COPY`.
//!
//! Vectors are converted from little endian to big endian in one pass over the received bytes.
//! Formats:
//! `array_recv`, `timestamptz_recv` and their like in the PostgreSQL sources, `vector_recv` and
//! `halfvec_recv` in pgvector's.

use bytestring::ByteString;
use half::f16;
use multiversion::multiversion;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

use crate::route::{ColumnKind, Feed, POSTGRES_EPOCH_MICROS, numeric};
use crate::row::{Batch, Value, Vector};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Object identifiers of built-in types (`pg_type.dat`).
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BOOL_ARRAY: u32 = 1000;
    pub(super) const TEXT: u32 = 25;
    pub(super) const TEXT_ARRAY: u32 = 1009;
}

/// A column of a table, and the source of its values in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub source: ColumnSource,
    pub kind: ColumnKind,
    /// Type of an element, if `kind` is not sent as text.
    pub type_oid: u32,
    /// Type of the array, if `kind` is not sent as text.
    pub array_oid: u32,
}

/// Source of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnSource {
    /// A key, a field or an embedding of the row.
    Feed(Feed),
    /// True if the row has left out the field, by its index, and its column keeps what it has.
    LeftOut(usize),
    /// The item of a list for which a tuple is made.
    Item,
    /// The position of that item, from 1 on.
    Position,
}

impl Column {
    /// The row's key as a text.
    pub(super) const NAME: Self = Self {
        source: ColumnSource::Feed(Feed::Key),
        kind: ColumnKind::Text,
        type_oid: oid::TEXT,
        array_oid: oid::TEXT_ARRAY,
    };

    /// True for the rows that have left out a field.
    pub(super) fn left_out(field: usize) -> Self {
        Self {
            source: ColumnSource::LeftOut(field),
            kind: ColumnKind::Boolean,
            type_oid: oid::BOOL,
            array_oid: oid::BOOL_ARRAY,
        }
    }

    /// Writes the value of a row, after its length; a length of -1 is null.
    pub(super) fn put(
        &self,
        buffer: &mut Vec<u8>,
        batch: &Batch,
        row: u32,
    ) -> Result<(), BoxDynError> {
        put_sized(buffer, |buffer| self.put_value(buffer, batch, row))
    }

    /// Writes the value of a row in the tuple for an item of a list, after its length.
    pub(super) fn put_item(
        &self,
        buffer: &mut Vec<u8>,
        batch: &Batch,
        row: u32,
        position: usize,
        item: &str,
    ) -> Result<(), BoxDynError> {
        match (self.source, self.kind) {
            (ColumnSource::Feed(_) | ColumnSource::LeftOut(_), _) => self.put(buffer, batch, row),
            (ColumnSource::Item, kind) => put_sized(buffer, |buffer| put_key(buffer, kind, item)),
            (ColumnSource::Position, ColumnKind::Integer(bytes)) => {
                let position = i64::try_from(position)?;
                put_sized(buffer, |buffer| {
                    put_integer(buffer, bytes, position);
                    true
                })
            }
            (ColumnSource::Position, kind) => {
                Err(format!("a position cannot be sent as {kind:?}").into())
            }
        }
    }

    /// Writes the value of a row. False for null.
    fn put_value(&self, buffer: &mut Vec<u8>, batch: &Batch, row: u32) -> bool {
        match self.source {
            ColumnSource::Feed(Feed::Key) => {
                if self.kind == ColumnKind::Uuid
                    && let Some(uuid) = batch.uuids.get(row as usize)
                {
                    buffer.extend_from_slice(uuid.as_bytes());
                    return true;
                }
                let key = batch
                    .keys
                    .get(row as usize)
                    .map(AsRef::as_ref)
                    .unwrap_or_default();
                put_key(buffer, self.kind, key)
            }
            ColumnSource::Feed(Feed::Field(index)) => match batch.row(row).get(index) {
                Some(value) => put_value(buffer, self.kind, value),
                None => false,
            },
            ColumnSource::Feed(Feed::Embedding(index)) => {
                match batch.embeddings.get(row as usize, index) {
                    Some(vector) => put_vector(buffer, self.kind, vector),
                    None => false,
                }
            }
            ColumnSource::LeftOut(field) => {
                buffer.push(u8::from(batch.is_left_out(row, field)));
                true
            }
            // Only tuples of items have these: see `put_item`.
            ColumnSource::Item | ColumnSource::Position => false,
        }
    }

    /// Space for a value with its length, in bytes: exact for vectors, which are nearly all of it.
    fn room(&self, batch: &Batch, rows: &[u32]) -> usize {
        let ColumnSource::Feed(Feed::Embedding(index)) = self.source else {
            return 32;
        };
        let width = if matches!(self.kind, ColumnKind::HalfVec(_)) {
            2
        } else {
            4
        };
        let first = rows
            .first()
            .and_then(|row| batch.embeddings.get(*row as usize, index));
        8 + first.map_or(0, |vector| vector.dimensions() * width)
    }

    /// True if the parameter is an array of texts, which the server casts if necessary.
    fn is_sent_as_text(&self) -> bool {
        self.kind == ColumnKind::Text || self.kind.is_cast()
    }
}

/// A column of some rows of a batch, as an array parameter.
pub(super) struct ArrayParam<'a> {
    pub batch: &'a Batch,
    pub rows: &'a [u32],
    pub column: Column,
}

impl Type<Postgres> for ArrayParam<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("unknown")
    }

    fn compatible(_: &PgTypeInfo) -> bool {
        true
    }
}

impl<'q> Encode<'q, Postgres> for ArrayParam<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let element = if self.column.is_sent_as_text() {
            oid::TEXT
        } else {
            self.column.type_oid
        };
        let buffer: &mut Vec<u8> = buffer;
        put_i32(buffer, 1); // dimensions of the array
        put_i32(buffer, 1); // it may hold nulls
        buffer.extend_from_slice(&element.to_be_bytes());
        put_i32(buffer, i32::try_from(self.rows.len())?);
        put_i32(buffer, 1); // lower bound
        buffer.reserve(self.rows.len() * self.column.room(self.batch, self.rows));
        for row in self.rows {
            self.column.put(buffer, self.batch, *row)?;
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        let array = if self.column.is_sent_as_text() {
            oid::TEXT_ARRAY
        } else {
            self.column.array_oid
        };
        Some(PgTypeInfo::with_oid(Oid(array)))
    }
}

/// Writes a value after its length, or a length of -1 if `put` returns false: null.
fn put_sized(
    buffer: &mut Vec<u8>,
    put: impl FnOnce(&mut Vec<u8>) -> bool,
) -> Result<(), BoxDynError> {
    let start = buffer.len();
    put_i32(buffer, -1);
    if put(buffer) {
        let length = i32::try_from(buffer.len() - start - 4)?;
        if let Some(slot) = buffer.get_mut(start..start + 4) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

fn put_i32(buffer: &mut Vec<u8>, value: i32) {
    buffer.extend_from_slice(&value.to_be_bytes());
}

fn put_integer(buffer: &mut Vec<u8>, bytes: u8, value: i64) {
    // Two's complement: the low bytes are the narrower integer; its range was checked.
    let wide = value.to_be_bytes();
    buffer.extend_from_slice(wide.get(8 - usize::from(bytes)..).unwrap_or_default());
}

/// Writes a key, which `decode` has checked. False for null.
fn put_key(buffer: &mut Vec<u8>, kind: ColumnKind, key: &str) -> bool {
    match kind {
        ColumnKind::Uuid => match uuid::Uuid::try_parse(key) {
            Ok(uuid) => buffer.extend_from_slice(uuid.as_bytes()),
            Err(_) => return false,
        },
        ColumnKind::Integer(bytes) => match key.parse() {
            Ok(integer) => put_integer(buffer, bytes, integer),
            Err(_) => return false,
        },
        _ => buffer.extend_from_slice(key.as_bytes()),
    }
    true
}

/// Writes a value, which `route` has checked. False for null.
fn put_value(buffer: &mut Vec<u8>, kind: ColumnKind, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) => return false,
        (ColumnKind::Array | ColumnKind::CastNumber | ColumnKind::Cast, value) => {
            put_text(buffer, value);
        }
        (ColumnKind::Json, value) => put_json(buffer, value),
        (ColumnKind::Jsonb, value) => {
            buffer.push(1); // the format's version
            put_json(buffer, value);
        }
        (ColumnKind::Numeric, value) => numeric::put(buffer, value),
        (ColumnKind::TextArray(element), Value::Texts(texts)) => put_texts(buffer, element, texts),
        (ColumnKind::Uuid, Value::Text(text)) => return put_key(buffer, kind, text),
        (ColumnKind::Float4, Value::Real(real)) => {
            buffer.extend_from_slice(&(*real as f32).to_be_bytes())
        }
        (ColumnKind::Float4, Value::Integer(integer)) => {
            buffer.extend_from_slice(&(*integer as f32).to_be_bytes());
        }
        (ColumnKind::Float8, Value::Integer(integer)) => {
            buffer.extend_from_slice(&(*integer as f64).to_be_bytes());
        }
        (_, Value::Boolean(boolean)) => buffer.push(u8::from(*boolean)),
        (ColumnKind::Integer(bytes), Value::Integer(integer)) => {
            put_integer(buffer, bytes, *integer)
        }
        (_, Value::Integer(integer)) => buffer.extend_from_slice(&integer.to_be_bytes()),
        (_, Value::Real(real)) => buffer.extend_from_slice(&real.to_be_bytes()),
        (ColumnKind::Date, Value::Timestamp(micros)) => {
            let days = (micros - POSTGRES_EPOCH_MICROS).div_euclid(MICROS_PER_DAY);
            buffer.extend_from_slice(&(days as i32).to_be_bytes());
        }
        (_, Value::Timestamp(micros)) => {
            buffer.extend_from_slice(&micros.saturating_sub(POSTGRES_EPOCH_MICROS).to_be_bytes());
        }
        (_, Value::Text(text) | Value::Json(text)) => buffer.extend_from_slice(text.as_bytes()),
        (_, Value::Binary(bytes)) => buffer.extend_from_slice(bytes),
        (_, Value::Texts(_)) => put_text(buffer, value),
    }
    true
}

/// Writes JSON text. A list of texts becomes an array of strings.
fn put_json(buffer: &mut Vec<u8>, value: &Value) {
    let Value::Texts(texts) = value else {
        return put_text(buffer, value);
    };
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    // Writing to memory cannot fail.
    drop(serde_json::to_writer(buffer, &texts));
}

/// Writes an array of texts. An empty one has no dimensions.
fn put_texts(buffer: &mut Vec<u8>, element: u32, texts: &[ByteString]) {
    put_i32(buffer, i32::from(!texts.is_empty()));
    put_i32(buffer, 0); // it holds no nulls
    buffer.extend_from_slice(&element.to_be_bytes());
    if !texts.is_empty() {
        // The limit on a row's size keeps these lengths far below `i32::MAX`.
        put_i32(buffer, texts.len() as i32);
        put_i32(buffer, 1); // lower bound
    }
    for text in texts {
        put_i32(buffer, text.len() as i32);
        buffer.extend_from_slice(text.as_bytes());
    }
}

/// Writes PostgreSQL's own text of the value, which the server will cast.
fn put_text(buffer: &mut Vec<u8>, value: &Value) {
    match value {
        // `route` lets none of these through.
        Value::Null | Value::Binary(_) | Value::Timestamp(_) => {}
        Value::Boolean(boolean) => {
            buffer.extend_from_slice(if *boolean { b"true" } else { b"false" })
        }
        Value::Integer(integer) => buffer.extend_from_slice(integer.to_string().as_bytes()),
        Value::Real(real) => buffer.extend_from_slice(real.to_string().as_bytes()),
        Value::Text(text) | Value::Json(text) => buffer.extend_from_slice(text.as_bytes()),
        // An array literal with every element quoted, and `"` and `\` escaped.
        Value::Texts(texts) => {
            buffer.push(b'{');
            for (index, text) in texts.iter().enumerate() {
                if index > 0 {
                    buffer.push(b',');
                }
                buffer.push(b'"');
                for byte in text.bytes() {
                    if matches!(byte, b'"' | b'\\') {
                        buffer.push(b'\\');
                    }
                    buffer.push(byte);
                }
                buffer.push(b'"');
            }
            buffer.push(b'}');
        }
    }
}

/// The text from which the server would make the value; `None` for null, and for what is only
/// sent in binary.
pub(super) fn text_of(kind: ColumnKind, value: &Value) -> Option<String> {
    let mut buffer = Vec::new();
    match (kind, value) {
        (_, Value::Null | Value::Binary(_) | Value::Timestamp(_)) => return None,
        (ColumnKind::Json | ColumnKind::Jsonb, value) => put_json(&mut buffer, value),
        (_, value) => put_text(&mut buffer, value),
    }
    String::from_utf8(buffer).ok()
}

/// Writes a `vector` or `halfvec`: dimensions, an unused field, then the elements.
fn put_vector(buffer: &mut Vec<u8>, kind: ColumnKind, vector: &Vector) -> bool {
    let Ok(dimensions) = i16::try_from(vector.dimensions()) else {
        return false;
    };
    buffer.extend_from_slice(&dimensions.to_be_bytes());
    buffer.extend_from_slice(&[0, 0]);
    match (kind, vector) {
        (ColumnKind::HalfVec(_), Vector::F16(bytes)) => {
            put_swapped(buffer, bytes, |element: [u8; 2]| {
                u16::from_le_bytes(element).to_be_bytes()
            });
        }
        (ColumnKind::HalfVec(_), Vector::F32(bytes)) => {
            put_swapped(buffer, bytes, |element| {
                f16::from_f32(f32::from_le_bytes(element)).to_be_bytes()
            });
        }
        (_, Vector::F32(bytes)) => {
            put_swapped(buffer, bytes, |element: [u8; 4]| {
                u32::from_le_bytes(element).to_be_bytes()
            });
        }
        (_, Vector::F16(bytes)) => {
            put_swapped(buffer, bytes, |element| {
                f16::from_le_bytes(element).to_f32().to_be_bytes()
            });
        }
    }
    true
}

/// Appends each element of `from`, changed by `swap`. The space is made first, so that the loop
/// over the elements checks no bounds or capacity and is vectorised.
fn put_swapped<const FROM: usize, const TO: usize>(
    buffer: &mut Vec<u8>,
    from: &[u8],
    swap: impl Fn([u8; FROM]) -> [u8; TO],
) {
    let (elements, _) = from.as_chunks::<FROM>();
    let start = buffer.len();
    buffer.resize(start + elements.len() * TO, 0);
    let Some(space) = buffer.get_mut(start..) else {
        return;
    };
    let (slots, _) = space.as_chunks_mut::<TO>();
    swap_each(slots, elements, swap);
}

/// Compiled a second time for x86-64 processors with AVX2, which swap many elements at once.
#[multiversion(targets("x86_64+avx2"))]
fn swap_each<const FROM: usize, const TO: usize>(
    slots: &mut [[u8; TO]],
    elements: &[[u8; FROM]],
    swap: impl Fn([u8; FROM]) -> [u8; TO],
) {
    for (slot, element) in slots.iter_mut().zip(elements) {
        *slot = swap(*element);
    }
}

#[cfg(test)]
mod tests;
