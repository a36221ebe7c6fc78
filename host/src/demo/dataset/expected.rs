//! The expected results of a pipeline, derived from the dirt of the rows only and not from the
//! pipeline's behaviour.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::definition::Dataset;
use super::dirt::{Dirt, Fate};
use crate::row::Stage;

/// Counts of a run; `received` is the sum of the five counts that follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Rows sent.
    pub received: u64,
    /// Rows whose key was new.
    pub inserted: u64,
    /// Rows whose key existed with other content.
    pub updated: u64,
    /// Rows whose key existed with the same content.
    pub unchanged: u64,
    /// Rows dropped on purpose.
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

/// Columns of a row in the tables after a run, without those that plugins change.
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
    /// Expected report of a run over empty tables.
    #[must_use]
    pub fn expected(&self) -> Expected {
        let mut expected = Expected::default();
        for index in 0..self.rows() {
            expected.count(self.dirt(index).map_or(Fate::Inserted, Dirt::fate));
        }
        expected
    }

    /// Expected report of every later run. A row that is revised within the dataset is changed
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

    /// The expected rows of the tables after a run, by ascending index. Generated lazily.
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
