//! Compares two builds of a plugin on the same rows, in turn, with a control.
//!
//! A round asks the first build, the second and the first once more, loaded apart, in an order
//! that rotates from round to round. What the two loads of the first build differ by is what
//! the measurement cannot tell apart: a difference within it is none.

use std::sync::Arc;
use std::time::Duration;

use super::expect::Answer;
use super::fuzz::{Space, generated_rows};
use super::harness::{Harness, Spent};
use super::suite::{Case, CaseFailure, CaseRow, Suite};
use crate::plugin::{Plugin, Settings, apart};

/// Rounds before the first that counts.
const WARM_UP: usize = 3;

/// Rounds whose medians are compared.
const BLOCK: usize = 5;

/// Seed of rows that are made up where there are no cases.
const SEED: u64 = 1;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Work {
    /// Columns and embeddings.
    pub space: Space,
    /// What `configure` gets.
    pub settings: Settings,
    /// Rows of one batch.
    pub rows: Vec<CaseRow>,
    /// Failures of one call of the policy.
    pub failures: Vec<CaseFailure>,
}

/// How a build did, over all rounds.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Side {
    /// `A`, `B`, or `A again`.
    pub name: String,
    /// Nanoseconds per row: half of the rounds took less.
    pub median: f64,
    /// A tenth of the rounds took less.
    pub low: f64,
    /// A tenth of the rounds took more.
    pub high: f64,
    /// Bytes of linear memory of an instance at most.
    pub peak_memory: usize,
}

/// How many times as long one side took as another, in five rounds each.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Ratio {
    /// Half of them had less.
    pub median: f64,
    /// A tenth of them had less.
    pub low: f64,
    /// A tenth of them had more.
    pub high: f64,
}

/// What came out.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Comparison {
    /// Rows of a batch, or failures.
    pub rows: usize,
    /// Rounds that count.
    pub rounds: usize,
    /// A, then A again, then B if there is one.
    pub sides: Vec<Side>,
    /// A again to A: the control.
    pub control: Ratio,
    /// B to A.
    pub ratio: Option<Ratio>,
}

impl Comparison {
    /// Whether the builds differ by more than the same build does from itself.
    #[must_use]
    pub fn differs(&self) -> bool {
        let within = self.control.low..=self.control.high;
        self.ratio
            .is_some_and(|ratio| !within.contains(&ratio.median))
    }
}

impl Work {
    /// `rows` rows from the cases that have no settings of their own, over and over; made up
    /// where there are none. Where files differ in their settings, only those with the first
    /// file's count. Rows on which `plugin` fails are left out.
    ///
    /// # Errors
    ///
    /// When the plugin refuses the settings, or fails on everything.
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

    /// The rows on which a plugin does not fail.
    fn sound(&self, plugin: &Arc<Plugin>, rows: &[CaseRow]) -> Result<Vec<CaseRow>, String> {
        let answers = apart(|| {
            let mut trial = Harness::new(plugin, &self.settings, &self.space.schema)?;
            let answer = |row| {
                trial
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

/// Measures. `again` is the first build, loaded once more.
///
/// Blocks for the time of all rounds. May be called anywhere.
///
/// # Errors
///
/// When a build refuses the settings or is broken.
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
            let trial = Harness::new(plugin, &work.settings, &work.space.schema);
            let trial =
                trial.map_err(|message| format!("{name} refuses its settings: {message}"))?;
            runs.push((trial, Vec::with_capacity(rounds)));
        }
        for round in 0..WARM_UP + rounds {
            for turn in 0..runs.len() {
                let at = (turn + round) % builds.len();
                if let (Some((trial, times)), Some((name, _))) = (runs.get_mut(at), builds.get(at))
                {
                    let time = once(trial, work).map_err(|message| format!("{name}: {message}"))?;
                    if round >= WARM_UP {
                        times.push(time);
                    }
                }
            }
        }
        let sides = builds.iter().zip(&runs);
        let sides = sides.map(|((name, _), (trial, times))| side(name, times, trial.spent()));
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

/// Nanoseconds per row of one batch.
fn once(trial: &mut Harness, work: &Work) -> Result<f64, String> {
    let before = trial.spent();
    if work.rows.is_empty() {
        trial.failures(&work.failures);
    } else {
        trial
            .pass(&work.rows)
            .map_err(|broken| broken.to_string())?;
    }
    let after = trial.spent();
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
        peak_memory: spent.peak_memory,
    }
}

/// Of medians of some rounds each: what disturbs one round disturbs none of them.
fn ratio(times: &[f64], to: &[f64]) -> Ratio {
    let blocks = times.chunks(BLOCK).zip(to.chunks(BLOCK));
    let median = |times: &[f64]| spread(times.to_vec()).median;
    spread(
        blocks
            .map(|(times, to)| median(times) / median(to))
            .collect(),
    )
}

/// The median, and what a tenth lies below and above.
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
    fn a_difference_within_the_control_is_none() {
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
    fn what_disturbs_a_round_does_not_count() {
        let quiet = [1.0; 20];
        let mut disturbed = [2.0; 20];
        (disturbed[3], disturbed[11]) = (90.0, 0.1);
        let Ratio { median, low, high } = ratio(&disturbed, &quiet);
        assert_eq!((low, median, high), (2.0, 2.0, 2.0));
    }
}
