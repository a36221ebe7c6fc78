//! Sends generated rows to a plugin, and reports the smallest ones on which it fails.
//!
//! Rows are a function of the seed: the same seed gives the same rows in the same order, and the
//! time only limits their number. Values, keys and failures are those of the cases with small
//! changes, and the edge cases of each type. A plugin must answer all of them. A trap, a missed
//! deadline, too much memory, an invalid answer, and an answer that depends on earlier calls or on
//! neighbouring rows are findings; so is memory that grows with each call.

mod generate;
mod leak;
mod shrink;
mod space;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::generate::Generator;
use self::shrink::{Shrink, Wrong};
use super::expect::Answer;
use super::harness::{Harness, Unanswered};
use super::questions::Question;
use super::suite::{CaseFailure, CaseRow};
use crate::plugin::{Plugin, Settings, apart};
use crate::row::Schema;

pub(super) use self::generate::{failures as generated_failures, rows as generated_rows};
pub use self::space::Space;

/// Number of findings after which the search ends, since each has to be fixed separately.
const MAX_FINDINGS: usize = 10;

/// Number of rows of the largest batch: the default size of a chunk.
const LARGE: usize = 300;

/// Kind of a finding that no row shows alone.
const TOGETHER: &str = "TOGETHER";

/// Kind of a finding about memory that grows with each call.
pub const LEAK: &str = "LEAK";

/// Limits and seed of a search.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of the generated rows.
    pub seed: u64,
    /// No batch begins after this time.
    pub time: Duration,
    /// Maximum number of rows; `None` for no limit.
    pub rows: Option<u64>,
}

/// Rows on which a plugin fails.
#[derive(Clone, Debug)]
pub struct Finding {
    /// An error code such as `PLUGIN_TRAP`; `TOGETHER` if the plugin fails on rows together but on
    /// none of them alone; `STATE` if the answer depends on earlier calls or neighbouring rows;
    /// `ANSWER` if it breaks the interface's rules; `LEAK` if its memory grows with each call;
    /// `BROKEN` if the plugin is broken.
    pub kind: String,
    /// Description of the failure.
    pub message: String,
    /// Settings of the plugin.
    pub settings: Settings,
    /// The smallest rows found; empty if the policy failed, or for a leak.
    pub rows: Vec<CaseRow>,
    /// The smallest failures found; empty unless the policy failed.
    pub failures: Vec<CaseFailure>,
    /// Number of batches that showed the failure, including the first.
    pub seen: u64,
}

/// Result of a search.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// Findings in the order of discovery.
    pub findings: Vec<Finding>,
    /// Number of batches tried.
    pub batches: u64,
    /// Number of rows in these batches.
    pub rows: u64,
}

