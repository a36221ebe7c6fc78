//! Runs, checkpoints and counts: the types of what the database knows about a run.

use serde::Serialize;
use uuid::Uuid;

/// Rows by what became of them. `received` is always the sum of the others.
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
    /// Left out by a plugin's or the policy's decision.
    pub dropped: u64,
    /// In the dead-letter table.
    pub dead_lettered: u64,
    /// Of `updated`: removed, since the source has marked them deleted.
    pub deleted: u64,
}

impl Counts {
    /// Whether every row is accounted for.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.received
            == self.inserted + self.updated + self.unchanged + self.dropped + self.dead_lettered
    }
}

/// A claim on all partitions of a pipeline.
#[derive(Debug, Clone)]
pub struct Run {
    /// Time-ordered (UUID version 7).
    pub id: Uuid,
    /// Number of the pipeline in this database.
    pub pipeline: i32,
    /// How often this run has been started, this time included.
    pub starts: i32,
    /// In the order in which they were asked for.
    pub partitions: Vec<Checkpoint>,
}

/// How far a partition has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Name of the partition.
    pub partition: String,
    /// Raised by every start; fences earlier hosts.
    pub epoch: i64,
    /// The source's resume token; empty for the beginning.
    pub position: String,
    /// Chunks committed in this run.
    pub sequence: i64,
    /// Rows committed in this run.
    pub rows: i64,
    /// Whether the run has come to the end of the partition.
    pub complete: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every partition came to its end.
    Succeeded,
    /// Every partition came to its end, and nothing was done about rows that the source no longer
    /// has: too many, or not known for certain. The next start begins anew.
    HeldBack,
    /// Stopped by an error; the next start goes on.
    Failed,
    /// Stopped by the policy or by a broken plugin; the next start goes on.
    Halted,
    /// Stopped from outside, after what was in flight was committed; the next start goes on.
    Interrupted,
}

impl Status {
    /// As in reports and in `forebay.run`.
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

/// What a run has come to, over all its starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// Rows by fate.
    pub rows: Counts,
    /// Committed.
    pub chunks: u64,
    /// Encoded rows.
    pub bytes_received: u64,
    /// Fate, stage, code or reason, rows; in this order.
    pub codes: Vec<(String, String, String, u64)>,
}

/// Where dead letters belong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub pipeline: i32,
    pub partition: &'a str,
    pub run: Uuid,
}
