//! Runs cases against a plugin and compares the answers.
//!
//! Each case gets fresh instances, so its result does not depend on the other cases. Rows on which
//! the plugin does not fail are sent twice more: the same rows again on the warm instance, and row
//! by row. A plugin that then answers differently keeps state, which the interface forbids because
//! the host may send rows again in smaller batches.

use std::sync::Arc;
use std::time::Duration;

use super::diff;
use super::expect::Answer;
use super::finding::{Failure, Fix, Place};
use super::harness::Harness;
use super::questions::Question;
use super::suite::{Case, Suite};
use crate::plugin::{Plugin, Settings, apart};

/// Options of a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Settings that override the files' settings; the cases' own settings override these.
    pub settings: Settings,
    /// Run only cases whose name contains this text.
    pub filter: Option<String>,
}

/// Result of one case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Name of the case.
    pub name: String,
    /// Number of rows and failures in the case.
    pub rows: usize,
    /// Time in the plugin.
    pub time: Duration,
    /// Failures; empty if the case passed.
    pub failures: Vec<Failure>,
}

/// Result of a case file.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Results in file order.
    pub cases: Vec<CaseResult>,
    /// Time in the plugin, on warm instances.
    pub time: Duration,
    /// Number of rows processed in this time, counted once per role.
    pub settled: u64,
    /// Peak linear memory of an instance in bytes.
    pub peak_memory: usize,
    /// Growth of instances in bytes, in all calls but the first of each.
    pub grown: usize,
    /// Number of these calls.
    pub later_calls: u64,
}

impl Outcome {
    /// Number of cases that passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.failures.is_empty())
            .count()
    }

    /// Number of rows and failures in all cases.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.cases.iter().map(|case| case.rows).sum()
    }

    /// All failures.
    pub fn failed(&self) -> impl Iterator<Item = &Failure> {
        self.cases.iter().flat_map(|case| &case.failures)
    }
}

/// Runs every case of a file against a plugin.
///
/// Blocks until all calls are done. May be called from any thread, since the calls run on a thread
/// of their own.
#[must_use]
pub fn run(plugin: &Arc<Plugin>, suite: &Suite) -> Outcome {
    run_with(plugin, suite, &Options::default())
}

/// Like [`run`], with options.
#[must_use]
pub fn run_with(plugin: &Arc<Plugin>, suite: &Suite, options: &Options) -> Outcome {
    apart(|| {
        let mut outcome = Outcome::default();
        for (index, case) in suite.cases.iter().enumerate() {
            let is_chosen = |filter: &String| case.name.contains(filter.as_str());
            if options.filter.as_ref().is_none_or(is_chosen) {
                let settings = suite.settings(case, &options.settings);
                let one = CaseRun {
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

/// A case that is running.
struct CaseRun<'a> {
    index: usize,
    case: &'a Case,
    failures: Vec<Failure>,
}

impl CaseRun<'_> {
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
            (Ok(mut harness), None) => {
                self.ask(&mut harness, &self.case.rows, outcome);
                self.ask(&mut harness, &self.case.failures, outcome);
                let memory = harness.spent().memory;
                outcome.peak_memory = outcome.peak_memory.max(memory.peak);
                outcome.grown += memory.grown;
                outcome.later_calls += memory.later_calls;
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

    /// Sends the rows together, then again, then each alone.
    fn ask<T: Question>(&mut self, harness: &mut Harness, asked: &[T], outcome: &mut Outcome) {
        let all: Vec<&T> = asked.iter().collect();
        let Some(first) = all.first() else { return };
        if let Some(missing) = T::missing_role(harness.roles()) {
            return self.fail(first.line(), None, missing.to_owned(), None);
        }
        let answers = match T::ask(harness, &all) {
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
        let (before, wrong) = (harness.spent(), self.failures.len());
        self.again(harness, &sound, &answers, "when it is asked again");
        let after = harness.spent();
        outcome.time += after.time.saturating_sub(before.time);
        outcome.settled += after.rows - before.rows;
        if self.failures.len() == wrong && sound.len() > 1 {
            for (one, answer) in sound.into_iter().zip(answers) {
                self.again(harness, &[one], &[answer], "when the row comes alone");
            }
        }
    }

    fn again<T: Question>(
        &mut self,
        harness: &mut Harness,
        these: &[&T],
        before: &[&Answer],
        when: &str,
    ) {
        let again = match T::ask(harness, these) {
            Ok(again) => again,
            Err(error) => return self.fail(self.case.line, None, format!("{when}: {error}"), None),
        };
        for ((one, before), again) in these.iter().zip(before).zip(&again) {
            let (before, again) = (before.lines(), again.lines());
            if before != again {
                let text = format!("answers differently {when}:\n{}", diff::of(&before, &again));
                self.fail(one.line(), Some(one.key()), text, None);
            }
        }
    }

    fn compare(&mut self, at: usize, one: &impl Question, answer: &Answer) {
        let (answered, wrong) = (answer.lines(), answer.wrong());
        let text = match (one.expected(answer), &wrong) {
            (Some(expected), _) if expected != answered => diff::of(&expected, &answered),
            (None, _) if answer.is_fault() => {
                diff::of(&["anything except a plugin failure".to_owned()], &answered)
            }
            (_, Some(wrong)) => wrong.clone(),
            _ => return,
        };
        // An answer that breaks the interface's rules is never accepted by `--update`.
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
