//! What a comparison has found so far, by the hashes of keys.
//!
//! A key that comes again replaces what was found of it before.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::route::Targets;
use crate::store::compare::{Comparer, Difference};
use crate::store::run::Counts;

/// Number of keys that are shown as samples.
const SAMPLES: usize = 5;

/// How the tables of a pipeline compare with its source.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Number of rows that were compared. A key that comes several times counts once.
    pub compared: u64,
    /// Number of `compared` rows that all tables have as they should.
    pub equal: u64,
    /// Number of `compared` rows that the first table has not got.
    pub missing: u64,
    /// Number of `compared` rows that differ otherwise.
    pub differing: u64,
    /// Tables and columns that are not as they should be.
    pub tables: Vec<TableFindings>,
    /// Rows that the pipeline has written and that have no place in the tables any more. `None` if
    /// that cannot be told: the source delivers changes, or rows are not found by their key alone.
    pub extra: Option<Extra>,
    /// Number of rows that cannot be written, and so were not compared: failed rows, and rows that
    /// the tables lack because they refuse them (open dead letters).
    pub failed: u64,
    /// Outcome for the rows that were written again; `None` if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired: Option<Counts>,
}

/// What is not as it should be in one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableFindings {
    /// As the configuration names it.
    pub table: String,
    /// Number of rows that it has not got.
    pub missing: u64,
    /// Keys of some of them.
    pub missing_samples: Vec<String>,
    /// Columns with other values.
    pub columns: Vec<ColumnFindings>,
}

/// Rows with another value in one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnFindings {
    /// Not quoted. For the table of a list, the first column stands for missing and surplus items.
    pub column: String,
    /// Number of rows.
    pub rows: u64,
    /// Keys of some of them.
    pub samples: Vec<String>,
}

/// Rows that have no place in the tables any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Extra {
    /// Number of rows.
    pub rows: u64,
    /// Number of `rows` that the source has, but that the plugins drop now.
    pub dropped: u64,
    /// Keys of some of them.
    pub samples: Vec<String>,
}

impl Verification {
    /// True if the tables are as they should be, now that they are repaired.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        let extra = self.extra.as_ref().map_or(0, |extra| extra.rows);
        let unequal = self.missing + self.differing;
        let written = self
            .repaired
            .map_or(0, |it| it.inserted + it.updated + it.unchanged);
        extra == 0 && written >= unequal
    }
}

impl Extra {
    pub(super) fn add(&mut self, key: &str, dropped: bool) {
        self.rows += 1;
        self.dropped += u64::from(dropped);
        if self.samples.len() < SAMPLES {
            self.samples.push(key.to_owned());
        }
    }
}

/// The place of a row in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the partition.
    pub partition: usize,
    /// Number of rows before it in the partition.
    pub row: u64,
}

/// What is wrong with a row: tables, and in each a column, or `None` if it has not got the row.
type Wrong = Vec<(usize, Option<usize>)>;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Keys of the rows that were compared; sorted and unique after [`Findings::sort`].
    compared: Vec<u64>,
    /// Keys of the rows that cannot be written, likewise.
    failed: Vec<u64>,
    /// Keys whose last row is a tombstone, or is dropped: then true.
    gone: HashMap<u64, bool>,
    /// Rows that are not as they should be, and the index in `wrongs` of what is wrong.
    unequal: HashMap<u64, (Place, usize)>,
    wrongs: Vec<Wrong>,
    numbers: HashMap<Wrong, usize>,
    samples: HashMap<(usize, Option<usize>), Vec<String>>,
}

fn hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

impl Findings {
    /// A row that was compared; what differs is still to be added.
    pub(super) fn equal(&mut self, key: &str) {
        let key = hash(key);
        self.unequal.remove(&key);
        self.gone.remove(&key);
        self.compared.push(key);
    }

    /// What is wrong with a row that was compared.
    pub(super) fn differs(&mut self, key: &str, place: Place, difference: &Difference) {
        let table = difference.table;
        let before = self.unequal.get(&hash(key)).map(|(_, number)| *number);
        let mut wrong = before.and_then(|number| self.wrongs.get(number).cloned());
        let wrong_now = wrong.get_or_insert_default();
        if difference.found {
            let columns = difference.columns.iter();
            wrong_now.extend(columns.map(|column| (table, Some(*column))));
        } else {
            wrong_now.push((table, None));
        }
        for what in wrong_now.iter().filter(|(it, _)| *it == table) {
            let samples = self.samples.entry(*what).or_default();
            if samples.len() < SAMPLES {
                samples.push(key.to_owned());
            }
        }
        let number = self.number(wrong.unwrap_or_default());
        self.unequal.insert(hash(key), (place, number));
    }

    fn number(&mut self, wrong: Wrong) -> usize {
        let next = self.wrongs.len();
        let number = *self.numbers.entry(wrong.clone()).or_insert(next);
        if number == next {
            self.wrongs.push(wrong);
        }
        number
    }

    /// A tombstone.
    pub(super) fn deleted(&mut self, key: &str) {
        self.unequal.remove(&hash(key));
        self.gone.insert(hash(key), false);
    }

    /// A row that a plugin drops.
    pub(super) fn dropped(&mut self, key: &str) {
        self.unequal.remove(&hash(key));
        self.gone.insert(hash(key), true);
    }

    /// A row that cannot be written.
    pub(super) fn failed(&mut self, key: &str) {
        self.unequal.remove(&hash(key));
        self.gone.remove(&hash(key));
        self.failed.push(hash(key));
    }

