//! Digests of rows: 128-bit XXH3 (<https://github.com/Cyan4973/xxHash>) of their values.
//!
//! Every value is hashed with a tag and its length, so that different rows never give the same
//! input. The store keeps the digest of each row as it was last written.

use xxhash_rust::xxh3::Xxh3;

use crate::row::{Batch, Value, Vector};

pub(crate) fn bytes(hasher: &mut Xxh3, tag: u8, bytes: &[u8]) {
    hasher.update(&[tag]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

pub(crate) fn text(hasher: &mut Xxh3, text: &str) {
    bytes(hasher, 4, text.as_bytes());
}

pub(crate) fn value(hasher: &mut Xxh3, value: &Value) {
    match value {
        Value::Null => hasher.update(&[0]),
        Value::Boolean(boolean) => hasher.update(&[1, u8::from(*boolean)]),
        Value::Integer(integer) => bytes(hasher, 2, &integer.to_le_bytes()),
        Value::Real(real) => bytes(hasher, 3, &real.to_bits().to_le_bytes()),
        Value::Text(content) => text(hasher, content),
        Value::Binary(content) => bytes(hasher, 5, content),
        Value::Timestamp(micros) => bytes(hasher, 6, &micros.to_le_bytes()),
        Value::Json(json) => bytes(hasher, 7, json.as_bytes()),
        Value::Texts(texts) => {
            bytes(hasher, 8, &(texts.len() as u64).to_le_bytes());
            for content in texts {
                text(hasher, content);
            }
        }
    }
}

pub(crate) fn vector(hasher: &mut Xxh3, vector: Option<&Vector>) {
    match vector {
        Some(Vector::F32(elements)) => bytes(hasher, 10, elements),
        Some(Vector::F16(elements)) => bytes(hasher, 11, elements),
        None => hasher.update(&[0]),
    }
}

/// A field that was left out, which a default or what is there stands for.
pub(crate) fn left_out(hasher: &mut Xxh3) {
    hasher.update(&[12]);
}

/// Hashes all values and embeddings of a row without its key, in the order of the schema.
pub(crate) fn row(hasher: &mut Xxh3, batch: &Batch, row: u32) {
    for content in batch.row(row) {
        value(hasher, content);
    }
    for embedding in 0..batch.embeddings.width {
        vector(hasher, batch.embeddings.get(row as usize, embedding));
    }
}
