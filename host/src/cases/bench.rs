//! Compares two builds of a plugin on the same rows, in turn, with a control.
//!
//! A round calls the first build, the second, and another load of the first, in an order that
//! rotates from round to round. The difference between the two loads of the first build is the
//! noise of the measurement: a difference within it does not count.

use std::sync::Arc;
use std::time::Duration;

use super::expect::Answer;
use super::fuzz::{Space, generated_rows};
use super::harness::{Harness, Spent};
use super::suite::{Case, CaseFailure, CaseRow, Suite};
use crate::plugin::{Plugin, Settings, apart};

/// Number of warm-up rounds.
const WARM_UP: usize = 3;

/// Number of rounds per block; the medians of blocks are compared.
const BLOCK: usize = 5;

/// Seed of the rows that are generated if there are no cases.
const SEED: u64 = 1;

/// The work of one round.
#[derive(Clone, Debug)]
pub struct Work {
    /// Columns and embeddings of the rows.
    pub space: Space,
    /// Settings passed to `configure`.
    pub settings: Settings,
    /// Rows of a batch.
    pub rows: Vec<CaseRow>,
    /// Failures passed to the policy in one call.
    pub failures: Vec<CaseFailure>,
}

/// Times of a build over all rounds.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Side {
    /// Name of the build: `A`, `B` or `A again`.
    pub name: String,
    /// Median time per row in nanoseconds.
    pub median: f64,
    /// 10th percentile in nanoseconds per row.
    pub low: f64,
    /// 90th percentile in nanoseconds per row.
    pub high: f64,
    /// Peak linear memory of an instance in bytes.
    pub peak_memory: usize,
    /// Linear memory of the instance after the last round, in bytes.
    pub memory: usize,
    /// Average growth of linear memory per call after an instance's first, in bytes.
    pub growth_per_call: u64,
    /// Instances replaced because their memory had grown.
    pub retired: u64,
}

/// Ratio of the times of two sides, over blocks of five rounds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Ratio {
    /// Median of the blocks.
    pub median: f64,
    /// 10th percentile of the blocks.
    pub low: f64,
    /// 90th percentile of the blocks.
    pub high: f64,
}

/// Result of a comparison.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Comparison {
    /// Number of rows, or of failures, per call.
    pub rows: usize,
    /// Number of measured rounds.
    pub rounds: usize,
    /// A, A again, and B if it was given.
    pub sides: Vec<Side>,
    /// Ratio of A again to A: the control.
    pub control: Ratio,
    /// Ratio of B to A.
    pub ratio: Option<Ratio>,
}

impl Comparison {
    /// True if the builds differ by more than two loads of the same build.
    #[must_use]
    pub fn differs(&self) -> bool {
        let within = self.control.low..=self.control.high;
        self.ratio
            .is_some_and(|ratio| !within.contains(&ratio.median))
    }
}

impl Work {
    /// Takes `rows` rows from the cases without settings of their own, repeated as needed, or
    /// generates them if there are none. If files differ in their settings, only files with the
    /// same settings as the first are used. Rows on which `plugin` fails are left out.
    ///
    /// # Errors
    /// If the plugin refuses the settings, or fails on every row.
    pub fn of(
        plugin: &Arc<Plugin>,
        suites: &[Suite],
        more: &[(String, String)],
        rows: usize,
    ) -> Result<Self, String> {
        let space = Space::of(plugin, suites, more);
        let mut cases: Vec<(Settings, &Case)> = Vec::new();
        for suite in suites {
            let own = suite.cases.iter().filter(|case| case.settings.is_empty());
            let own = own.filter(|case| case.refused.is_none());
            cases.extend(own.map(|case| (suite.settings(case, more), case)));
        }
        let settings = cases.first().map(|(settings, _)| settings.clone());
        let settings = settings.unwrap_or_else(|| more.to_vec());
        let (mut from, mut failures) = (Vec::new(), Vec::new());
        for (_, case) in cases.iter().filter(|(its, _)| *its == settings) {
            from.extend(case.rows.iter().cloned());
            failures.extend(case.failures.iter().cloned());
        }
        let roles = plugin.roles();
        if from.is_empty() {
            from = generated_rows(&space, SEED, rows);
        }
        if failures.is_empty() {
            failures = super::fuzz::generated_failures(&space, SEED, rows);
        }
        let mut work = Self {
            space,
            settings,
            rows: Vec::new(),
            failures: Vec::new(),
        };
        if roles.transform || roles.validate {
            let sound = work.sound(plugin, &from)?;
            work.rows = sound.iter().cycle().take(rows).cloned().collect();
        } else {
            work.failures = failures.iter().cycle().take(rows).cloned().collect();
        }
        Ok(work)
    }

    /// Returns the rows on which the plugin does not fail.
    fn sound(&self, plugin: &Arc<Plugin>, rows: &[CaseRow]) -> Result<Vec<CaseRow>, String> {
        let answers = apart(|| {
            let mut harness = Harness::new(plugin, &self.settings, &self.space.schema)?;
            let answer = |row| {
                harness
                    .rows(&[row])
                    .map_or(true, |answers| answers.iter().any(Answer::is_fault))
            };
            Ok::<_, String>(rows.iter().map(answer).collect::<Vec<bool>>())
        })?;
        let sound = rows.iter().zip(answers).filter(|(_, fails)| !fails);
        let sound: Vec<CaseRow> = sound.map(|(row, _)| row.clone()).collect();
        if sound.is_empty() {
            return Err("it fails on every row".to_owned());
        }
        Ok(sound)
    }
}

