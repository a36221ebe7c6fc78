//! The `recruit` dataset: job postings in eight languages with clustered embeddings. One row in
//! forty is dirty.
//!
//! Every row is a function of its index and of `examples/recruit/dataset.json`, in integer
//! arithmetic only. So `examples/embedding-server/create_test_data.py` generates the same rows,
//! which [`Dataset::digest`] proves, and only a table of the clusters is held in memory.

mod definition;
pub mod dirt;
pub mod expected;
mod generate;
mod hash;
pub(super) mod posting;
mod spoil;
mod vectors;
mod words;

pub use self::definition::{
    DEFAULT_DIMENSIONS, DEFAULT_ROWS, Dataset, DatasetError, EMBEDDING, NAME,
};

#[cfg(test)]
mod tests;
