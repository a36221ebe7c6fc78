//! Size and seed of a dataset: everything that its rows are a function of.

use super::hash::Seed;
use super::vectors::Geometry;
use super::words::Words;
use crate::row::MAX_DIMENSIONS;

/// The name under which the sample servers offer the dataset.
pub const NAME: &str = "recruit";
/// The one embedding of a row.
pub const EMBEDDING: &str = "vector";
/// Default number of rows.
pub const DEFAULT_ROWS: u64 = 10_000;
/// Default number of elements of a vector.
pub const DEFAULT_DIMENSIONS: usize = 1536;

/// Why a dataset cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// `examples/recruit/dataset.json`, as compiled in, does not have the expected structure.
    #[error("the word lists of the recruit dataset are malformed: {0}")]
    Words(#[from] serde_json::Error),
    /// The number of elements of a vector is out of range.
    #[error("a vector has 1 to {MAX_DIMENSIONS} elements, not {0}")]
    Dimensions(usize),
}

/// The rule that generates the rows. Takes about 130 KB at 1536 dimensions, for any number of
/// rows.
#[derive(Debug)]
pub struct Dataset {
    pub(super) rows: u64,
    pub(super) seed: Seed,
    pub(super) words: Words,
    pub(super) geometry: Geometry,
    pub(super) revisions: bool,
}

impl Dataset {
    /// A dataset of `rows` rows, whose clean vectors have `dimensions` elements.
    ///
    /// # Errors
    /// If `dimensions` is not 1 to 16,000.
    pub fn new(rows: u64, dimensions: usize) -> Result<Self, DatasetError> {
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(DatasetError::Dimensions(dimensions));
        }
        let words = Words::load()?;
        let seed = Seed(words.seed);
        let geometry = Geometry::new(seed, words.keywords.len(), dimensions);
        Ok(Self {
            rows,
            seed,
            words,
            geometry,
            revisions: false,
        })
    }

    /// The same dataset with rows that are sent twice with different years, like those of a source
    /// that changes while it is read. Every run then writes both versions.
    #[must_use]
    pub fn with_revisions(self) -> Self {
        Self {
            revisions: true,
            ..self
        }
    }

    /// Number of rows, including those that are sent again.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Number of elements of a clean vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.geometry.dimensions()
    }
}
