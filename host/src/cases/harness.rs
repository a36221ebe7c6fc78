//! A configured plugin, called with rows in the same way as a worker calls it.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use super::expect::{Answer, Fault};
use super::rows;
use super::suite::{CaseFailure, CaseRow};
use crate::plugin::{
    Broken, Chain, ChainError, MemoryUse, NoAnswer, Plugin, Rejection, Roles, Runner, Settings,
    codes,
};
use crate::row::{Batch, Failure, Schema, Stage, Value, Vector};

/// A plugin under test. Like every runner, it must be used on a thread of its own.
pub(super) struct Harness {
    plugin: Arc<Plugin>,
    settings: Settings,
    schema: Arc<Schema>,
    runner: Runner,
}

/// Reason why a call returned no answers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    Broken(#[from] Broken),
    /// Each row would pass in production, at many times the number of calls.
    #[error("fails with {} on the rows together but on none of them alone: {}", .0.code, .0.message)]
    Together(NoAnswer),
}

/// Resources used by the calls so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Time in the plugin.
    pub(super) time: Duration,
    /// Number of rows, counted once per role.
    pub(super) rows: u64,
    /// Memory of the instances.
    pub(super) memory: MemoryUse,
}

impl Harness {
    /// Configures a plugin.
    ///
    /// # Errors
    /// If the plugin refuses its settings, with its message.
    pub(super) fn new(
        plugin: &Arc<Plugin>,
        settings: &Settings,
        schema: &Arc<Schema>,
    ) -> Result<Self, String> {
        let chain = Chain::new(vec![(Arc::clone(plugin), settings.clone())]);
        let chain = chain.map_err(|errors| {
            let messages = errors.into_iter().map(|error| match error {
                ChainError::Settings { message, .. } => message,
                other @ ChainError::Policies { .. } => other.to_string(),
            });
            messages.collect::<Vec<_>>().join("; ")
        })?;
        Ok(Self {
            plugin: Arc::clone(plugin),
            settings: settings.clone(),
            schema: Arc::clone(schema),
            runner: chain.runner(schema),
        })
    }

    /// The roles that the plugin exports.
    pub(super) fn roles(&self) -> Roles {
        self.plugin.roles()
    }

    /// Passes rows through the plugin in one batch and returns an answer for each.
    ///
    /// # Errors
    /// If the plugin is broken, or fails on the rows together but on none of them alone.
    pub(super) fn rows(&mut self, rows: &[&CaseRow]) -> Result<Vec<Answer>, Unanswered> {
        let mut batch = rows::batch(&self.schema, rows);
        let before = (batch.values.clone(), batch.embeddings.vectors.clone());
        let failed_calls = self.failed_calls().0;
        self.runner.run(&mut batch)?;
        let observed = self.runner.take_observed();
        let has_faults = observed.iter().any(|plugin| plugin.faults > 0);
        if !has_faults
            && let (failed, Some(last)) = self.failed_calls()
            && failed > failed_calls
        {
            return Err(Unanswered::Together(last));
        }
        // A plugin may reject rows with one of the host's codes.
        let is_fault =
            |failure: &Failure| has_faults && codes::ALL.contains(&failure.code.as_str());
        let mut answers = changes(&batch, &before);
        for drop in &batch.drops {
            place(&mut answers, drop.row, Answer::Dropped(drop.reason.clone()));
        }
        let failures = std::mem::take(&mut batch.failures);
        for failure in &failures {
            let answer = if is_fault(failure) {
                faulty(failure)
            } else {
                rejected(failure)
            };
            place(&mut answers, failure.row, answer);
        }
        let by_validate = |it: &&Failure| it.stage == Stage::Validate && !is_fault(it);
        let rejected: Vec<&Failure> = failures.iter().filter(by_validate).collect();
        self.ask_for_all(&mut batch, &rejected, &mut answers);
        Ok(answers)
    }

