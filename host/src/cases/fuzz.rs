//! Has a plugin answer rows that nobody thought of, and reports the smallest ones on which it
//! fails.
//!
//! Rows are a function of the seed: the same seed gives the same rows in the same order, and the
//! time says only how many of them. Values, keys and failures are those of the cases, changed a
//! little, and the edges of each type. A plugin must answer all of them: whatever else it thinks of
//! a row, a trap, a missed deadline, too much memory, an answer that cannot be or one that depends
//! on what it was asked before, or on the rows beside it, is a finding.

mod generate;
mod shrink;
mod space;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::generate::Generator;
use self::shrink::{Shrink, Wrong};
use super::expect::Answer;
use super::harness::{Harness, Unanswered};
use super::questions::Asked;
use super::suite::{CaseFailure, CaseRow};
use crate::plugin::{Plugin, Settings, apart};
use crate::row::Schema;

pub(super) use self::generate::{failures as generated_failures, rows as generated_rows};
pub use self::space::Space;

/// Findings after which the search ends: each has to be mended one by one anyway.
const MAX_FINDINGS: usize = 10;

/// Rows of the largest batch, as chunks have by default.
const LARGE: usize = 300;

/// The kind of a finding that no row shows alone.
const TOGETHER: &str = "TOGETHER";

/// How long to search, and for what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the rows are a function of.
    pub seed: u64,
    /// The last batch begins before this is over.
    pub time: Duration,
    /// At most so many rows, where given.
    pub rows: Option<u64>,
}

/// Rows on which a plugin fails.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Such as `PLUGIN_TRAP`, or `TOGETHER` where the plugin fails on rows and on none of them
    /// alone, `STATE` where the answer depends on what was asked before or beside the row, or
    /// `ANSWER` where it breaks the interface's rules.
    pub kind: String,
    /// For people.
    pub message: String,
    /// With which settings.
    pub settings: Settings,
    /// As few and as small as found; empty if it is failures that the policy fails on.
    pub rows: Vec<CaseRow>,
    /// As few and as small as found.
    pub failures: Vec<CaseFailure>,
    /// Batches that showed it, this one included.
    pub seen: u64,
}

/// What a search did.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
    /// Batches tried.
    pub batches: u64,
    /// Rows in them.
    pub rows: u64,
}

/// Searches for rows on which a plugin fails.
///
/// Blocks for about the time of the plan. May be called anywhere.
///
/// # Errors
///
/// When the plugin refuses all settings: the last message.
pub fn search(plugin: &Arc<Plugin>, space: &Space, plan: &Plan) -> Result<Searched, String> {
    apart(|| {
        let mut search = Search {
            plugin,
            schema: &space.schema,
            searched: Searched::default(),
            known: HashSet::new(),
        };
        let (mut trials, refused) = search.trials(&space.settings);
        if trials.is_empty() {
            return Err(refused);
        }
        let began = Instant::now();
        let enough = |searched: &Searched| {
            searched.findings.len() >= MAX_FINDINGS
                || plan.rows.is_some_and(|rows| searched.rows >= rows)
                || began.elapsed() >= plan.time
        };
        loop {
            let turn = search.searched.batches;
            let at = usize::try_from(turn % trials.len() as u64).unwrap_or(0);
            if let Some((settings, trial)) = trials.get_mut(at) {
                let mut generator = Generator::new(space, plan.seed, turn);
                search.batch(&mut generator, settings, trial);
            }
            if enough(&search.searched) {
                return Ok(search.searched);
            }
        }
    })
}

struct Search<'a> {
    plugin: &'a Arc<Plugin>,
    schema: &'a Arc<Schema>,
    searched: Searched,
    /// Kinds and messages found so far.
    known: HashSet<String>,
}

