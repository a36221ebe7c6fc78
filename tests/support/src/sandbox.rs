//! What the tests of plugins share: engines with small limits, guests, and batches.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use forebay::plugin::{Broken, Chain, Engine, Limits, Plugin, Runner};
use forebay::row::{Batch, Column, EmbeddingColumn, Embeddings, FieldType, Schema, Value, Vector};

use crate::guests;

/// Rows of a batch.
pub const ROWS: u32 = 300;
/// Elements of its embedding.
pub const DIMENSIONS: usize = 8;
/// Short, so that endless loops do not take long; long enough for 300 rows on a busy machine.
pub const DEADLINE: Duration = Duration::from_millis(200);
/// Small, so that a guest reaches it well before its deadline.
pub const MEMORY: usize = 8 << 20;

/// The component of a guest that `make plugins` builds.
pub fn guest(name: &str) -> PathBuf {
    let kind = if name.starts_with("recruit-") {
        "plugins"
    } else {
        "test-plugins"
    };
    guests(kind).join(format!("{name}.wasm"))
}

/// An engine with small limits, and no cache.
pub fn engine() -> Arc<Engine> {
    Engine::new(
        Limits {
            deadline: DEADLINE,
            memory: MEMORY,
            ..Limits::default()
        },
        None,
    )
    .unwrap()
}

/// A guest in an engine of its own.
pub fn load(name: &str) -> Arc<Plugin> {
    engine().load(&guest(name)).unwrap()
}

/// Settings as a chain takes them.
pub fn settings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A few columns of the example, and one embedding.
pub fn schema() -> Arc<Schema> {
    let column = |name: &str, field_type| Column {
        name: name.to_owned(),
        field_type,
    };
    Arc::new(Schema {
        columns: vec![
            column("company_name", Some(FieldType::Text)),
            column("exp_years", Some(FieldType::Integer)),
            column("english_level", Some(FieldType::Text)),
            column("primary_keyword", Some(FieldType::Text)),
            column("title", Some(FieldType::Text)),
            column("tags", Some(FieldType::Texts)),
        ],
        embeddings: vec![EmbeddingColumn {
            name: "vector".to_owned(),
            dimensions: DIMENSIONS,
        }],
    })
}

/// Rows with the keys `k0`, `k1`, … that every plugin of the example leaves as they are.
pub fn batch(schema: &Arc<Schema>, rows: u32) -> Batch {
    let text = |text: &'static str| Value::Text(ByteString::from_static(text));
    Batch {
        schema: Arc::clone(schema),
        keys: (0..rows)
            .map(|row| ByteString::from(format!("k{row}")))
            .collect(),
        values: (0..rows)
            .flat_map(|row| {
                [
                    text("Acme"),
                    Value::Integer(i64::from(row % 20)),
                    text("fluent"),
                    text("Rust"),
                    text("Engineer"),
                    Value::Texts(vec![
                        ByteString::from_static("a"),
                        ByteString::from_static("b"),
                    ]),
                ]
            })
            .collect(),
        embeddings: Embeddings {
            width: 1,
            vectors: (0..rows).map(|r| Some(vector(r))).collect(),
        },
        live: (0..rows).collect(),
        ..Batch::default()
    }
}

/// The embedding of this row.
pub fn vector(row: u32) -> Vector {
    let element = f32::from(u16::try_from(row + 2).unwrap()).to_le_bytes();
    Vector::F32(Bytes::from(element.repeat(DIMENSIONS)))
}

/// What `faulty` writes.
pub fn unit() -> Vector {
    let elements = (0..DIMENSIONS).flat_map(|i| f32::from(u8::from(i == 0)).to_le_bytes());
    Vector::F32(elements.collect::<Vec<_>>().into())
}

/// A chain of one plugin with these settings, ready to run.
pub fn runner(plugin: &Arc<Plugin>, pairs: &[(&str, &str)], schema: &Arc<Schema>) -> Runner {
    Chain::new(vec![(Arc::clone(plugin), settings(pairs))])
        .unwrap()
        .runner(schema)
}

/// Runs a guest with these settings over one batch.
pub fn run(name: &str, pairs: &[(&str, &str)]) -> (Result<(), Broken>, Batch, Runner) {
    let schema = schema();
    let mut runner = runner(&load(name), pairs, &schema);
    let mut batch = batch(&schema, ROWS);
    let result = runner.run(&mut batch);
    (result, batch, runner)
}

/// The rows that failed, with their codes.
pub fn failures(batch: &Batch) -> Vec<(u32, &str)> {
    batch
        .failures
        .iter()
        .map(|failure| (failure.row, failure.code.as_str()))
        .collect()
}

/// The rows of a batch without these.
pub fn all_but(rows: &[u32]) -> Vec<u32> {
    (0..ROWS).filter(|row| !rows.contains(row)).collect()
}
