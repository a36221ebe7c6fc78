//! The types of what the database knows about a run: runs, checkpoints and counts.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::refusals::Refusals;
use super::waiting::Waiting;
use crate::policy::Window;

/// Number of rows by fate. `received` is the sum of the others except `deleted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// From the source.
    pub received: u64,
    /// Written under a key that the first table did not have.
    pub inserted: u64,
    /// Written under a key that was there.
    pub updated: u64,
    /// Not written, since nothing would have changed.
    pub unchanged: u64,
    /// Left out by a decision of a plugin or the policy.
    pub dropped: u64,
    /// In the dead-letter table.
    pub dead_lettered: u64,
    /// Part of `updated`: removed, since the source marked them as deleted.
    pub deleted: u64,
}

impl Counts {
    /// Adds other rows.
    pub fn add(&mut self, more: &Self) {
        self.received += more.received;
        self.inserted += more.inserted;
        self.updated += more.updated;
        self.unchanged += more.unchanged;
        self.dropped += more.dropped;
        self.dead_lettered += more.dead_lettered;
        self.deleted += more.deleted;
    }

    /// True if every row is accounted for.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.received
            == self.inserted + self.updated + self.unchanged + self.dropped + self.dead_lettered
    }
}

/// Position at which a run begins if there is no unfinished run to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewRun {
    /// At the start of the dataset.
    FromTheStart,
    /// Where the last run ended.
    FromLastPosition,
}

/// A claim on all partitions of a pipeline.
#[derive(Debug, Clone)]
pub struct Run {
    /// Time-ordered (UUID version 7).
    pub id: Uuid,
    /// Number of the pipeline in this database.
    pub pipeline: i32,
    /// Number of times that this run was started, including this one.
    pub starts: i32,
    /// Time since it was first started, by the server's clock.
    pub age: Duration,
    /// The partitions, in the order in which they were requested.
    pub partitions: Vec<Checkpoint>,
    /// Partitions of the last run, or of this one before, that the source no longer has.
    pub gone: Vec<String>,
    /// Keys that have dead letters to be tried again.
    pub waiting: Waiting,
    /// Rows that earlier runs have refused.
    pub(super) refused: Refusals,
}

/// Progress of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Name of the partition.
    pub partition: String,
    /// Raised by every start, which fences earlier hosts.
    pub epoch: i64,
    /// The source's resume token; empty for the beginning.
    pub position: String,
    /// Chunks committed in this run.
    pub sequence: i64,
    /// Rows committed in this run.
    pub rows: i64,
    /// True if the run has reached the end of the partition.
    pub complete: bool,
    /// The latest rows and the dead letters among them, over all runs.
    #[serde(skip)]
    pub recent: Window,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every partition was read to its end; or it was followed by another run before.
    Succeeded,
    /// Every partition was read to its end, but missing rows were kept: too many, or not known for
    /// certain. Or too many rows wait for others that did not come. The next start begins a new run.
    HeldBack,
    /// Stopped by an error; the next start continues the run.
    #[default]
    Failed,
    /// Stopped by the policy or by a broken plugin; the next start continues the run.
    Halted,
    /// Stopped from outside, after the chunks in flight were committed; the next start continues
    /// the run.
    Interrupted,
}

impl Status {
    /// The name in reports and in `forebay.run`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::HeldBack => "held_back",
            Self::Failed => "failed",
            Self::Halted => "halted",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Totals of a run over all its starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// Rows by fate.
    pub rows: Counts,
    /// Committed chunks.
    pub chunks: u64,
    /// Size of the encoded rows.
    pub bytes_received: u64,
    /// Rows that plugins dropped although an earlier run has written them.
    pub dropped_known: u64,
    /// Dead letters of earlier runs that were written after all.
    pub resolved: u64,
    /// Fate, stage, code or reason, and number of rows; sorted in this order.
    pub codes: Vec<(String, String, String, u64)>,
}

/// The partition and the run that a chunk belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub pipeline: i32,
    pub partition: &'a str,
    pub run: Uuid,
}
