//! A chunk on its way: as received, and as prepared for the writer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::message::Encoding;
use crate::plugin::{Chain, Comparison};
use crate::row::{Batch, Drop, Failure, KeySet};
use crate::source::{Chunk, Units};

/// A chunk as received, with its share of the memory limit.
#[derive(Debug)]
pub struct Received {
    /// The chunk from the source.
    pub chunk: Chunk,
    /// Memory of its rows as they came, in bytes.
    pub bytes: usize,
    /// Its share of the bytes in flight; released with the chunk.
    pub permit: OwnedSemaphorePermit,
    /// The plugins for it.
    pub chain: Arc<Chain>,
}

/// A chunk that is ready to be written.
#[derive(Debug)]
pub struct Prepared {
    /// Its rows as they came, for dead letters.
    pub units: Units,
    /// Their encoding, if they are no `forebay.v1.Row`.
    pub encoding: Option<Arc<Encoding>>,
    /// Its rows. Live ones are to be written; the others are in `settled`.
    pub batch: Batch,
    /// Digest of what would be written, by row.
    pub digests: Vec<Uuid>,
    /// Ids of its rows' keys, by which their digests are kept.
    pub ids: Vec<Uuid>,
    /// Keys of its rows.
    pub keys: Arc<KeySet>,
    /// Rows that failed or were dropped before they could be written.
    pub settled: Settled,
    /// The position after this chunk.
    pub position: String,
    /// Memory of its rows as they came, in bytes.
    pub bytes: usize,
    /// Time of each step.
    pub times: Times,
    /// Its share of the bytes in flight; released with the chunk.
    pub permit: OwnedSemaphorePermit,
    /// The plugins that processed it.
    pub chain: Arc<Chain>,
    /// What shadows would have done differently.
    pub comparisons: Vec<Comparison>,
}

/// Time of each step of a chunk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Decoding bytes to rows.
    pub decode: Duration,
    /// All plugins, including the policy.
    pub plugins: Duration,
    /// Matching rows with the tables, and digests.
    pub route: Duration,
}

/// Failed rows whose fate is decided.
#[derive(Debug, Default)]
pub struct Settled {
    /// Rows to keep as dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// Rows to drop, counted by their code.
    pub drops: Vec<Drop>,
    /// What a shadowing policy would have decided differently about rows that the database refused.
    pub comparisons: Vec<Comparison>,
}

/// A failed row to keep, with the queue that the policy chose.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The failure.
    pub failure: Failure,
    /// Name of the queue, at most 64 characters.
    pub queue: String,
}
