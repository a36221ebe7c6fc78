//! The formats of dead letters whose rows are messages of a proto of its own: kept once, so that a
//! row can be read when its source has long changed.

use sqlx::Row;

use super::{Store, StoreError};
use crate::message::Encoding;

/// The format of a dead letter.
#[derive(Debug, Clone)]
pub struct LetterFormat {
    /// The message that the row is.
    pub message: String,
    /// Its kind, where its source has several; else empty.
    pub kind: String,
    /// A `google.protobuf.FileDescriptorSet`.
    pub descriptors: Vec<u8>,
}

impl Store {
    /// Keeps formats before dead letters name them.
    ///
    /// # Errors
    /// If the statement fails.
    pub async fn keep_formats(
        &self,
        formats: impl IntoIterator<Item = &Encoding>,
    ) -> Result<(), StoreError> {
        for format in formats {
            sqlx::query(
                "insert into forebay.format (digest, message, kind, descriptors) values ($1, $2, $3, $4)
                 on conflict do nothing",
            )
            .bind(format.digest)
            .bind(&format.message)
            .bind(&format.kind)
            .bind(&format.descriptors)
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }

    /// The format of a dead letter; `None` if its row is a `forebay.v1.Row`.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn letter_format(&self, id: i64) -> Result<Option<LetterFormat>, StoreError> {
        let found = sqlx::query(
            "select f.message, f.kind, f.descriptors from forebay.dead_letter d
             join forebay.format f on f.digest = d.format where d.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = found else { return Ok(None) };
        Ok(Some(LetterFormat {
            message: row.try_get(0)?,
            kind: row.try_get(1)?,
            descriptors: row.try_get(2)?,
        }))
    }
}
