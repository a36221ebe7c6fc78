//! What flows: a chunk as it is received, and as it is when it only has to be written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::plugin::{Chain, Comparison};
use crate::row::{Batch, Drop, Failure, KeySet};
use crate::source::wire;

/// A chunk as it came, with the room it takes.
#[derive(Debug)]
pub struct Received {
    /// From the source.
    pub chunk: wire::Chunk,
    /// Its encoded rows, in bytes.
    pub bytes: usize,
    /// Its share of the bytes in flight.
    pub permit: OwnedSemaphorePermit,
    /// The plugins that it meets.
    pub chain: Arc<Chain>,
}

/// A chunk that only has to be written.
#[derive(Debug)]
pub struct Prepared {
    /// Live rows are to be written; the others are in `settled`.
    pub batch: Batch,
    /// By row: of what would be written.
    pub digests: Vec<Uuid>,
    /// Of its rows.
    pub keys: Arc<KeySet>,
    /// Rows that failed before they could be written.
    pub settled: Settled,
    /// The position after this chunk.
    pub position: String,
    /// Its encoded rows.
    pub bytes: usize,
    /// How long it took.
    pub times: Times,
    /// Released when the chunk is.
    pub permit: OwnedSemaphorePermit,
    /// The plugins that it met.
    pub chain: Arc<Chain>,
    /// What new versions would have done otherwise.
    pub comparisons: Vec<Comparison>,
}

/// How long the steps of a chunk took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Bytes to rows.
    pub decode: Duration,
    /// All plugins, the policy included.
    pub plugins: Duration,
    /// Matching with the tables, and digests.
    pub route: Duration,
}

/// Failed rows that are done with.
#[derive(Debug, Default)]
pub struct Settled {
    /// To be kept.
    pub dead_letters: Vec<DeadLetter>,
    /// To be forgotten, counted under their code.
    pub drops: Vec<Drop>,
    /// What a policy that is tried would have decided otherwise about rows that the database
    /// refused.
    pub comparisons: Vec<Comparison>,
}

/// A failed row that is to be kept, with the queue the policy chose.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Why it failed.
    pub failure: Failure,
    /// At most 64 characters.
    pub queue: String,
}
