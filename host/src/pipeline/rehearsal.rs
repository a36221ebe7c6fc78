//! What would become of a dataset's first rows: decoded, processed and routed as in a run, and then
//! thrown away.
//!
//! The rows are the first ones of the dataset, partition after partition, wherever a run would
//! begin: a finished snapshot has none after its position. The tables themselves are not asked, so
//! constraints and triggers may still refuse a row. Nothing is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::prepare::Pipeline;
use crate::chunk::Prepared;
use crate::decode;
use crate::error::PipelineError;
use crate::partition::{Intake, IntakeContext};
use crate::workers::Workers;

/// Fate of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Would be written to the tables.
    Written,
    /// Would be removed from the tables: it is marked as deleted.
    Deleted,
    /// Would be dropped by a plugin or the policy.
    Dropped,
    /// Would be dead-lettered.
    DeadLettered,
    /// Would halt the pipeline, with its chunk.
    Halted,
}

impl Fate {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Deleted => "removed",
            Self::Dropped => "dropped",
            Self::DeadLettered => "dead letter",
            Self::Halted => "halted",
        }
    }
}

/// The rows that share a fate and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Their fate.
    pub fate: Fate,
    /// Stage in which they failed or were dropped; empty for rows that did not.
    pub stage: &'static str,
    /// Code of the failure, or reason of the drop; empty for rows that did not.
    pub code: String,
    /// The invalid column or embedding, if it is only one.
    pub field: Option<String>,
    /// The plugin that rejected them or failed on them.
    pub plugin: Option<String>,
    /// Number of these rows.
    pub rows: u64,
    /// Key of the first of them.
    pub key: String,
    /// Message about the first of them.
    pub message: String,
}

/// What would become of a dataset's first rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rehearsal {
    /// Rows that were looked at.
    pub rows: u64,
    /// Those that would be written go to each of these tables.
    pub tables: Vec<String>,
    /// In the order of fates, stages and codes.
    pub outcomes: Vec<Outcome>,
}

impl Rehearsal {
    /// Number of rows with this fate.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        let outcomes = self.outcomes.iter().filter(|it| it.fate == fate);
        outcomes.map(|it| it.rows).sum()
    }

    /// True if a row would be dead-lettered, or halt the pipeline.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.count(Fate::DeadLettered) + self.count(Fate::Halted) > 0
    }
}

/// Rows by fate, stage, code and field.
type Outcomes = BTreeMap<(Fate, &'static str, String, Option<String>), Outcome>;

impl Pipeline {
    /// Finds out what would become of the first `most` rows.
    ///
    /// # Errors
    /// If the source is away, or violates the protocol.
    pub async fn rehearse(&self, most: u64) -> Result<Rehearsal, PipelineError> {
        let workers = Arc::new(self.start_workers()?);
        let (mut rows, mut outcomes) = (0, Outcomes::new());
        for partition in &self.dataset.partitions {
            if rows >= most {
                break;
            }
            let mut intake = self.first_chunks(&workers, partition).await?;
            while rows < most {
                match intake.next().await {
                    Ok(Some(prepared)) => rows += take(&prepared, most - rows, &mut outcomes),
                    Ok(None) => break,
                    Err(PipelineError::Halted(halted)) => {
                        let fate = Fate::Halted;
                        add(
                            &mut outcomes,
                            outcome(fate, String::new(), halted.to_string()),
                        );
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let tables = self.targets.tables.iter();
        Ok(Rehearsal {
            rows,
            tables: tables.map(|target| target.table.quoted.clone()).collect(),
            outcomes: outcomes.into_values().collect(),
        })
    }

    async fn first_chunks(
        &self,
        workers: &Arc<Workers>,
        partition: &str,
    ) -> Result<Intake, PipelineError> {
        let source = &self.config.source;
        let chunks = self.source.open(partition, "", source.chunk_rows).await?;
        let in_flight = self.host.config.limits.in_flight;
        let context = IntakeContext {
            pipeline: self.config.name.clone(),
            workers: Arc::clone(workers),
            rollout: Arc::clone(&self.rollout),
            room: Arc::new(Semaphore::new(in_flight)),
            in_flight,
            row_cost: decode::row_cost(&self.targets.schema),
            stop: CancellationToken::new(),
        };
        let rows = Arc::new(AtomicUsize::new(source.chunk_rows as usize));
        Ok(Intake::start(context, chunks, rows))
    }
}

/// Sorts the first `most` rows of a chunk by their fate; returns how many there were.
fn take(chunk: &Prepared, most: u64, outcomes: &mut Outcomes) -> u64 {
    let taken = most.min(chunk.units.len() as u64);
    let is_taken = |row: u32| u64::from(row) < taken;
    let key = |row: u32| {
        let key = chunk.batch.keys.get(row as usize);
        key.map(ToString::to_string).unwrap_or_default()
    };
    let fates = [
        (Fate::Written, &chunk.batch.live),
        (Fate::Deleted, &chunk.batch.deleted),
    ];
    for (fate, rows) in fates {
        for row in rows.iter().copied().filter(|row| is_taken(*row)) {
            add(outcomes, outcome(fate, key(row), String::new()));
        }
    }
    let drops = chunk.settled.drops.iter().chain(&chunk.batch.drops);
    for drop in drops.filter(|drop| is_taken(drop.row)) {
        let dropped = outcome(Fate::Dropped, key(drop.row), String::new());
        add(
            outcomes,
            Outcome {
                stage: drop.stage.as_str(),
                code: drop.reason.clone(),
                ..dropped
            },
        );
    }
    let letters = chunk.settled.dead_letters.iter().map(|it| &it.failure);
    for failure in letters.filter(|failure| is_taken(failure.row)) {
        let failed = outcome(
            Fate::DeadLettered,
            key(failure.row),
            failure.message.clone(),
        );
        add(
            outcomes,
            Outcome {
                stage: failure.stage.as_str(),
                code: failure.code.clone(),
                field: failure.field.clone(),
                plugin: failure.plugin.as_ref().map(|id| id.name.clone()),
                ..failed
            },
        );
    }
    taken
}

fn outcome(fate: Fate, key: String, message: String) -> Outcome {
    Outcome {
        fate,
        stage: "",
        code: String::new(),
        field: None,
        plugin: None,
        rows: 1,
        key,
        message,
    }
}

fn add(outcomes: &mut Outcomes, one: Outcome) {
    let kind = (one.fate, one.stage, one.code.clone(), one.field.clone());
    outcomes
        .entry(kind)
        .and_modify(|known| known.rows += 1)
        .or_insert(one);
}