impl Search<'_> {
    /// The plugin with each of the settings that it accepts, and why it refused the last other.
    fn trials(&self, settings: &[Settings]) -> (Vec<(Settings, Harness)>, String) {
        let (mut trials, mut refused) = (Vec::new(), String::new());
        for settings in settings {
            match Harness::new(self.plugin, settings, self.schema) {
                Ok(trial) => trials.push((settings.clone(), trial)),
                Err(message) => refused = message,
            }
        }
        (trials, refused)
    }

    fn batch(&mut self, generator: &mut Generator<'_>, settings: &Settings, trial: &mut Harness) {
        self.searched.batches += 1;
        let roles = self.plugin.roles();
        if roles.transform || roles.validate {
            let rows = generator.batch(LARGE);
            self.searched.rows += rows.len() as u64;
            if let Some((wrong, smallest)) = self.examine(settings, trial, rows) {
                self.found(wrong, settings, smallest, Vec::new());
            }
        }
        if roles.policy {
            let failures = generator.failures();
            self.searched.rows += failures.len() as u64;
            if let Some((wrong, smallest)) = self.examine(settings, trial, failures) {
                self.found(wrong, settings, Vec::new(), smallest);
            }
        }
    }

    /// Tries rows; if something is wrong that was not known, finds the smallest rows that show it.
    fn examine<T: Asked + Shrink>(
        &mut self,
        settings: &Settings,
        trial: &mut Harness,
        rows: Vec<T>,
    ) -> Option<(Wrong, Vec<T>)> {
        let found = wrong(trial, &rows).into_iter();
        // What is known must not hide what is not.
        let mut new = found.filter(|(kind, message, _)| !self.is_known(kind, message));
        let (kind, message, row) = new.next()?;
        // From a fresh instance each time, so that what is found can be shown again.
        let mut again = |rows: &[T]| {
            let mut trial = Harness::new(self.plugin, settings, self.schema).ok()?;
            let known = |message: &str| self.known.contains(&signature(&kind, message));
            let found = wrong(&mut trial, rows).into_iter();
            let mut same = found.filter(|(found, message, _)| *found == kind && !known(message));
            same.next()
        };
        // The fault of an instance that has answered much before is not that of these rows.
        if kind == TOGETHER && again(&rows).is_none() {
            return None;
        }
        let smallest = shrink::smallest(rows, row, &mut again);
        let shown = again(&smallest);
        Some((shown.unwrap_or((kind, message, row)), smallest))
    }

    /// Whether this has been found already; then it is counted.
    fn is_known(&mut self, kind: &str, message: &str) -> bool {
        let signature = signature(kind, message);
        let mut findings = self.searched.findings.iter_mut();
        let is_same = |it: &&mut Finding| self::signature(&it.kind, &it.message) == signature;
        if let Some(finding) = findings.find(is_same) {
            finding.seen += 1;
        }
        self.known.contains(&signature)
    }

    fn found(
        &mut self,
        wrong: Wrong,
        settings: &Settings,
        rows: Vec<CaseRow>,
        failures: Vec<CaseFailure>,
    ) {
        let (kind, message, _) = wrong;
        if !self.known.insert(signature(&kind, &message)) {
            return;
        }
        self.searched.findings.push(Finding {
            kind,
            message,
            settings: settings.clone(),
            rows,
            failures,
            seen: 1,
        });
    }
}

/// What makes two findings the same: the words of the message, without what differs from row to
/// row.
fn signature(kind: &str, message: &str) -> String {
    let words = message.split(|c: char| !c.is_ascii_alphabetic() && c != '_');
    let words: Vec<&str> = words.filter(|word| word.len() > 2).take(8).collect();
    format!("{kind} {}", words.join(" "))
}

fn wrong<T: Asked>(trial: &mut Harness, asked: &[T]) -> Vec<Wrong> {
    let asked: Vec<&T> = asked.iter().collect();
    let answers = match T::ask(trial, &asked) {
        Ok(answers) => answers,
        Err(error @ Unanswered::Together(_)) => {
            return vec![(TOGETHER.to_owned(), error.to_string(), None)];
        }
        Err(Unanswered::Broken(error)) => {
            // It is on single rows that a plugin says what is wrong with it.
            let alone = asked.first().filter(|_| asked.len() > 1);
            let alone = alone.and_then(|one| T::ask(trial, &[one]).ok());
            let wrong = alone.iter().flatten().find_map(|it| wrong_answer(it, 0));
            return vec![wrong.unwrap_or_else(|| ("BROKEN".to_owned(), error.message, None))];
        }
    };
    let each = answers.iter().enumerate();
    let mut wrong: Vec<Wrong> = each
        .filter_map(|(at, answer)| wrong_answer(answer, at))
        .collect();
    // A policy fails on all of its failures or on none.
    wrong.dedup_by(|(kind, message, _), before| *kind == before.0 && *message == before.1);
    if wrong.is_empty() {
        return differs(trial, &asked, &answers).into_iter().collect();
    }
    wrong
}

/// Whether an answer depends on what was asked before, or on the rows beside it. All are asked
/// about once more, in two halves whose rows are in reverse order: two calls, not one for each row.
fn differs<T: Asked>(trial: &mut Harness, asked: &[&T], answers: &[Answer]) -> Option<Wrong> {
    let state = |what: String| {
        let message =
            format!("answers otherwise when the row comes again, in another batch:\n{what}");
        Some(("STATE".to_owned(), message, None))
    };
    let before: Vec<(&T, &Answer)> = asked.iter().copied().zip(answers).rev().collect();
    for half in before.chunks(before.len().div_ceil(2)) {
        let (asked, before): (Vec<&T>, Vec<&Answer>) = half.iter().copied().unzip();
        let again = match T::ask(trial, &asked) {
            Ok(again) => again,
            Err(error) => return state(error.to_string()),
        };
        for (before, again) in before.iter().zip(&again) {
            let (before, again) = (before.lines(), again.lines());
            if before != again {
                return state(super::diff::of(&before, &again));
            }
        }
    }
    None
}

fn wrong_answer(answer: &Answer, row: usize) -> Option<Wrong> {
    if let Answer::Failed(fault) = answer {
        return Some((fault.code.clone(), fault.message.clone(), Some(row)));
    }
    let wrong = answer.wrong()?;
    Some(("ANSWER".to_owned(), wrong, Some(row)))
}
