//! Has a plugin answer cases, and compares.
//!
//! Each case gets instances of its own, so a case passes or fails whatever stands around it.
//! What the plugin does not fail on is asked twice more: the same rows again on the warm instance,
//! and row by row. A plugin that then answers otherwise keeps state, which the interface forbids,
//! since the host may present rows again in smaller batches.

use std::sync::Arc;
use std::time::Duration;

use super::diff;
use super::expect::Answer;
use super::finding::{Failure, Fix, Place};
use super::harness::Harness;
use super::questions::Asked;
use super::suite::{Case, Suite};
use crate::plugin::{Plugin, Settings, apart};

/// Which cases, and with what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Over the files' settings, under the cases' own.
    pub settings: Settings,
    /// Only cases that have this in their name.
    pub filter: Option<String>,
}

/// How one case went.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Rows and failures in it.
    pub rows: usize,
    /// Time in the plugin.
    pub time: Duration,
    /// Empty: it passed.
    pub failures: Vec<Failure>,
}

/// How a file of cases went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// In the order of the file.
    pub cases: Vec<CaseResult>,
    /// Time in the plugin, on warm instances.
    pub time: Duration,
    /// Rows that were settled in this time, once per role.
    pub settled: u64,
    /// Bytes of linear memory of an instance at most.
    pub peak_memory: usize,
}

impl Outcome {
    /// Cases that passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.failures.is_empty())
            .count()
    }

    /// Rows and failures in all cases.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.cases.iter().map(|case| case.rows).sum()
    }

    /// Everything that is wrong.
    pub fn failed(&self) -> impl Iterator<Item = &Failure> {
        self.cases.iter().flat_map(|case| &case.failures)
    }
}

/// Has a plugin answer every case of a file.
///
/// Blocks for the time of the calls. May be called anywhere: the calls are made on a thread of
/// their own.
#[must_use]
pub fn run(plugin: &Arc<Plugin>, suite: &Suite) -> Outcome {
    run_with(plugin, suite, &Options::default())
}

/// As [`run`], with options.
#[must_use]
pub fn run_with(plugin: &Arc<Plugin>, suite: &Suite, options: &Options) -> Outcome {
    apart(|| {
        let mut outcome = Outcome::default();
        for (index, case) in suite.cases.iter().enumerate() {
            let is_chosen = |filter: &String| case.name.contains(filter.as_str());
            if options.filter.as_ref().is_none_or(is_chosen) {
                let settings = suite.settings(case, &options.settings);
                let one = One {
                    index,
                    case,
                    failures: Vec::new(),
                };
                one.run(plugin, suite, &settings, &mut outcome);
            }
        }
        outcome
    })
}

/// A case at work.
struct One<'a> {
    index: usize,
    case: &'a Case,
    failures: Vec<Failure>,
}

impl One<'_> {
    fn run(
        mut self,
        plugin: &Arc<Plugin>,
        suite: &Suite,
        settings: &Settings,
        outcome: &mut Outcome,
    ) {
        let before = outcome.time;
        match (
            Harness::new(plugin, settings, &suite.schema),
            &self.case.refused,
        ) {
            (Ok(mut trial), None) => {
                self.ask(&mut trial, &self.case.rows, outcome);
                self.ask(&mut trial, &self.case.failures, outcome);
                outcome.peak_memory = outcome.peak_memory.max(trial.spent().peak_memory);
            }
            (Err(message), Some(part)) if message.contains(part.as_str()) => {}
            (Err(message), Some(part)) => {
                let text = diff::of(
                    &[format!("refuses its settings: …{part}…")],
                    &[format!("refuses its settings: {message}")],
                );
                let fix = self.fix(Place::Refused, super::literal::of_text(&message));
                self.fail(self.case.line, None, text, Some(fix));
            }
            (Ok(_), Some(part)) => {
                let text = diff::of(
                    &[format!("refuses its settings: …{part}…")],
                    &["accepts its settings".to_owned()],
                );
                self.fail(self.case.line, None, text, None);
            }
            (Err(message), None) => {
                self.fail(
                    self.case.line,
                    None,
                    format!("refuses its settings: {message}"),
                    None,
                );
            }
        }
        outcome.cases.push(CaseResult {
            name: self.case.name.clone(),
            rows: self.case.rows.len() + self.case.failures.len(),
            time: outcome.time - before,
            failures: self.failures,
        });
    }

    /// Has these answered together, then again, then each alone.
    fn ask<T: Asked>(&mut self, trial: &mut Harness, asked: &[T], outcome: &mut Outcome) {
        let all: Vec<&T> = asked.iter().collect();
        let Some(first) = all.first() else { return };
        if let Some(missing) = T::missing_role(trial.roles()) {
            return self.fail(first.line(), None, missing.to_owned(), None);
        }
        let answers = match T::ask(trial, &all) {
            Ok(answers) => answers,
            Err(error) => return self.fail(self.case.line, None, error.to_string(), None),
        };
        for (at, (one, answer)) in all.iter().zip(&answers).enumerate() {
            self.compare(at, *one, answer);
        }
        let answered = all.into_iter().zip(&answers);
        let (sound, answers): (Vec<&T>, Vec<&Answer>) =
            answered.filter(|(_, answer)| !answer.is_fault()).unzip();
        if sound.is_empty() {
            return;
        }
        let (before, wrong) = (trial.spent(), self.failures.len());
        self.again(trial, &sound, &answers, "when it is asked again");
        let after = trial.spent();
        outcome.time += after.time.saturating_sub(before.time);
        outcome.settled += after.rows - before.rows;
        if self.failures.len() == wrong && sound.len() > 1 {
            for (one, answer) in sound.into_iter().zip(answers) {
                self.again(trial, &[one], &[answer], "when the row comes alone");
            }
        }
    }

    fn again<T: Asked>(
        &mut self,
        trial: &mut Harness,
        these: &[&T],
        before: &[&Answer],
        when: &str,
    ) {
        let again = match T::ask(trial, these) {
            Ok(again) => again,
            Err(error) => return self.fail(self.case.line, None, format!("{when}: {error}"), None),
        };
        for ((one, before), again) in these.iter().zip(before).zip(&again) {
            let (before, again) = (before.lines(), again.lines());
            if before != again {
                let text = format!("answers otherwise {when}:\n{}", diff::of(&before, &again));
                self.fail(one.line(), Some(one.key()), text, None);
            }
        }
    }

    fn compare(&mut self, at: usize, one: &impl Asked, answer: &Answer) {
        let (answered, wrong) = (answer.lines(), answer.wrong());
        let text = match (one.expected(answer), &wrong) {
            (Some(expected), _) if expected != answered => diff::of(&expected, &answered),
            (None, _) if answer.is_fault() => diff::of(
                &["anything but a failure of the plugin".to_owned()],
                &answered,
            ),
            (_, Some(wrong)) => wrong.clone(),
            _ => return,
        };
        // What is wrong whatever is expected is not taken for right.
        let (place, toml) = one.fix(at, answer);
        let toml = toml.filter(|_| wrong.is_none());
        let fix = toml.map(|toml| self.fix(place, toml));
        self.fail(one.line(), Some(one.key()), text, fix);
    }

    fn fix(&self, place: Place, toml: String) -> Fix {
        Fix {
            case: self.index,
            place,
            toml,
        }
    }

    fn fail(&mut self, line: usize, row: Option<&str>, text: String, fix: Option<Fix>) {
        self.failures.push(Failure {
            case: self.case.name.clone(),
            line,
            row: row.map(str::to_owned),
            text,
            fix,
        });
    }
}