    /// A row that the database is known to refuse: that it is not there is no news.
    pub(super) fn refused(&mut self, key: &str) {
        if self.unequal.remove(&hash(key)).is_some() {
            self.failed.push(hash(key));
        }
    }

    /// To be called after the last row, before keys are asked for.
    pub(super) fn sort(&mut self) {
        for keys in [&mut self.compared, &mut self.failed] {
            keys.sort_unstable();
            keys.dedup();
        }
    }

    /// True if the plugins drop the row of a key that has no place in the tables, false if the
    /// source has none; `None` if it has its place.
    pub(super) fn unmet(&self, key: &str) -> Option<bool> {
        let key = hash(key);
        let is_met = |keys: &[u64]| keys.binary_search(&key).is_ok();
        match self.gone.get(&key) {
            Some(dropped) => Some(*dropped),
            None => (!is_met(&self.compared) && !is_met(&self.failed)).then_some(false),
        }
    }

    /// True if a row is to be written again: it is not as it should be, and no later one of its
    /// key was met.
    pub(super) fn wants(&self, key: &str, place: Place) -> bool {
        self.unequal
            .get(&hash(key))
            .is_some_and(|(last, _)| last.partition == place.partition && last.row <= place.row)
    }

    /// Number of rows that are not as they should be.
    pub(super) fn unequal(&self) -> usize {
        self.unequal.len()
    }

    /// The result, without the rows that only the pipeline knows.
    pub(super) fn verification(
        &self,
        pipeline: &str,
        targets: &Targets,
        comparer: &Comparer,
    ) -> Verification {
        let has_failed: HashSet<&u64> = self.failed.iter().collect();
        let is_compared = |key: &&u64| !self.gone.contains_key(key) && !has_failed.contains(key);
        let compared = self.compared.iter().filter(is_compared).count() as u64;
        let mut rows: HashMap<(usize, Option<usize>), u64> = HashMap::new();
        let mut missing = 0;
        for (_, number) in self.unequal.values() {
            let wrong = self.wrongs.get(*number).into_iter().flatten();
            missing += u64::from(wrong.clone().any(|what| *what == (0, None)));
            for what in wrong {
                *rows.entry(*what).or_default() += 1;
            }
        }
        let mut tables = Vec::new();
        for (index, target) in targets.tables.iter().enumerate() {
            let rows = |column| rows.get(&(index, column)).copied().unwrap_or_default();
            let names = comparer.columns(index).iter().enumerate();
            let columns = names.map(|(column, name)| ColumnFindings {
                column: name.clone(),
                rows: rows(Some(column)),
                samples: self.samples_of(index, Some(column)),
            });
            let findings = TableFindings {
                table: target.table.name.clone(),
                missing: rows(None),
                missing_samples: self.samples_of(index, None),
                columns: columns.filter(|column| column.rows > 0).collect(),
            };
            if findings.missing > 0 || !findings.columns.is_empty() {
                tables.push(findings);
            }
        }
        let unequal = self.unequal.len() as u64;
        Verification {
            pipeline: pipeline.to_owned(),
            compared,
            equal: compared.saturating_sub(unequal),
            missing,
            differing: unequal - missing,
            tables,
            extra: None,
            failed: self.failed.len() as u64,
            repaired: None,
        }
    }

    /// Keys of rows with this fault that still have it.
    fn samples_of(&self, table: usize, column: Option<usize>) -> Vec<String> {
        let what = (table, column);
        let still = |key: &&String| {
            let wrong = self.unequal.get(&hash(key));
            let wrong = wrong.and_then(|(_, number)| self.wrongs.get(*number));
            wrong.is_some_and(|wrong| wrong.contains(&what))
        };
        let samples = self.samples.get(&what).into_iter().flatten();
        samples.filter(still).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place {
        partition: 0,
        row: 7,
    };

    fn difference(table: usize, columns: &[usize]) -> Difference {
        Difference {
            row: 0,
            table,
            found: !columns.is_empty(),
            columns: columns.to_vec(),
        }
    }

    #[test]
    fn what_comes_last_counts() {
        let mut findings = Findings::default();
        findings.equal("a");
        findings.differs("a", AT, &difference(0, &[1]));
        findings.differs("a", AT, &difference(1, &[]));
        assert_eq!(findings.unequal(), 1);
        assert_eq!(findings.samples_of(0, Some(1)), ["a"]);
        assert_eq!(findings.samples_of(1, None), ["a"]);
        assert!(findings.wants("a", AT));
        assert!(findings.wants("a", Place { row: 8, ..AT }));
        assert!(!findings.wants("a", Place { row: 6, ..AT }));
        findings.equal("a");
        assert_eq!(findings.unequal(), 0);
        assert!(findings.samples_of(0, Some(1)).is_empty());
    }

    #[test]
    fn keys_without_a_place_are_told_apart() {
        let mut findings = Findings::default();
        for key in ["equal", "back"] {
            findings.equal(key);
        }
        findings.dropped("dropped");
        findings.deleted("deleted");
        findings.failed("failed");
        findings.dropped("back");
        findings.equal("back");
        findings.sort();
        let keys = ["equal", "back", "failed", "dropped", "deleted", "unknown"];
        let unmet = keys.map(|key| findings.unmet(key));
        let [gone, dropped] = [Some(false), Some(true)];
        assert_eq!(unmet, [None, None, None, dropped, gone, gone]);
    }

    #[test]
    fn a_row_that_is_known_to_be_refused_is_no_difference() {
        let mut findings = Findings::default();
        findings.equal("a");
        findings.differs("a", AT, &difference(0, &[]));
        findings.refused("a");
        findings.refused("b");
        assert_eq!((findings.unequal(), findings.failed.len()), (0, 1));
    }
}
