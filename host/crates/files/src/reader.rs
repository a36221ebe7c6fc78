//! Reads a file from a position on.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;

use crate::arrow::Batches;
use crate::bounds::Bounds;
use crate::identity::identity;
use crate::pieces::Records;
use crate::text::TextFile;
use crate::units::Units;
use crate::{FileError, Kind, Position};

/// Reads a file, a chunk at a time.
pub struct Reader {
    path: PathBuf,
    /// For the file's identity.
    file: File,
    identity: String,
    bounds: Bounds,
    rows: u64,
    state: State,
}

enum State {
    Parquet {
        reader: ParquetRecordBatchReader,
        metadata: Arc<ParquetMetaData>,
    },
    Arrow(Batches),
    Lines(TextFile),
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, rows, .. } = self;
        write!(f, "Reader({}, row {rows})", path.display())
    }
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Where it was told to.
    AsTold,
    /// At the start, because the file has changed since.
    Changed,
}

impl Reader {
    /// Opens a file after `position`, or at its start if it has changed since.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open(
        path: &Path,
        position: Option<&Position>,
        bounds: Bounds,
    ) -> Result<(Self, Begin), FileError> {
        let fault = |error: io::Error| FileError::io(path, &error);
        let kind = Kind::of(path)?;
        let file = File::open(path).map_err(fault)?;
        let identity = identity(&file).map_err(fault)?;
        let same = position.filter(|position| position.file == identity);
        let begin = match position.is_some() && same.is_none() {
            true => Begin::Changed,
            false => Begin::AsTold,
        };
        let rows = same.map_or(0, |position| position.row);
        let state = match kind {
            Kind::Parquet => parquet(path, &file, rows, bounds)?,
            Kind::Arrow => {
                let mut batches = Batches::open(path)?;
                batches.skip(rows)?;
                State::Arrow(batches)
            }
            Kind::JsonLines(_) | Kind::Csv(_) => {
                State::Lines(TextFile::open(path, kind, bounds.row, same)?)
            }
        };
        let this = Self {
            path: path.to_owned(),
            file,
            identity,
            bounds,
            rows,
            state,
        };
        Ok((this, begin))
    }

    /// The next chunk, and the position after it; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read, or has changed meanwhile.
    pub fn next_chunk(&mut self) -> Result<Option<(Units, Position)>, FileError> {
        let units = match &mut self.state {
            State::Parquet { reader, .. } => reader
                .next()
                .transpose()
                .map_err(|error| FileError::arrow(&self.path, &error))?
                .map(|batch| {
                    let bytes = batch.get_array_memory_size();
                    records(batch, self.rows, bytes)
                }),
            State::Arrow(batches) => batches
                .next(self.bounds)?
                .map(|(batch, bytes)| records(batch, self.rows, bytes)),
            State::Lines(lines) => lines.next(self.rows, self.bounds)?.map(Units::from),
        };
        match units {
            Some(units) => {
                self.rows += units.len() as u64;
                Ok(Some((units, self.position())))
            }
            None => self.end().map(|()| None),
        }
    }

    fn position(&self) -> Position {
        let (line, byte, group) = match &self.state {
            State::Lines(text) => (Some(text.reader.line), Some(text.reader.byte), None),
            State::Parquet { metadata, .. } => (None, None, Some(group_of(metadata, self.rows).0)),
            State::Arrow(_) => (None, None, None),
        };
        Position {
            file: self.identity.clone(),
            row: self.rows,
            group,
            line,
            byte,
        }
    }

    /// What has to be true when everything was read.
    fn end(&self) -> Result<(), FileError> {
        let now = identity(&self.file).map_err(|error| FileError::io(&self.path, &error))?;
        if now != self.identity {
            let error = FileError::new(&self.path, "has changed while it was read");
            return Err(FileError {
                may_pass: true,
                ..error
                    .hint("write files under another name, and rename them when they are complete")
            });
        }
        let State::Lines(text) = &self.state else {
            return Ok(());
        };
        match text.beside.iter().find(|array| array.rows > self.rows) {
            Some(array) => {
                let message = format!(
                    "has {} rows, but the array of `{}` beside it has {}",
                    self.rows, array.name, array.rows
                );
                Err(FileError::new(&self.path, message)
                    .hint("write both again: row by row they belong together"))
            }
            None => Ok(()),
        }
    }
}

fn records(batch: RecordBatch, rows: u64, bytes: usize) -> Units {
    let first = rows + 1;
    Records {
        batch,
        first,
        bytes,
    }
    .into()
}

/// The row group of a row, and the rows before it in this group.
fn group_of(metadata: &ParquetMetaData, mut row: u64) -> (usize, u64) {
    let groups = metadata.row_groups().iter().enumerate();
    for (index, group) in groups {
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        if row < rows {
            return (index, row);
        }
        row -= rows;
    }
    (metadata.num_row_groups(), row)
}

fn parquet(path: &Path, file: &File, rows: u64, bounds: Bounds) -> Result<State, FileError> {
    let fault = |error: parquet::errors::ParquetError| FileError::parquet(path, &error);
    let file = file
        .try_clone()
        .map_err(|error| FileError::io(path, &error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(fault)?;
    let metadata = Arc::clone(builder.metadata());
    // Large rows come in smaller batches.
    let sizes = metadata.row_groups().iter().map(|group| {
        let bytes = usize::try_from(group.total_byte_size()).unwrap_or_default();
        bytes / usize::try_from(group.num_rows()).unwrap_or_default().max(1)
    });
    let size = sizes.max().unwrap_or_default().max(1);
    let (group, before) = group_of(&metadata, rows);
    let reader = builder
        .with_batch_size((bounds.bytes / size).clamp(1, bounds.rows.max(1)))
        .with_row_groups((group..metadata.num_row_groups()).collect())
        .with_offset(usize::try_from(before).unwrap_or(usize::MAX))
        .build()
        .map_err(fault)?;
    Ok(State::Parquet { reader, metadata })
}
