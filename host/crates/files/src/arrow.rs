//! Arrow IPC, as a file or as a stream.
//!
//! A record batch is read as a whole, however large it was written, and given out in slices.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};

use crate::FileError;
use crate::bounds::Bounds;

/// How a file begins; a stream begins otherwise.
const MAGIC: &[u8; 6] = b"ARROW1";

/// The record batches of a file.
pub(crate) struct Batches {
    path: PathBuf,
    reader: Kind,
    /// What is left of a batch, and the memory of a row.
    rest: Option<(RecordBatch, usize)>,
}

enum Kind {
    File(FileReader<BufReader<File>>),
    Stream(StreamReader<BufReader<File>>),
}

impl Batches {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let io = |error: std::io::Error| FileError::io(path, &error);
        let fault = |error: ArrowError| FileError::arrow(path, &error);
        let mut file = File::open(path).map_err(io)?;
        let mut start = [0; MAGIC.len()];
        file.read_exact(&mut start).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let file = BufReader::with_capacity(1 << 20, file);
        let reader = match start == *MAGIC {
            true => Kind::File(FileReader::try_new(file, None).map_err(fault)?),
            false => Kind::Stream(StreamReader::try_new(file, None).map_err(fault)?),
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            rest: None,
        })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        match &self.reader {
            Kind::File(reader) => reader.schema(),
            Kind::Stream(reader) => reader.schema(),
        }
    }

    /// Skips rows. They are read, since nothing says where a row is.
    pub(crate) fn skip(&mut self, rows: u64) -> Result<(), FileError> {
        let mut left = usize::try_from(rows).unwrap_or(usize::MAX);
        while left > 0 {
            let Some((batch, size)) = self.take()? else {
                return Ok(());
            };
            let taken = left.min(batch.num_rows());
            left -= taken;
            self.rest = Some((batch.slice(taken, batch.num_rows() - taken), size));
        }
        Ok(())
    }

    /// The next rows, and their memory in bytes.
    pub(crate) fn next(
        &mut self,
        bounds: Bounds,
    ) -> Result<Option<(RecordBatch, usize)>, FileError> {
        let Some((batch, size)) = self.take()? else {
            return Ok(None);
        };
        let most = (bounds.bytes / size.max(1)).clamp(1, bounds.rows.max(1));
        let rows = most.min(batch.num_rows());
        self.rest = Some((batch.slice(rows, batch.num_rows() - rows), size));
        Ok(Some((batch.slice(0, rows), rows * size)))
    }

    /// What is left of a batch, or the next one, with the memory of a row.
    fn take(&mut self) -> Result<Option<(RecordBatch, usize)>, FileError> {
        loop {
            if let Some((batch, size)) = self.rest.take()
                && batch.num_rows() > 0
            {
                return Ok(Some((batch, size)));
            }
            let next = match &mut self.reader {
                Kind::File(reader) => reader.next(),
                Kind::Stream(reader) => reader.next(),
            };
            match next
                .transpose()
                .map_err(|error| FileError::arrow(&self.path, &error))?
            {
                Some(batch) => {
                    let size = batch.get_array_memory_size() / batch.num_rows().max(1);
                    self.rest = Some((batch, size));
                }
                None => return Ok(None),
            }
        }
    }
}
