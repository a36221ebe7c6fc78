//! Rows between the wire and the tables.
//!
//! A chunk's rows are kept as columns of one [`Batch`]: a few allocations per chunk, not per
//! row. Texts and vectors are slices of the received buffer until a plugin changes them. A row
//! keeps its index from decode to commit. A row that leaves [`Batch::live`] has a [`Failure`] or
//! a [`Drop`].

mod keys;

use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

pub use self::keys::KeySet;

/// Maximum number of elements of an embedding: what a `vector` of pgvector can store.
pub const MAX_DIMENSIONS: usize = 16_000;

/// Type of a field, as the source declares it.
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
    /// `None` if the source does not have the column: null until a plugin sets it.
    pub field_type: Option<FieldType>,
}

/// An embedding of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingColumn {
    /// Unique in the schema.
    pub name: String,
    /// Number of elements of each vector, 1 to 16,000.
    pub dimensions: usize,
}

/// Columns and embeddings of a pipeline's rows. Fixed while its stream is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// One for each value of a row in [`Batch::values`].
    pub columns: Vec<Column>,
    /// One for each vector of a row in [`Embeddings`].
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
    /// True if two values are identical bit for bit: a NaN equals the same NaN.
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
    /// Number of elements; a trailing fraction of an element is ignored.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match self {
            Self::F32(bytes) => bytes.len() / 4,
            Self::F16(bytes) => bytes.len() / 2,
        }
    }
}

/// The embeddings of a batch, row by row. They are separate from the values, because during a
/// plugin's call its sandbox owns them, while the values are lent to it.
#[derive(Debug, Default)]
pub struct Embeddings {
    /// Number of embeddings per row.
    pub width: usize,
    /// `rows * width` vectors; `None` in rows that are not live, and for an embedding that no table
    /// requires.
    pub vectors: Vec<Option<Vector>>,
}

impl Embeddings {
    /// Returns the vector of a row, if it has one.
    #[must_use]
    pub fn get(&self, row: usize, embedding: usize) -> Option<&Vector> {
        debug_assert!(embedding < self.width);
        self.vectors.get(row * self.width + embedding)?.as_ref()
    }

    /// Returns the place of a row's vector, if the row exists.
    pub fn slot(&mut self, row: usize, embedding: usize) -> Option<&mut Option<Vector>> {
        debug_assert!(embedding < self.width);
        self.vectors.get_mut(row * self.width + embedding)
    }
}

/// The rows of a chunk. `keys` and `uuids` have one entry per received row, `values` and
/// `embeddings` as many as the schema is wide.
#[derive(Debug, Default)]
pub struct Batch {
    /// Columns and embeddings of the rows.
    pub schema: Arc<Schema>,
    /// Keys; empty if the key is missing or unreadable.
    pub keys: Vec<ByteString>,
    /// The keys as UUIDs, if they are UUIDs; nil for a missing or invalid key. Otherwise empty.
    pub uuids: Vec<Uuid>,
    /// `rows * schema.columns.len()` values.
    pub values: Vec<Value>,
    /// `rows * schema.embeddings.len()` vectors.
    pub embeddings: Embeddings,
    /// Fields that the source left out, as row and column, ascending: only of columns that have a
    /// default in a table. They count as long as the value is null.
    pub left_out: Vec<(u32, u32)>,
    /// Rows still in the pipeline, ascending.
    pub live: Vec<u32>,
    /// Tombstones: rows to remove from the tables, ascending. Plugins do not see them.
    pub deleted: Vec<u32>,
    /// Rows with a key that is missing, unreadable or impossible in the tables, ascending.
    pub keyless: Vec<u32>,
    /// Failed rows, in the order of their failures.
    pub failures: Vec<Failure>,
    /// Dropped rows, in the order in which they were dropped.
    pub drops: Vec<Drop>,
}

impl Batch {
    /// True if a row is a tombstone.
    #[must_use]
    pub fn is_deleted(&self, row: u32) -> bool {
        self.deleted.binary_search(&row).is_ok()
    }

    /// True if the source left out a field that has a default in a table, and no plugin has set it.
    #[must_use]
    pub fn is_left_out(&self, row: u32, column: usize) -> bool {
        // Most values are there, which is quick to see.
        if self.left_out.is_empty() || self.row(row).get(column) != Some(&Value::Null) {
            return false;
        }
        let place = u32::try_from(column).map(|column| (row, column));
        place.is_ok_and(|place| self.left_out.binary_search(&place).is_ok())
    }

    /// Returns the values of a row, in the order of the schema's columns.
    #[must_use]
    pub fn row(&self, row: u32) -> &[Value] {
        let width = self.schema.columns.len();
        self.values
            .get(row as usize * width..(row as usize + 1) * width)
            .unwrap_or_default()
    }

    /// Returns the values of a row, to change them.
    pub fn row_mut(&mut self, row: u32) -> &mut [Value] {
        let width = self.schema.columns.len();
        self.values
            .get_mut(row as usize * width..(row as usize + 1) * width)
            .unwrap_or_default()
    }
}

/// Stage in which a row failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Decoding from the wire into a batch.
    Decode,
    /// A plugin's `transform`.
    Transform,
    /// A plugin's `validate`.
    Validate,
    /// Writing into the tables.
    Write,
}

impl Stage {
    /// All stages, in the order in which a row passes them.
    pub const ALL: [Self; 4] = [Self::Decode, Self::Transform, Self::Validate, Self::Write];

    /// Name in reports, in `forebay.dead_letter` and in the plugin interface.
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

/// A text that is not the name of a [`Stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown stage")]
pub struct UnknownStage;

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Self, UnknownStage> {
        let mut stages = Self::ALL.into_iter();
        stages
            .find(|stage| stage.as_str() == name)
            .ok_or(UnknownStage)
    }
}

/// Identity of a plugin version.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PluginId {
    /// Name in its description.
    pub name: String,
    /// Version in its description.
    pub version: String,
    /// SHA-256 of its file, in lower-case hexadecimal.
    pub digest: String,
}

impl PluginId {
    /// The first characters of the digest.
    #[must_use]
    pub fn short_digest(&self) -> &str {
        short_digest(&self.digest)
    }
}

/// The first 12 characters of a digest: enough to recognise it.
#[must_use]
pub fn short_digest(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Reason why a row failed. The policy decides what happens to the row.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Index of the row in its batch.
    pub row: u32,
    /// Stage in which it failed.
    pub stage: Stage,
    /// Code for machines: upper case with underscores, at most 64 characters.
    pub code: String,
    /// Message for people, at most 2,000 characters.
    pub message: String,
    /// The invalid column or embedding, if it is only one.
    pub field: Option<String>,
    /// The plugin that rejected the row or failed on it.
    pub plugin: Option<Arc<PluginId>>,
    /// Number of failures of this row in this chunk, including this one.
    pub attempt: u32,
}

/// A row that a plugin dropped.
#[derive(Clone, Debug)]
pub struct Drop {
    /// Index of the row in its batch.
    pub row: u32,
    /// Stage in which it was dropped.
    pub stage: Stage,
    /// Reason, under which dropped rows are counted.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_by_their_names() {
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse(), Ok(stage));
        }
        for name in ["", "Write", "elsewhere"] {
            assert_eq!(name.parse::<Stage>(), Err(UnknownStage));
        }
    }

    #[test]
    fn digests_are_shortened() {
        assert_eq!(short_digest(&"0123456789abcdef".repeat(4)), "0123456789ab");
        assert_eq!(short_digest("d"), "d");
    }
}
