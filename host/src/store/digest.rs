//! Digests of rows: 128-bit XXH3 (<https://github.com/Cyan4973/xxHash>) of their values.
//!
//! Every value goes in with a tag and its length, so that no two rows run together. The digest of
//! each row as it was last written is kept in `forebay.row_digest`.

use sqlx::PgConnection;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use crate::row::{Batch, Value, Vector};

pub(super) fn bytes(hasher: &mut Xxh3, tag: u8, bytes: &[u8]) {
    hasher.update(&[tag]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

pub(super) fn text(hasher: &mut Xxh3, text: &str) {
    bytes(hasher, 4, text.as_bytes());
}

pub(super) fn value(hasher: &mut Xxh3, value: &Value) {
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

pub(super) fn vector(hasher: &mut Xxh3, vector: Option<&Vector>) {
    match vector {
        Some(Vector::F32(elements)) => bytes(hasher, 10, elements),
        Some(Vector::F16(elements)) => bytes(hasher, 11, elements),
        None => hasher.update(&[0]),
    }
}

/// Everything that is known of a row but its key, in the order of the schema.
pub(super) fn row(hasher: &mut Xxh3, batch: &Batch, row: u32) {
    for content in batch.row(row) {
        value(hasher, content);
    }
    for embedding in 0..batch.embeddings.width {
        vector(hasher, batch.embeddings.get(row as usize, embedding));
    }
}

/// Forgets the digests of rows that are removed.
pub(super) async fn forget(
    connection: &mut PgConnection,
    pipeline: i32,
    keys: &[&str],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from forebay.row_digest d using unnest($2::text[]) k(key)
         where d.pipeline = $1 and d.key = k.key collate \"C\"",
    )
    .bind(pipeline)
    .bind(keys)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives rows that are known the same digest.
pub(super) async fn set_all(
    connection: &mut PgConnection,
    pipeline: i32,
    keys: &[&str],
    digest: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update forebay.row_digest d set digest = $3 from unnest($2::text[]) k(key)
         where d.pipeline = $1 and d.key = k.key collate \"C\"",
    )
    .bind(pipeline)
    .bind(keys)
    .bind(digest)
    .execute(connection)
    .await?;
    Ok(())
}
