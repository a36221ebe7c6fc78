//! The rows of all runs: those of the example's dataset in which nothing is wrong.
//!
//! Everything is a function of the shape, so a source, the loop that copies and the tables they
//! fill agree without telling each other.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use clap::{Args, ValueEnum};
use forebay::demo::dataset::{Dataset, EMBEDDING};
use forebay::proto::Row;
use forebay::proto::vector::Elements;
use half::f16;
use prost::Message;
use uuid::Uuid;

use super::dirt::Dirt;

/// Rows are made before the first is asked for, up to this many bytes; a larger dataset repeats
/// them under other keys, so that it needs no more memory.
const MOST_BYTES: usize = 1 << 30;

/// Of 100 rows, how many differ in the second generation.
const CHANGED_PERCENT: usize = 3;

/// Chooses the rows that change.
const SEED: u64 = 3;

/// Before the text of a key in an encoded row: field 1, and its length.
const KEY_HEAD: [u8; 2] = [0x0a, 36];

/// How elements travel from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    F32,
    F16,
}

impl Wire {
    /// As tables and arguments name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// What a dataset is made from.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Shape {
    #[arg(long)]
    pub(crate) rows: usize,
    #[arg(long)]
    pub(crate) dimensions: usize,
    #[arg(long, value_enum)]
    pub(crate) wire: Wire,
}

impl Shape {
    /// Clean rows of the dataset.
    pub(crate) fn postings(self, rows: Range<usize>) -> anyhow::Result<impl Iterator<Item = Row>> {
        // One row in forty is dirty.
        let more = rows.end as u64 + rows.end as u64 / 10 + 100;
        let dataset = Dataset::new(more, self.dimensions)?;
        let clean: Vec<u64> = (0..more)
            .filter(|index| dataset.dirt(*index).is_none())
            .take(rows.end)
            .skip(rows.start)
            .collect();
        ensure!(
            clean.len() == rows.len(),
            "the dataset has too few clean rows"
        );
        Ok(clean
            .into_iter()
            .map(move |index| self.posting(&dataset, index)))
    }

    fn posting(self, dataset: &Dataset, index: u64) -> Row {
        let mut row = dataset.row(index);
        if self.wire == Wire::F16
            && let Some(vector) = row.embeddings.get_mut(EMBEDDING)
            && let Some(Elements::F32(elements)) = &vector.elements
        {
            vector.elements = Some(Elements::F16(halved(elements)));
        }
        row
    }

    /// Number of rows with keys below `8`: about half.
    pub(crate) fn lower_half(self) -> anyhow::Result<usize> {
        let keys = Self {
            dimensions: 1,
            ..self
        };
        let rows = keys.postings(0..self.rows)?;
        Ok(rows.filter(|row| row.key.as_str() < "8").count())
    }

    /// Places of the rows that differ in the second generation.
    pub(crate) fn changed(self) -> Vec<usize> {
        let count = self.rows * CHANGED_PERCENT / 100;
        fastrand::Rng::with_seed(SEED).choose_multiple(0..self.rows, count)
    }
}

fn halved(elements: &[u8]) -> Bytes {
    let (elements, _) = elements.as_chunks::<4>();
    let halves = elements
        .iter()
        .flat_map(|element| f16::from_f32(f32::from_le_bytes(*element)).to_le_bytes());
    halves.collect::<Vec<u8>>().into()
}

/// Encoded rows, by place.
#[derive(Clone)]
pub(crate) struct Rows {
    made: Arc<[Bytes]>,
    count: usize,
}

impl Rows {
    /// The first generation.
    pub(crate) fn first(shape: Shape) -> anyhow::Result<Self> {
        let row_bytes = shape.dimensions * 4 + 512;
        let count = shape.rows.min(MOST_BYTES / row_bytes);
        // A large dataset is about the host's memory: the source leaves the rest to it.
        let count = if count < shape.rows {
            count / 10
        } else {
            count
        };
        let made = shape.postings(0..count)?.map(|row| encoded(&row)).collect();
        Ok(Self {
            made,
            count: shape.rows,
        })
    }

    /// Some rows have the content of others, which the first generation does not have.
    pub(crate) fn second(&self, shape: Shape) -> anyhow::Result<Self> {
        let mut made = self.made.to_vec();
        let changed = shape.changed();
        let spare = shape.postings(made.len()..made.len() + changed.len())?;
        for (place, spare) in changed.iter().zip(spare) {
            // Of a dataset that repeats its rows there is no second generation.
            let row = made.get_mut(*place).context("a row to change")?;
            let key = row.get(..KEY_HEAD.len() + 36).unwrap_or_default();
            *row = with_key(&encoded(&spare), key);
        }
        Ok(Self {
            made: made.into(),
            count: self.count,
        })
    }

    /// Some rows are spoiled.
    pub(crate) fn spoiled(&self, shape: Shape, dirt: Dirt) -> anyhow::Result<Self> {
        let mut made = self.made.to_vec();
        for place in dirt.places(shape) {
            let slot = made.get_mut(place).context("a row to spoil")?;
            let mut row = Row::decode(slot.clone())?;
            dirt.spoil(&mut row);
            *slot = encoded(&row);
        }
        Ok(Self {
            made: made.into(),
            count: self.count,
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether all rows are made, and none is repeated.
    pub(crate) fn is_made(&self) -> bool {
        self.made.len() == self.count
    }

    /// The row at a place.
    pub(crate) fn at(&self, place: usize) -> Bytes {
        match self.made.get(place) {
            Some(row) => row.clone(),
            None => {
                let row = self.made.get(place % self.made.len().max(1));
                let key = Uuid::from_u128(fastrand::Rng::with_seed(place as u64).u128(..));
                let key = [&KEY_HEAD[..], key.to_string().as_bytes()].concat();
                with_key(row.unwrap_or(&Bytes::new()), &key)
            }
        }
    }
}

fn encoded(row: &Row) -> Bytes {
    row.encode_to_vec().into()
}

/// The row with another key, which is the first field and of the same length.
fn with_key(row: &Bytes, key: &[u8]) -> Bytes {
    let mut row = BytesMut::from(row.as_ref());
    if let Some(old) = row.get_mut(..key.len()) {
        old.copy_from_slice(key);
    }
    row.freeze()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SHAPE: Shape = Shape {
        rows: 1000,
        dimensions: 4,
        wire: Wire::F16,
    };

    fn decoded(rows: &Rows) -> Vec<Row> {
        (0..rows.len())
            .map(|place| Row::decode(rows.at(place)).unwrap())
            .collect()
    }

    #[test]
    fn three_of_a_hundred_rows_change_and_no_key_does() {
        let first = Rows::first(SHAPE).unwrap();
        let second = decoded(&first.second(SHAPE).unwrap());
        let first = decoded(&first);
        assert!(first.iter().zip(&second).all(|(a, b)| a.key == b.key));
        let changed = first.iter().zip(&second).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 30);
        assert_eq!(changed, SHAPE.changed().len());
    }

    #[test]
    fn repeated_rows_have_keys_of_their_own() {
        let rows = Rows {
            count: 3000,
            ..Rows::first(SHAPE).unwrap()
        };
        assert!(!rows.is_made());
        let rows = decoded(&rows);
        let keys: HashSet<&String> = rows.iter().map(|row| &row.key).collect();
        assert_eq!(keys.len(), 3000);
        assert_eq!(rows[0].fields, rows[1000].fields);
        Uuid::parse_str(&rows[2999].key).unwrap();
    }
}
