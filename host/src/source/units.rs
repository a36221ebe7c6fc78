//! What a transport delivers: rows that nobody has decoded, and the position after them.

use bytes::Bytes;

use super::dataset::Format;
use super::file_rows::FileRows;

/// A chunk as it came from its source.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// Its rows.
    pub units: Units,
    /// The position after them, which only the transport understands.
    pub position: String,
}

/// The rows of a chunk, each with its index. Only a format knows what is in them.
#[derive(Debug, Clone)]
pub enum Units {
    /// Encoded messages, a row each, as slices of the received buffer.
    Messages(Vec<Bytes>),
    /// The same, all of one kind among several, by its index.
    OfKind(usize, Vec<Bytes>),
    /// Rows of a file.
    File(FileRows),
}

impl Default for Units {
    fn default() -> Self {
        Self::Messages(Vec::new())
    }
}

impl Units {
    /// The rows of dead letters, whose format has a kind of this name. `None` if they are of another
    /// format than rows are today.
    #[must_use]
    pub fn of_letters(format: &Format, kind: Option<&str>, rows: Vec<Bytes>) -> Option<Self> {
        match (format, kind) {
            (Format::Row | Format::File(_), None) => Some(Self::Messages(rows)),
            (Format::Row | Format::File(_), Some(_)) | (Format::Messages(_), None) => None,
            (Format::Messages(_), Some("")) => Some(Self::Messages(rows)),
            (Format::Messages(plan), Some(name)) => {
                let kind = plan.kinds.iter().position(|kind| kind.name == name)?;
                Some(Self::OfKind(kind, rows))
            }
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Messages(rows) | Self::OfKind(_, rows) => rows.len(),
            Self::File(rows) => rows.units().len(),
        }
    }

    /// True if there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the rows take as they came, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Messages(rows) | Self::OfKind(_, rows) => rows.iter().map(Bytes::len).sum(),
            Self::File(rows) => rows.units().bytes(),
        }
    }

    /// Index of their kind, where a dataset has several.
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Messages(_) | Self::File(_) => 0,
            Self::OfKind(kind, _) => *kind,
        }
    }

    /// Appends the rows of another chunk of the same stream, or gives them back if the two cannot be
    /// one.
    ///
    /// # Errors
    /// With these rows.
    pub fn append(&mut self, more: Self) -> Result<(), Self> {
        match (self, more) {
            (Self::Messages(rows), Self::Messages(more)) => rows.extend(more),
            (Self::File(rows), Self::File(more)) => rows.append(more),
            (Self::OfKind(kind, rows), Self::OfKind(other, more)) if *kind == other => {
                rows.extend(more);
            }
            (_, more) => return Err(more),
        }
        Ok(())
    }

    /// Some of the rows, in this order. Indices that do not exist are left out.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let some = |all: &[Bytes]| {
            rows.iter()
                .filter_map(|row| all.get(*row).cloned())
                .collect()
        };
        match self {
            Self::Messages(all) => Self::Messages(some(all)),
            Self::OfKind(kind, all) => Self::OfKind(*kind, some(all)),
            Self::File(all) => Self::File(all.select(rows)),
        }
    }

    /// A row as a dead letter keeps it: as it came, if it came as bytes of its own. Empty if it does
    /// not exist.
    #[must_use]
    pub fn encoded(&self, row: usize) -> Bytes {
        match self {
            Self::Messages(rows) | Self::OfKind(_, rows) => {
                rows.get(row).cloned().unwrap_or_default()
            }
            Self::File(rows) => rows.encoded(row),
        }
    }

    /// Where a row stands in its partition, in words, if the source counts rows.
    #[must_use]
    pub fn place(&self, row: usize) -> Option<String> {
        match self {
            Self::Messages(_) | Self::OfKind(..) => None,
            Self::File(rows) => rows.units().place(row),
        }
    }
}