/// Compares two builds. `again` is another load of the first build.
///
/// Blocks until all rounds are done. May be called from any thread.
///
/// # Errors
/// If a build refuses the settings or is broken.
pub fn compare(
    a: &Arc<Plugin>,
    again: &Arc<Plugin>,
    b: Option<&Arc<Plugin>>,
    work: &Work,
    rounds: usize,
) -> Result<Comparison, String> {
    let builds: Vec<(&str, &Arc<Plugin>)> = [("A", a), ("A again", again)]
        .into_iter()
        .chain(b.map(|b| ("B", b)))
        .collect();
    apart(|| {
        let mut runs = Vec::new();
        for (name, plugin) in &builds {
            let harness = Harness::new(plugin, &work.settings, &work.space.schema);
            let harness =
                harness.map_err(|message| format!("{name} refuses its settings: {message}"))?;
            runs.push((harness, Vec::with_capacity(rounds)));
        }
        for round in 0..WARM_UP + rounds {
            for turn in 0..runs.len() {
                let at = (turn + round) % builds.len();
                if let (Some((harness, times)), Some((name, _))) =
                    (runs.get_mut(at), builds.get(at))
                {
                    let time =
                        once(harness, work).map_err(|message| format!("{name}: {message}"))?;
                    if round >= WARM_UP {
                        times.push(time);
                    }
                }
            }
        }
        let sides = builds.iter().zip(&runs);
        let sides = sides.map(|((name, _), (harness, times))| side(name, times, harness.spent()));
        let ratio_to_first = |at: usize| {
            let first = runs.first().map(|(_, times)| times)?;
            runs.get(at).map(|(_, times)| ratio(times, first))
        };
        Ok(Comparison {
            rows: work.rows.len().max(work.failures.len()),
            rounds,
            sides: sides.collect(),
            control: ratio_to_first(1).unwrap_or(Ratio {
                median: 1.0,
                low: 1.0,
                high: 1.0,
            }),
            ratio: ratio_to_first(2),
        })
    })
}

/// Measures one batch, in nanoseconds per row.
fn once(harness: &mut Harness, work: &Work) -> Result<f64, String> {
    let before = harness.spent();
    if work.rows.is_empty() {
        harness.failures(&work.failures);
    } else {
        harness
            .pass(&work.rows)
            .map_err(|broken| broken.to_string())?;
    }
    let after = harness.spent();
    let time: Duration = after.time.saturating_sub(before.time);
    let rows = work.rows.len().max(work.failures.len()).max(1);
    Ok(time.as_secs_f64() * 1e9 / rows as f64)
}

fn side(name: &str, times: &[f64], spent: Spent) -> Side {
    let Ratio { median, low, high } = spread(times.to_vec());
    Side {
        name: name.to_owned(),
        median,
        low,
        high,
        peak_memory: spent.memory.peak,
        memory: spent.memory.last,
        growth_per_call: spent.memory.growth_per_call(),
        retired: spent.memory.retired,
    }
}

/// Compares medians of blocks of rounds, so that a disturbance of one round has no effect.
fn ratio(times: &[f64], to: &[f64]) -> Ratio {
    let blocks = times.chunks(BLOCK).zip(to.chunks(BLOCK));
    let median = |times: &[f64]| spread(times.to_vec()).median;
    spread(
        blocks
            .map(|(times, to)| median(times) / median(to))
            .collect(),
    )
}

/// The median, and the 10th and 90th percentiles.
fn spread(mut values: Vec<f64>) -> Ratio {
    values.sort_by(f64::total_cmp);
    let at = |part: usize| {
        let index = (values.len().saturating_sub(1) * part + 50) / 100;
        values.get(index).copied().unwrap_or(f64::NAN)
    };
    Ratio {
        median: at(50),
        low: at(10),
        high: at(90),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(control: (f64, f64), b: Option<f64>) -> Comparison {
        let ratio = |median, low, high| Ratio { median, low, high };
        Comparison {
            rows: 300,
            rounds: 9,
            sides: Vec::new(),
            control: ratio(1.0, control.0, control.1),
            ratio: b.map(|median| ratio(median, 0.0, 9.0)),
        }
    }

    #[test]
    fn a_difference_within_the_control_does_not_count() {
        for (b, expected) in [
            (None, false),
            (Some(1.02), false),
            (Some(0.9), true),
            (Some(1.2), true),
        ] {
            assert_eq!(comparison((0.95, 1.1), b).differs(), expected, "{b:?}");
        }
    }

    #[test]
    fn spreads_are_tenths() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let Ratio { median, low, high } = spread(values);
        assert_eq!((low, median, high), (10.0, 50.0, 90.0));
        assert_eq!(spread(vec![7.0]).median, 7.0);
    }

    #[test]
    fn a_disturbed_round_does_not_count() {
        let quiet = [1.0; 20];
        let mut disturbed = [2.0; 20];
        (disturbed[3], disturbed[11]) = (90.0, 0.1);
        let Ratio { median, low, high } = ratio(&disturbed, &quiet);
        assert_eq!((low, median, high), (2.0, 2.0, 2.0));
    }
}
