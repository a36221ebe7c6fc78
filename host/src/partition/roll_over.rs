//! When a run that does not end is to be followed by another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config;

/// The roll-over of one run. Once it is due, receiving stops at a chunk boundary.
#[derive(Debug, Clone)]
pub(crate) struct RollOver(Arc<State>);

#[derive(Debug)]
struct State {
    /// `None` if the run is never rolled over.
    at: Option<Instant>,
    most: u64,
    rows: AtomicU64,
    is_old: AtomicBool,
    due: AtomicBool,
    stop: CancellationToken,
}

impl RollOver {
    /// For a run of this age and number of rows; `None` for one that is never rolled over. A stop of
    /// `stop` is one of its token as well.
    pub(crate) fn new(
        limits: Option<config::RollOver>,
        (age, rows): (Duration, u64),
        stop: &CancellationToken,
    ) -> Self {
        let state = State {
            at: limits.map(|limits| Instant::now() + limits.after.saturating_sub(age)),
            most: limits.map_or(u64::MAX, |limits| limits.rows),
            rows: AtomicU64::new(rows),
            is_old: AtomicBool::new(false),
            due: AtomicBool::new(false),
            stop: stop.child_token(),
        };
        let roll_over = Self(Arc::new(state));
        roll_over.look();
        roll_over
    }

    /// Counts rows that are committed.
    pub(crate) fn committed(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
        self.look();
    }

    /// Waits for the age at which the run is rolled over. Without rows it is not: a feed in which
    /// nothing comes has no history.
    pub(crate) async fn grow_old(&self) {
        match self.0.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
        self.0.is_old.store(true, Ordering::Relaxed);
        self.look();
    }

    fn look(&self) {
        let State { most, is_old, .. } = &*self.0;
        let rows = self.0.rows.load(Ordering::Relaxed);
        if rows >= *most || rows > 0 && is_old.load(Ordering::Relaxed) {
            self.0.due.store(true, Ordering::Relaxed);
            self.0.stop.cancel();
        }
    }

    /// True if the run is to be followed by another.
    pub(crate) fn is_due(&self) -> bool {
        self.0.due.load(Ordering::Relaxed)
    }

    /// Cancelled when it is due, and when the host is stopped.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.0.stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll_over(after: u64, rows: u64, age: u64, received: u64) -> RollOver {
        let limits = config::RollOver {
            after: Duration::from_secs(after),
            rows,
        };
        let run = (Duration::from_secs(age), received);
        RollOver::new(Some(limits), run, &CancellationToken::new())
    }

    #[test]
    fn rows_make_it_due() {
        let roll_over = roll_over(3600, 100, 0, 40);
        roll_over.committed(59);
        assert!(!roll_over.is_due() && !roll_over.token().is_cancelled());
        roll_over.committed(1);
        assert!(roll_over.is_due() && roll_over.token().is_cancelled());
    }

    #[tokio::test]
    async fn age_makes_it_due_once_there_are_rows() {
        let old = roll_over(60, 100, 61, 1);
        old.grow_old().await;
        assert!(old.is_due());
        let idle = roll_over(60, 100, 61, 0);
        idle.grow_old().await;
        assert!(!idle.is_due());
        idle.committed(1);
        assert!(idle.is_due());
    }

    #[test]
    fn a_whole_dataset_is_one_run() {
        let stop = CancellationToken::new();
        let never = RollOver::new(None, (Duration::MAX, 0), &stop);
        never.committed(u64::MAX - 1);
        assert!(!never.is_due());
        stop.cancel();
        assert!(never.token().is_cancelled() && !never.is_due());
    }
}
