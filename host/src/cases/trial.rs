//! A plugin with its settings, asked about rows as a worker asks it.

use std::sync::Arc;
use std::time::Duration;

use super::expect::{Answer, Fault};
use super::rows;
use super::suite::{CaseFailure, CaseRow};
use crate::plugin::{Broken, Chain, ChainError, Plugin, Rejection, Runner, Settings};
use crate::row::{Batch, Failure, Schema, Stage, Value, Vector};

/// The failures that are the plugin's own.
const FAULTS: [&str; 5] = [
    "PLUGIN_TRAP",
    "PLUGIN_DEADLINE",
    "PLUGIN_MEMORY",
    "PLUGIN_ERROR",
    "PLUGIN_OUTPUT",
];

/// Whether a failure's code says that the plugin failed.
#[must_use]
pub(super) fn is_fault(code: &str) -> bool {
    FAULTS.contains(&code)
}

/// A plugin under test. To be used on a thread of its own, as every runner.
pub(super) struct Trial {
    plugin: Arc<Plugin>,
    settings: Settings,
    schema: Arc<Schema>,
    runner: Runner,
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

impl Trial {
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

    /// What becomes of these rows in one batch.
    ///
    /// # Errors
    ///
    /// When the plugin is broken.
    pub(super) fn rows(&mut self, rows: &[&CaseRow]) -> Result<Vec<Answer>, Broken> {
        let mut batch = rows::batch(&self.schema, rows);
        let before = (batch.values.clone(), batch.embeddings.vectors.clone());
        self.runner.run(&mut batch)?;
        let mut answers = changes(&batch, &before);
        for drop in &batch.drops {
            place(&mut answers, drop.row, Answer::Dropped(drop.reason.clone()));
        }
        let failures = std::mem::take(&mut batch.failures);
        for failure in &failures {
            place(&mut answers, failure.row, failed(failure));
        }
        let rejected =
            |failure: &&Failure| failure.stage == Stage::Validate && !is_fault(&failure.code);
        let rejected: Vec<&Failure> = failures.iter().filter(rejected).collect();
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
                    code: "PLUGIN_OUTPUT".to_owned(),
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
    pub(super) fn failures(&mut self, rows: &[CaseFailure]) -> Vec<Answer> {
        let (batch, failures) = rows::failures(&self.schema, rows);
        match self.plugin.decisions(&self.settings, &batch, &failures) {
            Ok(decisions) => {
                // Once more as in production, for the time it takes.
                self.runner.decide(&batch, &failures);
                decisions.into_iter().map(Answer::Decided).collect()
            }
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

    /// Has the policy decide in one call, as in production, whatever it decides.
    pub(super) fn decide(&mut self, rows: &[CaseFailure]) {
        let (batch, failures) = rows::failures(&self.schema, rows);
        self.runner.decide(&batch, &failures);
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

fn failed(failure: &Failure) -> Answer {
    if is_fault(&failure.code) {
        return Answer::Failed(Fault {
            code: failure.code.clone(),
            message: failure.message.clone(),
        });
    }
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