    /// Asks the plugin for all rejections of each row, because a failure holds only the first code.
    fn ask_for_all(&self, batch: &mut Batch, rejected: &[&Failure], answers: &mut [Answer]) {
        if rejected.is_empty() {
            return;
        }
        let rows: Vec<u32> = rejected.iter().map(|failure| failure.row).collect();
        let found = self.plugin.rejections(&self.settings, batch, &rows);
        let found = match found {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); rows.len()],
        };
        for (failure, found) in rejected.iter().zip(found) {
            let answer = match found {
                Ok(all) if all.first().is_some_and(|first| first.code == failure.code) => {
                    Answer::Rejected(all)
                }
                Ok(_) => Answer::Failed(Fault {
                    code: codes::OUTPUT.to_owned(),
                    message: format!(
                        "rejected the row with {}, but not when asked again with only the rejected rows",
                        failure.code
                    ),
                }),
                Err(error) => Answer::Failed(Fault {
                    code: error.code.to_owned(),
                    message: format!(
                        "when asked again with only the rejected rows: {}",
                        error.message
                    ),
                }),
            };
            place(answers, failure.row, answer);
        }
    }

    /// Asks the policy about failures in one call.
    pub(super) fn failures(&mut self, rows: &[impl Borrow<CaseFailure>]) -> Vec<Answer> {
        let (batch, failures) = rows::failures(&self.schema, rows);
        match self.runner.decisions(&batch, &failures) {
            Ok(decisions) => decisions.into_iter().map(Answer::Decided).collect(),
            Err(error) => {
                let fault = Fault {
                    code: error.code.to_owned(),
                    message: error.message,
                };
                vec![Answer::Failed(fault); rows.len()]
            }
        }
    }

    /// Passes the rows through the plugin in one batch, as in production, and ignores the outcome.
    ///
    /// # Errors
    /// If the plugin is broken.
    pub(super) fn pass(&mut self, rows: &[CaseRow]) -> Result<(), Broken> {
        let rows: Vec<&CaseRow> = rows.iter().collect();
        self.runner.run(&mut rows::batch(&self.schema, &rows))
    }

    /// Number of failed calls so far, and the last failure.
    fn failed_calls(&self) -> (u64, Option<NoAnswer>) {
        let stats = self.runner.stats().into_iter().next();
        stats.map_or((0, None), |stats| (stats.failed_calls, stats.last_fault))
    }

    /// Resources used by the calls so far.
    pub(super) fn spent(&self) -> Spent {
        let mut spent = Spent::default();
        for stats in self.runner.stats() {
            spent.time += stats.time;
            spent.rows += stats.rows;
            spent.memory = stats.memory;
        }
        spent
    }
}

fn place(answers: &mut [Answer], row: u32, answer: Answer) {
    if let Some(slot) = answers.get_mut(row as usize) {
        *slot = answer;
    }
}

fn faulty(failure: &Failure) -> Answer {
    Answer::Failed(Fault {
        code: failure.code.clone(),
        message: failure.message.clone(),
    })
}

fn rejected(failure: &Failure) -> Answer {
    Answer::Rejected(vec![Rejection {
        code: failure.code.clone(),
        message: failure.message.clone(),
        field: failure.field.clone(),
    }])
}

/// Compares each row with its state before the call.
fn changes(batch: &Batch, before: &(Vec<Value>, Vec<Option<Vector>>)) -> Vec<Answer> {
    let (columns, width) = (batch.schema.columns.len(), batch.embeddings.width);
    let row = |row: usize| {
        let values = batch
            .values
            .iter()
            .zip(&before.0)
            .skip(row * columns)
            .take(columns);
        let fields = values
            .zip(&batch.schema.columns)
            .filter(|((now, was), _)| !now.is_same(was));
        let vectors = batch
            .embeddings
            .vectors
            .iter()
            .zip(&before.1)
            .skip(row * width)
            .take(width);
        let embeddings = vectors
            .zip(&batch.schema.embeddings)
            .filter(|((now, was), _)| now != was);
        Answer::Accepted {
            fields: fields
                .map(|((now, _), column)| (column.name.clone(), now.clone()))
                .collect(),
            embeddings: embeddings
                .filter_map(|((now, _), column)| Some((column.name.clone(), now.clone()?)))
                .collect(),
        }
    };
    (0..batch.keys.len()).map(row).collect()
}
