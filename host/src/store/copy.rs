//! Writes new rows by binary `COPY`: half the server's work of an `INSERT`, and no second look at
//! keys.
//!
//! Rows are encoded and sent in portions that fit into a processor's cache; the server reads one
//! while the next is encoded. A list makes a tuple for each of its items. Format: PostgreSQL
//! documentation, "COPY", "Binary Format".

use std::collections::HashSet;

use bytestring::ByteString;
use sqlx::PgConnection;
use sqlx::error::BoxDynError;

use super::encode::Column;
use crate::route::ColumnKind;
use crate::row::{Batch, Value};

/// Number of encoded bytes after which a portion is sent.
const PORTION: usize = 128 << 10;

/// Signature, flags and length of the extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A tuple of -1 fields.
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

/// How new rows of a table are copied.
#[derive(Debug)]
pub(super) struct Copy {
    /// `copy … from stdin (format binary)`
    pub statement: String,
    /// Name of the table as errors have it: without its schema, and not quoted.
    pub relation: String,
    /// In the order in which the statement names them.
    pub columns: Vec<Column>,
    /// The list with an item for each tuple; if `None`, there is a tuple for each row.
    pub list: Option<List>,
}

/// A list whose items are in a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    /// Index in the schema's columns.
    pub column: usize,
    /// How items are encoded, if one that is twice in a list counts once.
    pub distinct: Option<ColumnKind>,
}

/// An item, equal to another if the database finds them equal, as far as that is known here: as
/// integers, `7` and `+7` are equal.
#[derive(PartialEq, Eq, Hash)]
enum Distinct<'b> {
    Text(&'b str),
    Integer(i64),
    Uuid(uuid::Uuid),
}

impl<'b> Distinct<'b> {
    fn of(kind: ColumnKind, item: &'b str) -> Self {
        match kind {
            ColumnKind::Integer(_) => item.parse().map(Self::Integer).ok(),
            ColumnKind::Uuid => uuid::Uuid::try_parse(item).map(Self::Uuid).ok(),
            _ => None,
        }
        .unwrap_or(Self::Text(item))
    }
}

/// Outcome of a `COPY`, in tuples.
pub(super) struct Copied {
    pub sent: u64,
    /// As the server counts them: without those that a trigger left out.
    pub written: u64,
}

/// Copies rows into a target table. `buffer` is scratch space.
pub(super) async fn copy(
    connection: &mut PgConnection,
    plan: &Copy,
    batch: &Batch,
    rows: &[u32],
    buffer: &mut Vec<u8>,
) -> Result<Copied, sqlx::Error> {
    let mut sent = 0;
    let fields = i16::try_from(plan.columns.len())
        .map_err(|error| sqlx::Error::Encode(error.into()))?
        .to_be_bytes();
    let put = |buffer: &mut Vec<u8>, row: u32| {
        let mut columns = plan.columns.iter();
        let Some(list) = plan.list else {
            buffer.extend_from_slice(&fields);
            sent += 1;
            return columns.try_for_each(|column| column.put(buffer, batch, row));
        };
        for (position, item) in items(batch, row, list) {
            buffer.extend_from_slice(&fields);
            sent += 1;
            let mut columns = plan.columns.iter();
            columns.try_for_each(|column| column.put_item(buffer, batch, row, position, item))?;
        }
        Ok(())
    };
    let written = copy_with(connection, &plan.statement, rows, buffer, put).await?;
    Ok(Copied { sent, written })
}

/// Copies rows; `put` appends the tuples of one row. Returns the number of tuples that the server
/// counts.
pub(super) async fn copy_with(
    connection: &mut PgConnection,
    statement: &str,
    rows: &[u32],
    buffer: &mut Vec<u8>,
    mut put: impl FnMut(&mut Vec<u8>, u32) -> Result<(), BoxDynError>,
) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let mut copy = connection.copy_in_raw(statement).await?;
    buffer.clear();
    buffer.extend_from_slice(HEADER);
    for row in rows {
        put(buffer, *row).map_err(sqlx::Error::Encode)?;
        if buffer.len() >= PORTION {
            copy.send(buffer.as_slice()).await?;
            buffer.clear();
        }
    }
    buffer.extend_from_slice(&TRAILER);
    copy.send(buffer.as_slice()).await?;
    copy.finish().await
}

/// The items of a row with their positions, from 1 on.
fn items(batch: &Batch, row: u32, list: List) -> impl Iterator<Item = (usize, &ByteString)> {
    let items = match batch.row(row).get(list.column) {
        Some(Value::Texts(items)) => items.as_slice(),
        // Null has no items. `route` lets no other value come here.
        _ => &[],
    };
    let mut seen = HashSet::new();
    (1..)
        .zip(items)
        .filter(move |(_, item)| match list.distinct {
            Some(kind) => seen.insert(Distinct::of(kind, item)),
            None => true,
        })
}

impl Copy {
    /// The row that a line was made from; lines are counted from 1 on.
    pub(super) fn row_of_line(&self, line: usize, batch: &Batch, rows: &[u32]) -> Option<u32> {
        let Some(list) = self.list else {
            return rows.get(line.checked_sub(1)?).copied();
        };
        let mut last = 0;
        rows.iter().copied().find(|row| {
            last += items(batch, *row, list).count();
            last >= line
        })
    }
}
