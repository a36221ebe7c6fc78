//! The word lists of postings: `examples/recruit/dataset.json`, shared with the generator in
//! Python.

use serde::Deserialize;

use super::dirt::Dirt;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub(super) seed: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(super) posted_from: i64,
    pub(super) posted_seconds: u64,
    pub(super) regions: Choices<Region>,
    /// Levels by ascending years.
    pub(super) levels: Choices<Level>,
    /// As applicants write them; `None` for no entry.
    pub(super) english_levels: Choices<Option<String>>,
    pub(super) keywords: Choices<Keyword>,
    pub(super) dirt: DirtRule,
}

/// Companies of one language, with their titles and locations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Region {
    pub(super) stems: Choices<String>,
    /// Templates with `{stem}`.
    pub(super) companies: Choices<String>,
    /// Templates with `{level}` and `{keyword}`.
    pub(super) titles: Choices<String>,
    pub(super) locations: Choices<String>,
}

/// A step of seniority.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    pub(super) from_years: u64,
    pub(super) name: String,
}

/// A family of postings, and a cluster of their vectors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keyword {
    pub(super) name: String,
    pub(super) spellings: Choices<String>,
    pub(super) skills: Choices<String>,
}

/// Selects the dirty rows and their kinds. Each block of rows has one dirty row, at a random
/// place that is not among the first; its kind follows from the block's number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirtRule {
    pub(super) block_rows: u64,
    /// Greater than the distances below, so that originals are clean.
    pub(super) first_position: u64,
    pub(super) cycle: Choices<Dirt>,
    /// Period, in cycles, of rows that are too large; the other cycles have a test posting.
    pub(super) row_too_large_every_cycles: u64,
    /// Minimum number of bytes of a text that is too large.
    pub(super) row_too_large_bytes: usize,
    pub(super) repeated_distance: u64,
    pub(super) revised_distance: u64,
    /// Fewer than precede it in the cycle, so that an original exists.
    pub(super) revised_later_blocks: u64,
    pub(super) keyword_too_long: String,
}

impl Words {
    /// The words as compiled in.
    pub(super) fn load() -> serde_json::Result<Self> {
        serde_json::from_str(include_str!("../../../../examples/recruit/dataset.json"))
    }
}

/// A list that is not empty, so that a choice always exists.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<T>")]
pub(super) struct Choices<T> {
    first: T,
    rest: Vec<T>,
}

impl<T> Choices<T> {
    pub(super) fn len(&self) -> usize {
        1 + self.rest.len()
    }

    /// Place of the choice that a random word selects.
    pub(super) fn place(&self, word: u64) -> usize {
        (word % self.len() as u64) as usize
    }

    /// The choice that a random word selects.
    pub(super) fn pick(&self, word: u64) -> &T {
        match self.place(word).checked_sub(1) {
            None => &self.first,
            Some(place) => self.rest.get(place).unwrap_or(&self.first),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl<T> TryFrom<Vec<T>> for Choices<T> {
    type Error = &'static str;

    fn try_from(choices: Vec<T>) -> Result<Self, Self::Error> {
        let mut choices = choices.into_iter();
        let first = choices.next().ok_or("a list to choose from is empty")?;
        Ok(Self {
            first,
            rest: choices.collect(),
        })
    }
}
