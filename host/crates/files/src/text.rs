//! A file of lines, with the arrays beside it.

use std::fs::File;
use std::io;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use crate::bounds::Bounds;
use crate::kind::Compression;
use crate::lines::LineReader;
use crate::pieces::Lines;
use crate::{FileError, Kind, Position, csv, npy};

/// A file of lines.
pub(crate) struct TextFile {
    path: PathBuf,
    pub reader: LineReader,
    /// Names of the fields of CSV.
    pub header: Option<Arc<[String]>>,
    pub beside: Vec<npy::Array>,
}

impl TextFile {
    /// Opens a file after `position`. One that is compressed is read up to there. Of a line, `most`
    /// bytes are kept.
    pub(crate) fn open(
        path: &Path,
        kind: Kind,
        most: usize,
        position: Option<&Position>,
    ) -> Result<Self, FileError> {
        let fault = |error: io::Error| FileError::io(path, &error);
        let (quotes, compression) = match kind {
            Kind::Csv(compression) => (true, compression),
            Kind::JsonLines(compression) => (false, compression),
            Kind::Parquet | Kind::Arrow => (false, Compression::None),
        };
        let mut file = File::open(path).map_err(fault)?;
        let header = match quotes {
            true => {
                let copy = File::open(path).map_err(fault)?;
                let input = decompressed(copy, compression, 0).map_err(fault)?;
                Some(header(path, LineReader::new(input, true, most, (0, 0)))?)
            }
            false => None,
        };
        // The header is a line like any other.
        let (line, byte) = position
            .and_then(|position| Some((position.line?, position.byte?)))
            .or_else(|| header.as_ref().map(|(_, place)| *place))
            .unwrap_or_default();
        if compression == Compression::None {
            file.seek(SeekFrom::Start(byte)).map_err(fault)?;
        }
        let input = decompressed(file, compression, byte).map_err(fault)?;
        Ok(Self {
            path: path.to_owned(),
            reader: LineReader::new(input, quotes, most, (line, byte)),
            header: header.map(|(names, _)| names),
            beside: npy::beside(path)?,
        })
    }

    /// The next lines, of which the first is the row `row` of the file, from 0 on.
    pub(crate) fn next(&mut self, row: u64, bounds: Bounds) -> Result<Option<Lines>, FileError> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < bounds.rows && bytes < bounds.bytes {
            let next = self.reader.next();
            match next.map_err(|error| FileError::io(&self.path, &error))? {
                Some(line) => {
                    bytes += line.bytes.len();
                    lines.push(line);
                }
                None => break,
            }
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let beside = self.beside.iter().map(|array| {
            let vectors = array.read(row, lines.len())?;
            Ok((Arc::clone(&array.name), vectors))
        });
        Ok(Some(Lines {
            header: self.header.clone(),
            beside: beside.collect::<Result<_, FileError>>()?,
            lines,
        }))
    }
}

/// What a file holds, from the byte `from` on. A file that is not compressed stands there already.
fn decompressed(
    file: File,
    compression: Compression,
    from: u64,
) -> io::Result<Box<dyn Read + Send>> {
    let blocks = |file| BufReader::with_capacity(256 << 10, file);
    let mut input: Box<dyn Read + Send> = match compression {
        Compression::None => return Ok(Box::new(file)),
        Compression::Gzip => Box::new(MultiGzDecoder::new(blocks(file))),
        Compression::Zstandard => Box::new(zstd::Decoder::with_buffer(blocks(file))?),
    };
    io::copy(&mut input.by_ref().take(from), &mut io::sink())?;
    Ok(input)
}

type Header = (Arc<[String]>, (u64, u64));

/// The names of the fields, and the lines and bytes of the header.
fn header(path: &Path, mut reader: LineReader) -> Result<Header, FileError> {
    let line = reader.next().map_err(|error| FileError::io(path, &error))?;
    let fields = line.and_then(|line| csv::fields(&line.bytes));
    let Some(fields) = fields else {
        return Err(FileError::new(path, "has no header")
            .hint("its first line has to name the fields, separated by commas"));
    };
    let names: Vec<String> = fields.iter().map(|it| it.trim().to_owned()).collect();
    Ok((names.into(), (reader.line, reader.byte)))
}