/// Searches for rows on which a plugin fails.
///
/// Blocks for about the time of the plan. May be called from any thread.
///
/// # Errors
/// If the plugin refuses all settings, with the last message.
pub fn search(plugin: &Arc<Plugin>, space: &Space, plan: &Plan) -> Result<Searched, String> {
    apart(|| {
        let mut search = Search {
            plugin,
            schema: &space.schema,
            searched: Searched::default(),
            known: HashSet::new(),
        };
        let (mut harnesses, refused) = search.harnesses(&space.settings);
        if harnesses.is_empty() {
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
            let at = usize::try_from(turn % harnesses.len() as u64).unwrap_or(0);
            if let Some((settings, harness)) = harnesses.get_mut(at) {
                let mut generator = Generator::new(space, plan.seed, turn);
                search.batch(&mut generator, settings, harness);
            }
            if enough(&search.searched) {
                break;
            }
        }
        if let Some((settings, _)) = harnesses.first() {
            search.leak(space, plan, settings);
        }
        Ok(search.searched)
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
    /// Configures the plugin with each of the settings. Returns the harnesses for those that it
    /// accepts, and the message of the last refusal.
    fn harnesses(&self, settings: &[Settings]) -> (Vec<(Settings, Harness)>, String) {
        let (mut harnesses, mut refused) = (Vec::new(), String::new());
        for settings in settings {
            match Harness::new(self.plugin, settings, self.schema) {
                Ok(harness) => harnesses.push((settings.clone(), harness)),
                Err(message) => refused = message,
            }
        }
        (harnesses, refused)
    }

    /// Looks for memory that grows with each call.
    fn leak(&mut self, space: &Space, plan: &Plan, settings: &Settings) {
        let mut generator = Generator::new(space, plan.seed, 0);
        let harness = Harness::new(self.plugin, settings, self.schema);
        let roles = self.plugin.roles();
        let found = harness.ok().and_then(|mut harness| {
            if roles.transform || roles.validate {
                leak::of(&mut harness, &generator.batch(LARGE), plan.time)
            } else {
                leak::of(&mut harness, &generator.failures(), plan.time)
            }
        });
        if let Some(message) = found {
            let wrong = (LEAK.to_owned(), message, None);
            self.found(wrong, settings, Vec::new(), Vec::new());
        }
    }

    fn batch(&mut self, generator: &mut Generator<'_>, settings: &Settings, harness: &mut Harness) {
        self.searched.batches += 1;
        let roles = self.plugin.roles();
        if roles.transform || roles.validate {
            let rows = generator.batch(LARGE);
            self.searched.rows += rows.len() as u64;
            if let Some((wrong, smallest)) = self.examine(settings, harness, rows) {
                self.found(wrong, settings, smallest, Vec::new());
            }
        }
        if roles.policy {
            let failures = generator.failures();
            self.searched.rows += failures.len() as u64;
            if let Some((wrong, smallest)) = self.examine(settings, harness, failures) {
                self.found(wrong, settings, Vec::new(), smallest);
            }
        }
    }

    /// Tries rows; if they show a new failure, finds the smallest rows that show it.
    fn examine<T: Question + Shrink>(
        &mut self,
        settings: &Settings,
        harness: &mut Harness,
        rows: Vec<T>,
    ) -> Option<(Wrong, Vec<T>)> {
        let found = wrong(harness, &rows).into_iter();
        // Known failures must not hide new ones.
        let mut new = found.filter(|(kind, message, _)| !self.is_known(kind, message));
        let (kind, message, row) = new.next()?;
        // Each attempt uses a fresh instance, so that the finding can be reproduced.
        let mut again = |rows: &[T]| {
            let mut harness = Harness::new(self.plugin, settings, self.schema).ok()?;
            let known = |message: &str| self.known.contains(&signature(&kind, message));
            let found = wrong(&mut harness, rows).into_iter();
            let mut same = found.filter(|(found, message, _)| *found == kind && !known(message));
            same.next()
        };
        // If a fresh instance does not fail, earlier calls are the cause and not these rows.
        if kind == TOGETHER && again(&rows).is_none() {
            return None;
        }
        let smallest = shrink::smallest(rows, row, &mut again);
        let shown = again(&smallest);
        Some((shown.unwrap_or((kind, message, row)), smallest))
    }

    /// True if this failure was already found; also counts it.
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

/// Identifies equal findings by the words of the message, without the parts that differ between
/// rows.
fn signature(kind: &str, message: &str) -> String {
    let words = message.split(|c: char| !c.is_ascii_alphabetic() && c != '_');
    let words: Vec<&str> = words.filter(|word| word.len() > 2).take(8).collect();
    format!("{kind} {}", words.join(" "))
}

fn wrong<T: Question>(harness: &mut Harness, asked: &[T]) -> Vec<Wrong> {
    let asked: Vec<&T> = asked.iter().collect();
    let answers = match T::ask(harness, &asked) {
        Ok(answers) => answers,
        Err(error @ Unanswered::Together(_)) => {
            return vec![(TOGETHER.to_owned(), error.to_string(), None)];
        }
        Err(Unanswered::Broken(error)) => {
            // A plugin gives the cause of its failure only for single rows.
            let alone = asked.first().filter(|_| asked.len() > 1);
            let alone = alone.and_then(|one| T::ask(harness, &[one]).ok());
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
        return differs(harness, &asked, &answers).into_iter().collect();
    }
    wrong
}

/// Checks whether an answer depends on earlier calls or on neighbouring rows. Sends all rows once
/// more, in two halves in reverse order: two calls instead of one per row.
fn differs<T: Question>(harness: &mut Harness, asked: &[&T], answers: &[Answer]) -> Option<Wrong> {
    let state = |what: String| {
        let message =
            format!("answers differently when the row is sent again in another batch:\n{what}");
        Some(("STATE".to_owned(), message, None))
    };
    let before: Vec<(&T, &Answer)> = asked.iter().copied().zip(answers).rev().collect();
    for half in before.chunks(before.len().div_ceil(2)) {
        let (asked, before): (Vec<&T>, Vec<&Answer>) = half.iter().copied().unzip();
        let again = match T::ask(harness, &asked) {
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
