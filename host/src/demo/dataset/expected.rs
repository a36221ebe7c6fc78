//! What a pipeline must make of the dataset, worked out from which row has which dirt and from
//! nothing the pipeline does.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::Dataset;
use super::dirt::{Dirt, Fate};
use crate::row::Stage;

/// Counts of one run; `received` is the sum of the five below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Rows sent.
    pub received: u64,
    /// Rows whose key was new.
    pub inserted: u64,
    /// Rows whose key was there with other content.
    pub updated: u64,
    /// Rows whose key was there with the same content.
    pub unchanged: u64,
    /// Rows that were meant to leave.
    pub dropped: u64,
    /// Rows that failed.
    pub dead_lettered: u64,
    /// `dropped` by reason.
    pub drops: BTreeMap<&'static str, u64>,
    /// `dead_lettered` by stage and code.
    pub dead_letters: BTreeMap<(Stage, &'static str), u64>,
}

impl Expected {
    fn count(&mut self, fate: Fate) {
        self.received += 1;
        match fate {
            Fate::Inserted => self.inserted += 1,
            Fate::Updated => self.updated += 1,
            Fate::Unchanged => self.unchanged += 1,
            Fate::Dropped(reason) => {
                self.dropped += 1;
                *self.drops.entry(reason).or_default() += 1;
            }
            Fate::DeadLettered(stage, code) => {
                self.dead_lettered += 1;
                *self.dead_letters.entry((stage, code)).or_default() += 1;
            }
        }
    }
}

/// A row as the tables must have it in the end, as far as plugins leave it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// A UUID, lower case with hyphens.
    pub key: String,
    /// After all revisions.
    pub exp_years: i64,
    /// The elements as little-endian binary32.
    pub vector: Bytes,
}

impl Dataset {
    /// What a run over empty tables must report.
    #[must_use]
    pub fn expected(&self) -> Expected {
        let mut expected = Expected::default();
        for index in 0..self.rows() {
            expected.count(self.dirt(index).map_or(Fate::Inserted, Dirt::fate));
        }
        expected
    }

    /// What every later run must report. A row that is revised within the dataset is changed
    /// back by its original and changed again by its revision; all others are unchanged.
    #[must_use]
    pub fn expected_again(&self) -> Expected {
        let first = self.expected();
        Expected {
            inserted: 0,
            updated: 2 * first.updated,
            unchanged: first.inserted + first.unchanged - first.updated,
            ..first
        }
    }

    /// The rows that must be in the tables in the end, by ascending index. Made one at a time.
    pub fn written(&self) -> impl Iterator<Item = Written> {
        let revised: HashSet<u64> = (0..self.rows())
            .filter_map(|row| self.revises(row))
            .collect();
        let clean = (0..self.rows()).filter(|index| self.dirt(*index).is_none());
        clean.map(move |index| Written {
            key: self.key(index),
            exp_years: self.years(index) as i64 + i64::from(revised.contains(&index)),
            vector: self.vector(index).into(),
        })
    }

    /// The row that this one changes, if it is a revision.
    fn revises(&self, index: u64) -> Option<u64> {
        let dirt = self
            .dirt(index)
            .filter(|dirt| dirt.fate() == Fate::Updated)?;
        dirt.original(index, &self.words.dirt)
    }
}
