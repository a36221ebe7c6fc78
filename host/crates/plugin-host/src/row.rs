//! Rows on their way from the wire to the tables.
//!
//! A chunk's rows are kept as columns of one [`Batch`]: a few allocations per chunk, not per
//! row. Texts and vectors are slices of the received buffer until a plugin changes them. A row
//! keeps its index from decode to commit; what changes is whether it is still in
//! [`Batch::live`], and each row that is not has a [`Failure`] or a [`Drop`].

mod keys;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

pub use self::keys::KeySet;

/// The type of a field, as the source declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// True or false.
    Boolean,
    /// Signed 64-bit integer.
    Integer,
    /// IEEE 754 binary64.
    Real,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// A list of texts.
    Texts,
    /// JSON text.
    Json,
}

/// A field of the source, or a column that only plugins can fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Unique in the schema.
    pub name: String,
    /// `None` for a column the source does not have: null until a plugin sets it.
    pub field_type: Option<FieldType>,
}

/// An embedding of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingColumn {
    /// Unique in the schema.
    pub name: String,
    /// Elements of each vector, 1 to 16,000.
    pub dimensions: usize,
}

/// What the rows of a pipeline consist of. Fixed while its stream is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Width of [`Batch::values`].
    pub columns: Vec<Column>,
    /// Width of [`Embeddings`].
    pub embeddings: Vec<EmbeddingColumn>,
}

impl Schema {
    /// The index of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The index of an embedding.
    #[must_use]
    pub fn embedding(&self, name: &str) -> Option<usize> {
        self.embeddings
            .iter()
            .position(|embedding| embedding.name == name)
    }
}

/// One value of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Null, or a field the source left out.
    #[default]
    Null,
    /// True or false.
    Boolean(bool),
    /// Signed 64-bit integer.
    Integer(i64),
    /// IEEE 754 binary64.
    Real(f64),
    /// UTF-8 text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// JSON text.
    Json(ByteString),
    /// A list of texts.
    Texts(Vec<ByteString>),
}

impl Value {
    /// Whether two values are the same, bit for bit: a NaN is what it was.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Real(a), Self::Real(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }
}

/// A vector as the little-endian bytes of its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vector {
    /// IEEE 754 binary32, 4 bytes an element.
    F32(Bytes),
    /// IEEE 754 binary16, 2 bytes an element.
    F16(Bytes),
}

impl Vector {
    /// Elements of the vector; a rest that is not a whole element does not count.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match self {
            Self::F32(bytes) => bytes.len() / 4,
            Self::F16(bytes) => bytes.len() / 2,
        }
    }
}

/// The embeddings of a batch, row by row. Apart from the values, because during a plugin's
/// call they belong to its sandbox while the values are lent to it.
#[derive(Debug, Default)]
pub struct Embeddings {
    /// Embeddings per row.
    pub width: usize,
    /// `rows * width` vectors; `None` only in rows that are not live.
    pub vectors: Vec<Option<Vector>>,
}

impl Embeddings {
    /// The vector of a row, if there is one.
    #[must_use]
    pub fn get(&self, row: usize, embedding: usize) -> Option<&Vector> {
        debug_assert!(embedding < self.width);
        self.vectors.get(row * self.width + embedding)?.as_ref()
    }

    /// The place of a row's vector, if there is such a row.
    pub fn slot(&mut self, row: usize, embedding: usize) -> Option<&mut Option<Vector>> {
        debug_assert!(embedding < self.width);
        self.vectors.get_mut(row * self.width + embedding)
    }
}

/// The rows of a chunk. All vectors but `live`, `failures` and `drops` have one entry per row
/// received, or `width` of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// What the rows consist of.
    pub schema: Arc<Schema>,
    /// The rows as they came: encoded `forebay.v1.Row` messages.
    pub wire: Vec<Bytes>,
    /// Empty where the key is missing or unreadable.
    pub keys: Vec<ByteString>,
    /// The same as UUIDs, where all keys are; nil for a key that is missing or none. Empty else.
    pub uuids: Vec<Uuid>,
    /// `rows * schema.columns.len()` values.
    pub values: Vec<Value>,
    /// `rows * schema.embeddings.len()` vectors.
    pub embeddings: Embeddings,
    /// The rows still on their way, ascending.
    pub live: Vec<u32>,
    /// Tombstones: rows to be removed from the tables, ascending. Plugins do not see them.
    pub deleted: Vec<u32>,
    /// Rows whose key is missing, unreadable or none that the tables could have, ascending.
    pub keyless: Vec<u32>,
    /// Rows that failed, in the order in which they did.
    pub failures: Vec<Failure>,
    /// Rows that were dropped, in the order in which they were.
    pub drops: Vec<Drop>,
}

impl Batch {
    /// Whether a row is a tombstone.
    #[must_use]
    pub fn is_deleted(&self, row: u32) -> bool {
        self.deleted.binary_search(&row).is_ok()
    }

    /// The values of a row, in the order of the schema's columns.
    #[must_use]
    pub fn row(&self, row: u32) -> &[Value] {
        let width = self.schema.columns.len();
        self.values
            .get(row as usize * width..(row as usize + 1) * width)
            .unwrap_or_default()
    }

    /// The values of a row, to change them.
    pub fn row_mut(&mut self, row: u32) -> &mut [Value] {
        let width = self.schema.columns.len();
        self.values
            .get_mut(row as usize * width..(row as usize + 1) * width)
            .unwrap_or_default()
    }
}

/// Where a row failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// From the wire into a batch.
    Decode,
    /// In a plugin's `transform`.
    Transform,
    /// In a plugin's `validate`.
    Validate,
    /// On the way into the tables.
    Write,
}

impl Stage {
    /// As in reports, in `forebay.dead_letter` and in the plugin interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Transform => "transform",
            Self::Validate => "validate",
            Self::Write => "write",
        }
    }
}

/// The plugin version that did something.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PluginId {
    /// As it describes itself.
    pub name: String,
    /// As it describes itself.
    pub version: String,
    /// SHA-256 of its file, in lower-case hexadecimal.
    pub digest: String,
}

/// Why a row failed. What becomes of it is for the policy to say.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Index of the row in its batch.
    pub row: u32,
    /// Where.
    pub stage: Stage,
    /// For machines: upper case with underscores, at most 64 characters.
    pub code: String,
    /// For people, at most 2,000 characters.
    pub message: String,
    /// The column or embedding at fault, if it is one.
    pub field: Option<String>,
    /// The plugin that said so, or that failed.
    pub plugin: Option<Arc<PluginId>>,
    /// How often this row has failed in this chunk, from 1.
    pub attempt: u32,
}

/// A row that was meant to leave the pipeline.
#[derive(Clone, Debug)]
pub struct Drop {
    /// Index of the row in its batch.
    pub row: u32,
    /// Where.
    pub stage: Stage,
    /// Why; counted by this text.
    pub reason: String,
}
