//! The digests of rows that were written, which the next look-up compares with.

use uuid::Uuid;

use super::rows::ChunkWriter;
use crate::chunk::Prepared;
use crate::store::copy::copy_with;
use crate::store::digest::{id, ids, key_beside_id, keys_beside_ids};

const COPY: &str = "copy forebay.digest (pipeline, id, digest, key) from stdin (format binary)";

/// Length of a null.
const NULL: [u8; 4] = (-1i32).to_be_bytes();

impl ChunkWriter<'_> {
    /// Stores the digests of rows that have none yet, by `COPY`.
    pub(super) async fn remember_new(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        let pipeline = self.pipeline.to_be_bytes();
        let put = |buffer: &mut Vec<u8>, row: u32| {
            let (id, digest) = (id(prepared, row), digest(prepared, row));
            let key = key_beside_id(prepared, row).map(str::as_bytes);
            buffer.extend_from_slice(&4i16.to_be_bytes());
            for field in [&pipeline[..], id.as_bytes(), digest.as_bytes()]
                .into_iter()
                .chain(key)
            {
                buffer.extend_from_slice(&i32::try_from(field.len())?.to_be_bytes());
                buffer.extend_from_slice(field);
            }
            if key.is_none() {
                buffer.extend_from_slice(&NULL);
            }
            Ok(())
        };
        copy_with(&mut self.transaction, COPY, rows, self.buffer, put).await?;
        Ok(())
    }

    /// Stores the digests of rows, new or known.
    pub(super) async fn remember(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let digests: Vec<Uuid> = rows.iter().map(|row| digest(prepared, *row)).collect();
        sqlx::query(
            "insert into forebay.digest (pipeline, id, digest, key)
             select $1, * from unnest($2::uuid[], $3::uuid[], $4::text[])
             on conflict (pipeline, id) do update set digest = excluded.digest, key = excluded.key",
        )
        .bind(self.pipeline)
        .bind(ids(prepared, rows))
        .bind(digests)
        .bind(keys_beside_ids(prepared, rows))
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }
}

fn digest(prepared: &Prepared, row: u32) -> Uuid {
    let digest = prepared.digests.get(row as usize);
    digest.copied().unwrap_or_default()
}
