//! The digests of rows that were written, which the next look-up compares with.

use uuid::Uuid;

use super::rows::ChunkWriter;
use crate::chunk::Prepared;
use crate::store::copy::copy_with;

const COPY: &str = "copy forebay.row_digest (pipeline, key, digest) from stdin (format binary)";

impl ChunkWriter<'_> {
    /// Stores the digests of rows that have none yet, by `COPY`.
    pub(super) async fn remember_new(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<(), sqlx::Error> {
        let pipeline = self.pipeline.to_be_bytes();
        let put = |buffer: &mut Vec<u8>, row: u32| {
            let digest = digest(prepared, row);
            buffer.extend_from_slice(&3i16.to_be_bytes());
            for field in [
                &pipeline[..],
                key(prepared, row).as_bytes(),
                digest.as_bytes(),
            ] {
                buffer.extend_from_slice(&i32::try_from(field.len())?.to_be_bytes());
                buffer.extend_from_slice(field);
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
        let keys: Vec<&str> = rows.iter().map(|row| key(prepared, *row)).collect();
        let digests: Vec<Uuid> = rows.iter().map(|row| digest(prepared, *row)).collect();
        sqlx::query(
            "insert into forebay.row_digest (pipeline, key, digest) select $1, * from unnest($2::text[], $3::uuid[])
             on conflict (pipeline, key) do update set digest = excluded.digest",
        )
        .bind(self.pipeline)
        .bind(keys)
        .bind(digests)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }
}

fn key(prepared: &Prepared, row: u32) -> &str {
    let key = prepared.batch.keys.get(row as usize);
    key.map(AsRef::as_ref).unwrap_or_default()
}

fn digest(prepared: &Prepared, row: u32) -> Uuid {
    let digest = prepared.digests.get(row as usize);
    digest.copied().unwrap_or_default()
}
