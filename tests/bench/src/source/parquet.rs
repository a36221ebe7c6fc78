//! The rows of a source as a Parquet file, as pyarrow writes it by default: Snappy, and a list of f32.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use forebay::demo::dataset::EMBEDDING;
use forebay::proto::Row;
use forebay::proto::value::Kind;
use forebay::proto::vector::Elements;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::Shape;

/// Rows that are written at once.
const BATCH: usize = 1_000;

/// Writes all rows. The key is the column `id`.
pub(crate) fn write(shape: Shape, path: &Path) -> anyhow::Result<()> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let mut writer = None;
    for start in (0..shape.rows).step_by(BATCH) {
        let rows: Vec<Row> = shape
            .postings(start..shape.rows.min(start + BATCH))?
            .collect();
        let batch = batch(&rows)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(ArrowWriter::try_new(
                File::create(path)?,
                batch.schema(),
                Some(properties.clone().build()),
            )?),
        };
        writer.write(&batch)?;
    }
    writer.context("there are no rows")?.close()?;
    Ok(())
}

fn batch(rows: &[Row]) -> anyhow::Result<RecordBatch> {
    let mut names: Vec<&String> = rows.iter().flat_map(|row| row.fields.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let mut keys = StringBuilder::new();
    rows.iter().for_each(|row| keys.append_value(&row.key));
    columns.push(("id".to_owned(), Arc::new(keys.finish())));
    for name in names {
        let kinds: Vec<Option<&Kind>> = rows
            .iter()
            .map(|row| row.fields.get(name).and_then(|value| value.kind.as_ref()))
            .collect();
        columns.push((name.clone(), column(&kinds)?));
    }
    let mut vectors = ListBuilder::new(Float32Builder::new());
    for row in rows {
        let vector = row.embeddings.get(EMBEDDING);
        let Some(Elements::F32(bytes)) = vector.and_then(|it| it.elements.as_ref()) else {
            bail!("a row has no vector of f32");
        };
        let (elements, _) = bytes.as_chunks::<4>();
        let elements = elements.iter().map(|it| Some(f32::from_le_bytes(*it)));
        vectors.append_value(elements);
    }
    columns.push((EMBEDDING.to_owned(), Arc::new(vectors.finish())));
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Fills a builder with the values of one kind.
macro_rules! filled {
    ($builder:expr, $kinds:expr, $pattern:pat => $value:expr) => {{
        let mut builder = $builder;
        for kind in $kinds {
            match kind {
                Some($pattern) => builder.append_value($value),
                _ => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }};
}

fn column(kinds: &[Option<&Kind>]) -> anyhow::Result<ArrayRef> {
    Ok(match kinds.iter().flatten().next() {
        None | Some(Kind::Text(_) | Kind::Json(_)) => {
            filled!(StringBuilder::new(), kinds, Kind::Text(it) | Kind::Json(it) => it)
        }
        Some(Kind::Integer(_)) => filled!(Int64Builder::new(), kinds, Kind::Integer(it) => *it),
        Some(Kind::Real(_)) => filled!(Float64Builder::new(), kinds, Kind::Real(it) => *it),
        Some(Kind::Boolean(_)) => filled!(BooleanBuilder::new(), kinds, Kind::Boolean(it) => *it),
        Some(Kind::Timestamp(_)) => {
            let builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
            filled!(builder, kinds, Kind::Timestamp(it) => {
                it.seconds * 1_000_000 + i64::from(it.nanos) / 1_000
            })
        }
        Some(Kind::Texts(_)) => {
            let mut builder = ListBuilder::new(StringBuilder::new());
            for kind in kinds {
                match kind {
                    Some(Kind::Texts(texts)) => builder.append_value(texts.values.iter().map(Some)),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        Some(Kind::Binary(_)) => bail!("the dataset has bytes"),
    })
}
