//! A plugin with its settings, asked about rows as a worker asks it.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use super::expect::{Answer, Fault};
use super::rows;
use super::suite::{CaseFailure, CaseRow};
use crate::plugin::{
    Broken, Chain, ChainError, NoAnswer, Plugin, Rejection, Roles, Runner, Settings, codes,
};
use crate::row::{Batch, Failure, Schema, Stage, Value, Vector};

/// A plugin under test. To be used on a thread of its own, as every runner.
pub(super) struct Harness {
    plugin: Arc<Plugin>,
    settings: Settings,
    schema: Arc<Schema>,
    runner: Runner,
}

/// Why rows have no answers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    Broken(#[from] Broken),
    /// In production each row would pass, for many times the calls.
    #[error("fails with {} on the rows together, and on none alone: {}", .0.code, .0.message)]
    Together(NoAnswer),
}

/// What the calls so far took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// In the plugin.
    pub(super) time: Duration,
    /// Rows, once per role.
    pub(super) rows: u64,
    /// Bytes of an instance at most.
    pub(super) peak_memory: usize,
}

impl Harness {
    /// Configures a plugin.
    ///
    /// # Errors
    ///
    /// The message with which it refuses its settings.
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

    /// What the plugin does.
    pub(super) fn roles(&self) -> Roles {
        self.plugin.roles()
    }

    /// What becomes of these rows in one batch.
    ///
    /// # Errors
    ///
    /// When the plugin is broken, or fails on the rows and on none of them alone.
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
        // A plugin may reject rows with a code of the host's.
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

    /// A failure holds the first code of its rejections; asks the plugin for all of them.
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
                        "rejected the row with {}, and not when asked again with the rejected rows alone",
                        failure.code
                    ),
                }),
                Err(error) => Answer::Failed(Fault {
                    code: error.code.to_owned(),
                    message: format!(
                        "when asked again with the rejected rows alone: {}",
                        error.message
                    ),
                }),
            };
            place(answers, failure.row, answer);
        }
    }

    /// What the policy says about these failures in one call.
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

    /// Has the rows pass in one batch, as in production, whatever becomes of them.
    ///
    /// # Errors
    ///
    /// When the plugin is broken.
    pub(super) fn pass(&mut self, rows: &[CaseRow]) -> Result<(), Broken> {
        let rows: Vec<&CaseRow> = rows.iter().collect();
        self.runner.run(&mut rows::batch(&self.schema, &rows))
    }

    /// Calls that failed so far, and how the last of them did.
    fn failed_calls(&self) -> (u64, Option<NoAnswer>) {
        let stats = self.runner.stats().into_iter().next();
        stats.map_or((0, None), |stats| (stats.failed_calls, stats.last_fault))
    }

    /// What the calls so far took.
    pub(super) fn spent(&self) -> Spent {
        let mut spent = Spent::default();
        for stats in self.runner.stats() {
            spent.time += stats.time;
            spent.rows += stats.rows;
            spent.peak_memory = spent.peak_memory.max(stats.peak_memory);
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

/// How each row differs from what it was.
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
