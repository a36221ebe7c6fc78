//! New rows by binary `COPY`: half the server's work of an `INSERT`, and no second look at keys.
//!
//! Rows are encoded and sent in portions that fit into a processor's cache; the server takes in
//! one while the next is made. Format: PostgreSQL documentation, "COPY", "Binary Format".

use sqlx::{PgConnection, error::BoxDynError};

use super::encode::Column;
use crate::row::Batch;

/// What is encoded before it is sent.
const PORTION: usize = 128 << 10;

/// Signature, flags, length of the extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A tuple of -1 fields.
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

/// Copies rows into a target table. `buffer` is scratch space.
pub(super) async fn copy(
    connection: &mut PgConnection,
    statement: &str,
    columns: &[Column],
    batch: &Batch,
    rows: &[u32],
    buffer: &mut Vec<u8>,
) -> Result<(), sqlx::Error> {
    let put = |buffer: &mut Vec<u8>, row: u32| {
        let mut columns = columns.iter();
        columns.try_for_each(|column| column.put(buffer, batch, row))
    };
    copy_with(connection, statement, columns.len(), rows, buffer, put).await
}

/// Copies rows of so many fields, each of which `put` appends after its length.
pub(super) async fn copy_with(
    connection: &mut PgConnection,
    statement: &str,
    fields: usize,
    rows: &[u32],
    buffer: &mut Vec<u8>,
    put: impl Fn(&mut Vec<u8>, u32) -> Result<(), BoxDynError>,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let fields = i16::try_from(fields).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut copy = connection.copy_in_raw(statement).await?;
    buffer.clear();
    buffer.extend_from_slice(HEADER);
    for row in rows {
        buffer.extend_from_slice(&fields.to_be_bytes());
        put(buffer, *row).map_err(sqlx::Error::Encode)?;
        if buffer.len() >= PORTION {
            copy.send(buffer.as_slice()).await?;
            buffer.clear();
        }
    }
    buffer.extend_from_slice(&TRAILER);
    copy.send(buffer.as_slice()).await?;
    copy.finish().await?;
    Ok(())
}
