//! How far a run has come while it is at work: what a progress bar and a gauge show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::report::ChunkTimes;
use crate::store::run::Counts;

/// How far a run has come, for a progress bar.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows the source has in all; 0 where it does not know.
    pub expected: AtomicU64,
    /// Rows committed, those of earlier starts of the run included.
    pub rows: AtomicU64,
    /// Of them, dead letters of this start.
    pub dead_letters: AtomicU64,
    /// Of this start's chunks.
    pub chunk_times: ChunkTimes,
    /// The index that is built, while one is.
    pub building: Activity,
}

impl Progress {
    /// Rows still to come, where the source knows.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let expected = self.expected.load(Ordering::Relaxed);
        (expected > 0).then(|| expected.saturating_sub(self.rows.load(Ordering::Relaxed)))
    }

    pub(crate) fn add(&self, rows: &Counts) {
        self.rows.fetch_add(rows.received, Ordering::Relaxed);
        self.dead_letters
            .fetch_add(rows.dead_lettered, Ordering::Relaxed);
    }
}

/// What is done besides moving rows, for a progress bar.
#[derive(Debug, Default)]
pub struct Activity(Mutex<Option<String>>);

impl Activity {
    /// In words; `None` while there is nothing.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        let now = self.0.lock();
        now.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, what: Option<String>) {
        let now = self.0.lock();
        *now.unwrap_or_else(PoisonError::into_inner) = what;
    }
}
