//! Has a plugin answer cases, and compares.
//!
//! Each case gets instances of its own, so a case passes or fails whatever stands around it.
//! What agrees is asked twice: the same rows again on the warm instance, and a small batch row
//! by row. A plugin that then answers otherwise keeps state, which the interface forbids, since
//! the host may present rows again in smaller batches.

use std::sync::Arc;
use std::time::Duration;

use super::diff;
use super::expect::Answer;
use super::suite::{Case, CaseRow, Suite};
use super::trial::Trial;
use super::update::{self, Fix, Place};
use crate::plugin::{Plugin, Settings, apart};

/// Batches of up to so many rows are asked about row by row as well.
const MAX_ALONE: usize = 32;

/// Which cases, and with what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Over the files' settings, under the cases' own.
    pub settings: Settings,
    /// Only cases that have this in their name.
    pub filter: Option<String>,
}

/// What is wrong with an answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case's name.
    pub case: String,
    /// The line of the row, or of the case, from 1.
    pub line: usize,
    /// The row's key; `None` where it is the case as a whole.
    pub row: Option<String>,
    /// What is wrong, in one line or several: the difference has a `-` before what was expected
    /// and a `+` before what was answered.
    pub text: String,
    pub(super) fix: Option<Fix>,
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
            Trial::new(plugin, settings, &suite.schema),
            &self.case.refused,
        ) {
            (Ok(mut trial), None) => {
                self.rows(&mut trial, outcome);
                self.policy(&mut trial, outcome);
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

    fn rows(&mut self, trial: &mut Trial, outcome: &mut Outcome) {
        let rows: Vec<&CaseRow> = self.case.rows.iter().collect();
        if rows.is_empty() {
            return;
        }
        let answers = match trial.rows(&rows) {
            Ok(answers) => answers,
            Err(broken) => return self.fail(self.case.line, None, broken.to_string(), None),
        };
        for (at, (row, answer)) in rows.iter().zip(&answers).enumerate() {
            let expected = row.expect.as_ref().map(|expect| expect.lines(answer));
            let fix = update::of_answer(answer, row.expect.as_ref());
            let fix = fix.map(|toml| self.fix(Place::Row(at), toml));
            self.compare(row.line, &row.key, expected, answer, fix);
        }
        if answers.iter().any(Answer::is_fault) {
            return;
        }
        let (before, wrong) = (trial.spent(), self.failures.len());
        self.again(trial, &rows, &answers);
        let after = trial.spent();
        outcome.time += after.time.saturating_sub(before.time);
        outcome.settled += after.rows - before.rows;
        let is_same = self.failures.len() == wrong;
        if is_same && (2..=MAX_ALONE).contains(&rows.len()) {
            for (row, answer) in rows.iter().zip(&answers) {
                self.alone(trial, row, answer);
            }
        }
    }

    fn again(&mut self, trial: &mut Trial, rows: &[&CaseRow], answers: &[Answer]) {
        let again = match trial.rows(rows) {
            Ok(again) => again,
            Err(broken) => return self.fail(self.case.line, None, broken.to_string(), None),
        };
        for ((row, first), second) in rows.iter().zip(answers).zip(&again) {
            self.same(
                row,
                first,
                second,
                "answers otherwise when it is asked again:",
            );
        }
    }

    fn alone(&mut self, trial: &mut Trial, row: &CaseRow, answer: &Answer) {
        match trial.rows(&[row]) {
            Ok(alone) => {
                for alone in &alone {
                    self.same(
                        row,
                        answer,
                        alone,
                        "answers otherwise when the row comes alone:",
                    );
                }
            }
            Err(broken) => self.fail(row.line, Some(row), broken.to_string(), None),
        }
    }

    fn same(&mut self, row: &CaseRow, first: &Answer, second: &Answer, what: &str) {
        let (first, second) = (first.lines(), second.lines());
        if first != second {
            let text = format!("{what}\n{}", diff::of(&first, &second));
            self.fail(row.line, Some(row), text, None);
        }
    }

    fn policy(&mut self, trial: &mut Trial, outcome: &mut Outcome) {
        if self.case.failures.is_empty() {
            return;
        }
        let before = trial.spent();
        let answers = trial.failures(&self.case.failures);
        let after = trial.spent();
        outcome.time += after.time.saturating_sub(before.time);
        outcome.settled += after.rows - before.rows;
        for (at, (row, answer)) in self.case.failures.iter().zip(&answers).enumerate() {
            let expected = row.expect.as_ref().map(|expect| expect.lines(answer));
            let fix = update::of_answer(answer, None);
            let fix = fix.map(|toml| self.fix(Place::Failure(at), toml));
            self.compare(row.line, &row.key, expected, answer, fix);
        }
    }

    fn compare(
        &mut self,
        line: usize,
        key: &str,
        expected: Option<Vec<String>>,
        answer: &Answer,
        fix: Option<Fix>,
    ) {
        let answered = answer.lines();
        let text = match expected {
            Some(expected) if expected != answered => diff::of(&expected, &answered),
            None if answer.is_fault() => diff::of(
                &["anything but a failure of the plugin".to_owned()],
                &answered,
            ),
            _ => return,
        };
        self.failures.push(Failure {
            case: self.case.name.clone(),
            line,
            row: Some(key.to_owned()),
            text,
            fix,
        });
    }

    fn fix(&self, place: Place, toml: String) -> Fix {
        Fix {
            case: self.index,
            place,
            toml,
        }
    }

    fn fail(&mut self, line: usize, row: Option<&CaseRow>, text: String, fix: Option<Fix>) {
        self.failures.push(Failure {
            case: self.case.name.clone(),
            line,
            row: row.map(|row| row.key.to_string()),
            text,
            fix,
        });
    }
}
