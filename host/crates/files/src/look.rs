//! Finds out what columns a file has.

mod seen;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use self::seen::Seen;
use crate::arrow::Batches;
use crate::bounds::Bounds;
use crate::outline::{Found, Outline};
use crate::records::{Meaning, key_kind, meaning, most_common_length};
use crate::text::TextFile;
use crate::{FileError, Kind, csv};

/// Rows that are looked at.
const ROWS: usize = 10_000;
/// Bytes of lines that are looked at.
const BYTES: u64 = 16 << 20;
/// Rows of a file with a schema, for the dimensions that the schema does not say.
const ROWS_FOR_DIMENSIONS: usize = 1_000;

/// The columns of a file, and the number of its rows if the file says it. Of lines, the first ones are
/// read.
///
/// # Errors
/// If the file cannot be read, or has columns that cannot.
pub fn look(path: &Path) -> Result<(Outline, Option<u64>), FileError> {
    match Kind::of(path)? {
        Kind::Parquet => look_at_parquet(path),
        Kind::Arrow => {
            let mut batches = Batches::open(path)?;
            let schema = batches.schema();
            let bounds = Bounds {
                rows: ROWS_FOR_DIMENSIONS,
                bytes: usize::MAX,
                row: usize::MAX,
            };
            let first = batches.next(bounds)?;
            let first: Vec<RecordBatch> = first.into_iter().map(|(batch, _)| batch).collect();
            let outline = outline(path, &schema, &first)?;
            Ok((outline, None))
        }
        kind @ (Kind::JsonLines(_) | Kind::Csv(_)) => Ok((look_at_lines(path, kind)?, None)),
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(|error| FileError::io(path, &error))
}

fn look_at_parquet(path: &Path) -> Result<(Outline, Option<u64>), FileError> {
    let file = open(path)?;
    let fault = |error: parquet::errors::ParquetError| FileError::parquet(path, &error);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(fault)?;
    let rows = builder.metadata().file_metadata().num_rows();
    let schema = Arc::clone(builder.schema());
    let unknown = |index: &usize| {
        let field = schema.fields().get(*index);
        field.is_some_and(|field| meaning(field.data_type()) == Some(Meaning::Embedding(None)))
    };
    let unknown: Vec<usize> = (0..schema.fields().len()).filter(unknown).collect();
    let mut batches = Vec::new();
    if !unknown.is_empty() {
        let mask = ProjectionMask::roots(builder.parquet_schema(), unknown);
        let reader = builder
            .with_projection(mask)
            .with_limit(ROWS_FOR_DIMENSIONS)
            .with_batch_size(ROWS_FOR_DIMENSIONS)
            .build()
            .map_err(fault)?;
        for batch in reader {
            batches.push(batch.map_err(|error| FileError::arrow(path, &error))?);
        }
    }
    let outline = outline(path, &schema, &batches)?;
    Ok((outline, u64::try_from(rows).ok()))
}

fn outline(path: &Path, schema: &Schema, batches: &[RecordBatch]) -> Result<Outline, FileError> {
    let mut columns = Vec::new();
    for field in schema.fields() {
        let (name, data_type) = (field.name(), field.data_type());
        let Some(meaning) = meaning(data_type) else {
            let message = format!("the column `{name}` is {data_type}, which cannot be read");
            return Err(
                FileError::new(path, message).hint("write it as another type, or leave it out")
            );
        };
        let (mut dimensions, mut votes) = (None, 0);
        if let Meaning::Embedding(None) = meaning {
            let arrays = batches
                .iter()
                .filter_map(|batch| batch.column_by_name(name));
            let lengths = arrays.filter_map(|array| most_common_length(array as &dyn Array));
            if let Some((length, count)) = lengths.max_by_key(|(_, count)| *count) {
                (dimensions, votes) = (Some(length), count);
            }
        }
        let meaning = match meaning {
            Meaning::Embedding(None) => Meaning::Embedding(dimensions),
            Meaning::Embedding(Some(length)) => {
                votes = u64::MAX;
                Meaning::Embedding(Some(length))
            }
            meaning => meaning,
        };
        columns.push(Found {
            name: name.clone(),
            meaning,
            votes,
            key: key_kind(data_type),
        });
    }
    Ok(Outline::new(columns, false))
}

fn look_at_lines(path: &Path, kind: Kind) -> Result<Outline, FileError> {
    let most = usize::try_from(BYTES).unwrap_or(usize::MAX);
    let TextFile {
        mut reader,
        header,
        beside,
        ..
    } = TextFile::open(path, kind, most, None)?;
    let io = |error: std::io::Error| FileError::io(path, &error);
    let mut seen = Seen::default();
    let mut rows = 0;
    while rows < ROWS && reader.byte < BYTES {
        let Some(line) = reader.next().map_err(io)? else {
            break;
        };
        rows += 1;
        // A line that cannot be read is a matter of its row.
        let Ok(text) = str::from_utf8(&line.bytes) else {
            continue;
        };
        match &header {
            None => seen.object(text),
            Some(header) => {
                let fields = csv::fields(&line.bytes).unwrap_or_default();
                for (name, field) in header.iter().zip(&fields) {
                    seen.value(name, &csv::as_json(field));
                }
            }
        }
    }
    let mut columns = seen.columns();
    for array in beside {
        columns.retain(|it| *it.name != *array.name);
        columns.push(Found {
            name: array.name.to_string(),
            meaning: Meaning::Embedding(Some(array.dimensions)),
            votes: u64::MAX,
            key: None,
        });
    }
    Ok(Outline::new(columns, true))
}
