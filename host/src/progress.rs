//! Progress of a run at work, for a progress bar and a gauge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::report::ChunkTimes;
use crate::store::run::Counts;

/// Progress of a run.
#[derive(Debug, Default)]
pub struct Progress {
    /// Total rows of the source; 0 if unknown.
    pub expected: AtomicU64,
    /// Committed rows, including those of earlier starts of the run.
    pub rows: AtomicU64,
    /// Dead letters of this start.
    pub dead_letters: AtomicU64,
    /// Committed rows of this start, by fate.
    committed: Mutex<Counts>,
    /// Times of this start's chunks.
    pub chunk_times: ChunkTimes,
    /// The index that is being built, if any.
    pub building: Activity,
}

impl Progress {
    /// Begins a run, which has so many rows from earlier starts and expects so many in all.
    pub(crate) fn begin(&self, before: u64, expected: u64) {
        self.rows.store(before, Ordering::Relaxed);
        self.expected.store(expected, Ordering::Relaxed);
        self.dead_letters.store(0, Ordering::Relaxed);
        let committed = self.committed.lock();
        *committed.unwrap_or_else(PoisonError::into_inner) = Counts::default();
        self.chunk_times.clear();
    }

    /// Rows still to come, if the source knows its total.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let expected = self.expected.load(Ordering::Relaxed);
        (expected > 0).then(|| expected.saturating_sub(self.rows.load(Ordering::Relaxed)))
    }

    /// Committed rows of this start, by fate.
    pub(crate) fn committed(&self) -> Counts {
        let committed = self.committed.lock();
        *committed.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, rows: &Counts) {
        self.rows.fetch_add(rows.received, Ordering::Relaxed);
        self.dead_letters
            .fetch_add(rows.dead_lettered, Ordering::Relaxed);
        let committed = self.committed.lock();
        committed.unwrap_or_else(PoisonError::into_inner).add(rows);
    }
}

/// An activity besides moving rows, for a progress bar.
#[derive(Debug, Default)]
pub struct Activity(Mutex<Option<String>>);

impl Activity {
    /// Text of the activity; `None` if there is none.
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
