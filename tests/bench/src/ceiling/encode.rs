//! Rows as binary `COPY` takes them. Format: PostgreSQL documentation, "COPY", "Binary Format";
//! of vectors `vector_recv` and `halfvec_recv` in pgvector's sources.

use anyhow::{Context, bail};
use forebay::demo::dataset::EMBEDDING;
use forebay::proto::Row;
use forebay::proto::value::Kind;
use forebay::proto::vector::Elements;
use half::f16;
use uuid::Uuid;

use super::Column;

/// Signature, flags, length of the extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A tuple of -1 fields.
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

/// The tables, with the columns that are sent.
pub(super) const TABLES: [&str; 2] = [
    "recruit_metadata (id, company_name, exp_years, english_level, primary_keyword)",
    "recruit_embedding (id, vector)",
];

/// A transaction's rows, for each table.
pub(super) struct Chunk {
    pub(super) rows: u64,
    pub(super) tables: [Vec<u8>; 2],
}

impl Chunk {
    pub(super) fn of(rows: &[Row], column: Column) -> anyhow::Result<Self> {
        let mut tables = [HEADER.to_vec(), HEADER.to_vec()];
        let [metadata, embedding] = &mut tables;
        for row in rows {
            let key = Uuid::parse_str(&row.key)?;
            tuple(metadata, 5);
            put(metadata, key.as_bytes())?;
            for name in [
                "company_name",
                "exp_years",
                "english_level",
                "primary_keyword",
            ] {
                field(metadata, row, name)?;
            }
            tuple(embedding, 2);
            put(embedding, key.as_bytes())?;
            put(embedding, &vector(row, column)?)?;
        }
        for table in &mut tables {
            table.extend_from_slice(&TRAILER);
        }
        Ok(Self {
            rows: rows.len() as u64,
            tables,
        })
    }
}

fn tuple(buffer: &mut Vec<u8>, fields: i16) {
    buffer.extend_from_slice(&fields.to_be_bytes());
}

fn put(buffer: &mut Vec<u8>, value: &[u8]) -> anyhow::Result<()> {
    buffer.extend_from_slice(&i32::try_from(value.len())?.to_be_bytes());
    buffer.extend_from_slice(value);
    Ok(())
}

fn field(buffer: &mut Vec<u8>, row: &Row, name: &str) -> anyhow::Result<()> {
    match row.fields.get(name).and_then(|value| value.kind.as_ref()) {
        None => buffer.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(Kind::Text(text)) => put(buffer, text.as_bytes())?,
        Some(Kind::Integer(integer)) => put(buffer, &i32::try_from(*integer)?.to_be_bytes())?,
        Some(other) => bail!("{name} is {other:?}"),
    }
    Ok(())
}

fn vector(row: &Row, column: Column) -> anyhow::Result<Vec<u8>> {
    let vector = row.embeddings.get(EMBEDDING);
    let elements = vector.and_then(|vector| vector.elements.as_ref());
    let elements: Vec<f32> = match elements.context("a row without a vector")? {
        Elements::F32(bytes) => {
            let (elements, _) = bytes.as_chunks();
            elements.iter().copied().map(f32::from_le_bytes).collect()
        }
        Elements::F16(bytes) => {
            let (elements, _) = bytes.as_chunks();
            let halves = elements.iter().copied().map(f16::from_le_bytes);
            halves.map(f16::to_f32).collect()
        }
    };
    let mut encoded = i16::try_from(elements.len())?.to_be_bytes().to_vec();
    encoded.extend_from_slice(&[0, 0]);
    for element in elements {
        match column {
            Column::Vector => encoded.extend_from_slice(&element.to_be_bytes()),
            Column::Halfvec => encoded.extend_from_slice(&f16::from_f32(element).to_be_bytes()),
        }
    }
    Ok(encoded)
}
