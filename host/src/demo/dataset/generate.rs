//! The rows of a dataset as they are sent.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use prost::Message;
use sha2::{Digest, Sha256};

use super::definition::Dataset;
use super::dirt::Dirt;
use super::hash::Purpose;
use crate::proto;

/// Typical size of a row without its vector, with some to spare.
const TYPICAL_TEXT_BYTES: usize = 512;

impl Dataset {
    /// The dirt of the row at `index`; `None` for a clean row.
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

    /// The row at `index` as it is sent, with its dirt.
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
            // Fails only if the buffer has no room, and it has.
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
        hex::encode(hasher.finalize())
    }
}
