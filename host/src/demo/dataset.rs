//! The `recruit` dataset: job postings in eight languages with clustered embeddings, of which
//! one row in forty has something wrong with it.
//!
//! Every row is a function of its index and of `examples/recruit/dataset.json`, in integer
//! arithmetic only. So `examples/embedding-server/create_test_data.py` makes the same rows,
//! which [`Dataset::digest`] proves, and nothing is ever held but a table of the clusters.

pub mod dirt;
pub mod expected;
mod hash;
pub(super) mod posting;
mod vectors;
mod words;

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use prost::Message;
use sha2::{Digest, Sha256};

use self::dirt::Dirt;
use self::hash::{Purpose, Seed};
use self::vectors::Geometry;
use self::words::Words;
use crate::proto;
use crate::row::MAX_DIMENSIONS;

/// The name under which the sample servers offer the dataset.
pub const NAME: &str = "recruit";
/// The one embedding of a row.
pub const EMBEDDING: &str = "vector";
/// Rows where nobody says otherwise.
pub const DEFAULT_ROWS: u64 = 10_000;
/// Elements of a vector where nobody says otherwise.
pub const DEFAULT_DIMENSIONS: usize = 1536;

/// What a row has besides its vector, with some to spare.
const TYPICAL_TEXT_BYTES: usize = 512;

/// Why a dataset cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// `examples/recruit/dataset.json`, as compiled in, is not what this module reads.
    #[error("the word lists of the recruit dataset are malformed: {0}")]
    Words(#[from] serde_json::Error),
    /// Vectors of no or too many elements.
    #[error("a vector has 1 to {MAX_DIMENSIONS} elements, not {0}")]
    Dimensions(usize),
}

/// The rule that makes the rows. Holds about 130 KB at 1536 dimensions, however many rows.
#[derive(Debug)]
pub struct Dataset {
    rows: u64,
    seed: Seed,
    words: Words,
    geometry: Geometry,
    revisions: bool,
}

impl Dataset {
    /// A dataset of `rows` rows, whose clean vectors have `dimensions` elements.
    ///
    /// # Errors
    /// When `dimensions` is not 1 to 16,000.
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

    /// The same dataset with rows that are sent twice with different years, as a source does
    /// that changes while it is read. Every run then writes them back and forth.
    #[must_use]
    pub fn with_revisions(self) -> Self {
        Self {
            revisions: true,
            ..self
        }
    }

    /// Rows of the dataset, those sent again included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Elements of a clean vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.geometry.dimensions()
    }

    /// What is wrong with the row at `index`; `None` for a clean one.
    #[must_use]
    pub fn dirt(&self, index: u64) -> Option<Dirt> {
        let rule = &self.words.dirt;
        let block = index / rule.block_rows;
        let place = rule.first_position
            + self.seed.draw(Purpose::Dirt, block) % (rule.block_rows - rule.first_position);
        if index % rule.block_rows != place {
            return None;
        }
        let cycle = block / rule.cycle.len() as u64;
        match rule.cycle.pick(block) {
            Dirt::RowTooLarge if !cycle.is_multiple_of(rule.row_too_large_every_cycles) => {
                Some(Dirt::TestPosting)
            }
            Dirt::Revised | Dirt::RevisedLater if !self.revisions => None,
            dirt => Some(*dirt),
        }
    }

    /// The row at `index` as it is sent, what is wrong with it included.
    #[must_use]
    pub fn row(&self, index: u64) -> proto::Row {
        let Some(dirt) = self.dirt(index) else {
            return self.clean_row(index);
        };
        let rule = &self.words.dirt;
        let mut row = self.clean_row(dirt.original(index, rule).unwrap_or(index));
        let word = self.seed.draw(Purpose::DirtyElement, index);
        dirt.apply(&mut row, index, word, rule);
        row
    }

    /// The rows of `range`, each encoded as a `forebay.v1.Row`. They share one buffer.
    #[must_use]
    pub fn encode(&self, range: Range<u64>) -> Vec<Bytes> {
        let row_bytes = self.dimensions() * 4 + TYPICAL_TEXT_BYTES;
        let mut buffer = BytesMut::with_capacity(range.clone().count() * row_bytes);
        let encode = |index| {
            let row = self.row(index);
            buffer.reserve(row.encoded_len());
            // Cannot run out of room, which is the only way for it to fail.
            row.encode_raw(&mut buffer);
            buffer.split().freeze()
        };
        range.map(encode).collect()
    }

    /// SHA-256 of all rows as encoded, each after its length as four little-endian bytes; in
    /// lower-case hexadecimal. `create_test_data.py --digest` prints the same.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for index in 0..self.rows {
            let row = self.row(index).encode_to_vec();
            hasher.update((row.len() as u32).to_le_bytes());
            hasher.update(row);
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests;
