//! Tunes the number of writers and the rows of a chunk to the speed of the database.
//!
//! Both stay within the bounds of the configuration, and are fixed if the bounds are equal.
//! *Writers*: another one is tried for some chunks, and kept if the rate of committed rows rises.
//! *Rows*: a chunk gets more of them while round trips take much of its time or while it is light,
//! and fewer when it takes long in the database or in its plugins, which have a deadline.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::store::Totals;

/// Number of chunks between two decisions: fewer are too few to compare.
const WINDOW: u32 = 16;

/// Number of chunks after which a database that is far away is treated as such: waiting for it
/// shows at once.
const FIRST: u32 = 4;

/// Round trips that are shorter than this stay on the machine, or go to its neighbour.
const NETWORK: Duration = Duration::from_micros(500);

/// Ratio of rates above which one more (`WORTH`) or one fewer (`FREE`) writer is kept.
const WORTH: f64 = 1.03;
const FREE: f64 = 0.98;

/// Number of windows for which the best number of writers is kept.
const REST: u32 = 8;

/// Round trips of a usual chunk: begin, look up, copy into two tables and the digests (two round
/// trips each), move the checkpoint, commit.
const ROUND_TRIPS: u32 = 10;

/// Time above which a larger chunk only makes others wait.
const LONG: Duration = Duration::from_secs(1);

/// Bytes of rows below which the fixed costs of a chunk (statements, a commit, wake-ups) are too
/// high. Chunks of 4 MiB cost more again.
const LIGHT: u64 = 3 << 19;

/// The values that may be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Number of chunks written at once.
    pub writers: RangeInclusive<usize>,
    /// Rows of a chunk; at the minimum, chunks are left as the source sends them.
    pub rows: RangeInclusive<usize>,
    /// Maximum time of a chunk in its plugins.
    pub plugins: Duration,
}

/// The current values, and the measurements behind them.
#[derive(Debug)]
pub(super) struct Tuning {
    bounds: Bounds,
    writers: usize,
    rows: Arc<AtomicUsize>,
    /// Number of writers before the last change, and the rows per second with it.
    before: Option<(usize, f64)>,
    upwards: bool,
    rest: u32,
    /// True until it is known whether the database is far away.
    is_new: bool,
    window: Window,
}

/// Measurements since the last decision.
#[derive(Debug)]
struct Window {
    since: Instant,
    chunks: u32,
    rows: u64,
    bytes: u64,
    starved: Duration,
    writing: Duration,
    plugins: Duration,
    /// The minimum: anything above it is not caused by the network.
    round_trip: Duration,
}

impl Window {
    fn new(since: Instant) -> Self {
        Self {
            since,
            chunks: 0,
            rows: 0,
            bytes: 0,
            starved: Duration::ZERO,
            writing: Duration::ZERO,
            plugins: Duration::ZERO,
            round_trip: Duration::MAX,
        }
    }

    /// Average of a sum over the chunks.
    fn average(&self, sum: Duration) -> Duration {
        sum / self.chunks.max(1)
    }

    /// True if round trips take much of a chunk's time.
    fn is_far(&self) -> bool {
        self.round_trip.saturating_mul(ROUND_TRIPS) > self.average(self.writing) / 4
    }

    /// True if writers had to wait for rows: the bottleneck is not the database.
    fn is_starved(&self, now: Instant) -> bool {
        self.starved > now.saturating_duration_since(self.since) / 4
    }
}

impl Tuning {
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            // The best number on most servers.
            writers: 2.clamp(*bounds.writers.start(), *bounds.writers.end()),
            rows: Arc::new(AtomicUsize::new(0)),
            bounds,
            before: None,
            upwards: true,
            rest: 0,
            is_new: true,
            window: Window::new(now),
        }
    }

    /// Number of chunks to write at once.
    pub(super) fn writers(&self) -> usize {
        self.writers
    }

    /// Limits the number of writers: no more can be opened.
    pub(super) fn hold(&mut self, writers: usize) {
        let most = writers.max(1);
        self.bounds.writers = *self.bounds.writers.start().min(&most)..=most;
        self.writers = self.writers.min(most);
    }

    /// Number of rows up to which received chunks are joined.
    pub(super) fn rows(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.rows)
    }

    /// Records the time for which a writer had nothing to write.
    pub(super) fn starved(&mut self, time: Duration) {
        self.window.starved += time;
    }

    /// Records a committed chunk: its size, and the time in its plugins.
    pub(super) fn committed(
        &mut self,
        totals: &Totals,
        bytes: usize,
        plugins: Duration,
        now: Instant,
    ) {
        let window = &mut self.window;
        window.chunks += 1;
        window.bytes += bytes as u64;
        window.rows += totals.rows.received;
        window.writing += totals.writing + totals.committing;
        window.plugins += plugins;
        window.round_trip = window.round_trip.min(totals.beginning);
        if totals.gave_way {
            // Chunks share something, such as a row in which a trigger counts them: side by side
            // they only wait for each other.
            self.writers = *self.bounds.writers.start();
            self.before = None;
            self.upwards = true;
            self.rest = REST;
            self.is_new = false;
        }
        if self.is_new && self.window.chunks == FIRST {
            let window = &self.window;
            self.is_new = window.round_trip > NETWORK && window.is_far() && !window.is_starved(now);
            if self.is_new {
                let window = std::mem::replace(&mut self.window, Window::new(now));
                self.come_closer(&window);
            }
        }
        if self.window.chunks == WINDOW {
            let window = std::mem::replace(&mut self.window, Window::new(now));
            self.choose_writers(&window, now);
            self.choose_rows(&window);
        }
    }

    /// Makes up for the distance, without a comparison: with several writers at once, and with
    /// larger chunks as long as these make a difference.
    fn come_closer(&mut self, window: &Window) {
        let rows = self.rows.load(Ordering::Relaxed);
        self.writers = *self.bounds.writers.end();
        self.choose_rows(window);
        self.is_new = rows != self.rows.load(Ordering::Relaxed);
    }

    fn choose_writers(&mut self, window: &Window, now: Instant) {
        let took = now.saturating_duration_since(window.since);
        if window.is_starved(now) {
            self.before = None;
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let rate = window.rows as f64 / took.as_secs_f64().max(f64::EPSILON);
        let enough = if self.upwards { WORTH } else { FREE };
        match self.before {
            Some((writers, before)) if rate < before * enough => {
                self.writers = writers;
                self.turn_back();
                return;
            }
            _ => self.before = Some((self.writers, rate)),
        }
        let next = if self.upwards {
            self.writers + 1
        } else {
            self.writers.saturating_sub(1)
        };
        if self.bounds.writers.contains(&next) {
            self.writers = next;
        } else {
            self.turn_back();
        }
    }

    fn turn_back(&mut self) {
        self.before = None;
        self.upwards = !self.upwards;
        self.rest = REST;
    }

    fn choose_rows(&mut self, window: &Window) {
        let (least, most) = (*self.bounds.rows.start(), *self.bounds.rows.end());
        let rows = self.rows.load(Ordering::Relaxed).max(least);
        let writing = window.average(window.writing);
        let plugins = window.average(window.plugins);
        let is_light = window.bytes < LIGHT * u64::from(window.chunks) && writing < LONG / 4;
        let next = if writing > LONG || plugins > self.bounds.plugins {
            rows / 2
        } else if (window.is_far() || is_light) && plugins < self.bounds.plugins / 2 {
            rows * 2
        } else {
            rows
        };
        let next = next.min(most);
        let next = if next > least { next } else { 0 };
        self.rows.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::run::Counts;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A database whose time for a chunk depends on the number of writers.
    struct Database {
        now: Instant,
        tuning: Tuning,
        /// Size of a row.
        bytes: usize,
    }

    impl Database {
        fn new(writers: RangeInclusive<usize>, rows: RangeInclusive<usize>) -> Self {
            let now = Instant::now();
            let plugins = 100 * MILLISECOND;
            let bounds = Bounds {
                writers,
                rows,
                plugins,
            };
            let tuning = Tuning::new(bounds, now);
            Self {
                now,
                tuning,
                bytes: 6_500,
            }
        }

        fn chunk(
            &mut self,
            every: Duration,
            writing: Duration,
            beginning: Duration,
            plugins: Duration,
        ) {
            self.now += every;
            let rows = Counts {
                received: 300,
                ..Counts::default()
            };
            let totals = Totals {
                rows,
                writing,
                beginning,
                committing: Duration::ZERO,
                gave_way: false,
                dead_letter_share: 0.0,
            };
            let rows = self.tuning.rows.load(Ordering::Relaxed).max(300);
            let bytes = rows * self.bytes;
            self.tuning.committed(&totals, bytes, plugins, self.now);
        }

        /// The number of writers after each window, if `every` is the time between two chunks with
        /// that many writers.
        fn writers(&mut self, windows: usize, every: impl Fn(usize) -> Duration) -> Vec<usize> {
            let mut writers = Vec::new();
            for _ in 0..windows {
                for _ in 0..WINDOW {
                    let every = every(self.tuning.writers());
                    self.chunk(every, every, Duration::ZERO, Duration::ZERO);
                }
                writers.push(self.tuning.writers());
            }
            writers
        }

        fn rows(&mut self, writing: Duration, beginning: Duration, plugins: Duration) -> usize {
            for _ in 0..WINDOW {
                self.chunk(writing, writing, beginning, plugins);
            }
            self.tuning.rows.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_writer_is_added_while_that_helps() {
        let mut wide = Database::new(1..=8, 300..=300);
        let every = |writers: usize| 60 * MILLISECOND / writers.min(4) as u32;
        assert_eq!(wide.writers(4, every), [3, 4, 5, 4]);
        // One fewer is tried after a while, and reverted.
        let later = wide.writers(12, every);
        assert_eq!(later, [4, 4, 4, 4, 4, 4, 4, 4, 3, 4, 4, 4]);
    }

    #[test]
    fn a_server_that_gains_nothing_is_left_with_one_writer() {
        let mut narrow = Database::new(1..=4, 300..=300);
        let writers = narrow.writers(16, |_| 20 * MILLISECOND);
        assert_eq!(writers.last(), Some(&1));
    }

    #[test]
    fn chunks_that_are_in_each_others_way_are_written_one_after_the_other() {
        let mut database = Database::new(1..=4, 300..=300);
        let totals = Totals {
            gave_way: true,
            ..Totals::default()
        };
        database
            .tuning
            .committed(&totals, 0, Duration::ZERO, database.now);
        assert_eq!(database.tuning.writers(), 1);
        let writers = database.writers(10, |_| MILLISECOND);
        assert_eq!(writers, [1, 1, 1, 1, 1, 1, 1, 1, 2, 1]);
    }

    #[test]
    fn a_database_that_is_far_away_gets_all_writers_and_larger_chunks_at_once() {
        let mut far = Database::new(1..=4, 300..=1200);
        let mut after = |chunks: u32| {
            for _ in 0..chunks {
                far.chunk(
                    10 * MILLISECOND,
                    30 * MILLISECOND,
                    2 * MILLISECOND,
                    MILLISECOND,
                );
            }
            (
                far.tuning.writers(),
                far.tuning.rows.load(Ordering::Relaxed),
            )
        };
        assert_eq!(after(FIRST - 1), (2, 0));
        assert_eq!(after(1), (4, 600));
        assert_eq!(after(FIRST), (4, 1200));
        assert_eq!(after(FIRST), (4, 1200));
        // From then on, fewer writers are tried as well.
        assert_eq!(after(2 * WINDOW * REST).1, 1200);

        // A source that is slow says nothing about the database.
        let mut slow = Database::new(1..=4, 300..=1200);
        slow.tuning.starved(15 * MILLISECOND);
        for _ in 0..FIRST {
            slow.chunk(
                10 * MILLISECOND,
                30 * MILLISECOND,
                2 * MILLISECOND,
                MILLISECOND,
            );
        }
        assert_eq!(slow.tuning.writers(), 2);
    }

    #[test]
    fn bounds_pin() {
        let mut pinned = Database::new(3..=3, 300..=300);
        assert_eq!(pinned.writers(12, |_| MILLISECOND), [3; 12]);
        assert_eq!(pinned.rows(MILLISECOND, MILLISECOND, Duration::ZERO), 0);
    }

    #[test]
    fn nothing_is_concluded_while_the_source_is_slow() {
        let mut database = Database::new(1..=4, 300..=300);
        for _ in 0..4 {
            database.tuning.starved(15 * MILLISECOND);
            assert_eq!(database.writers(1, |_| MILLISECOND), [2]);
        }
    }

    #[test]
    fn chunks_grow_with_the_distance_and_shrink_with_their_time() {
        let mut database = Database::new(2..=2, 300..=1200);
        let (near, far) = (MILLISECOND / 20, 5 * MILLISECOND);
        assert_eq!(database.rows(20 * MILLISECOND, near, Duration::ZERO), 0);
        assert_eq!(database.rows(60 * MILLISECOND, far, Duration::ZERO), 600);
        assert_eq!(database.rows(80 * MILLISECOND, far, Duration::ZERO), 1200);
        assert_eq!(database.rows(90 * MILLISECOND, far, Duration::ZERO), 1200);
        // Interpreted plugins get close to their deadline.
        assert_eq!(database.rows(90 * MILLISECOND, far, 120 * MILLISECOND), 600);
        assert_eq!(database.rows(90 * MILLISECOND, far, 60 * MILLISECOND), 600);
        assert_eq!(database.rows(1200 * MILLISECOND, far, Duration::ZERO), 0);
    }

    #[test]
    fn light_chunks_are_joined_until_they_are_not() {
        let mut database = Database::new(2..=2, 300..=2400);
        let rows = |database: &mut Database, writing| {
            database.rows(writing, MILLISECOND / 20, Duration::ZERO)
        };
        for (bytes, joined) in [
            (6_500, [0; 3]),
            (2_000, [600, 1200, 1200]),
            (500, [600, 1200, 2400]),
        ] {
            database.bytes = bytes;
            database.tuning.rows.store(0, Ordering::Relaxed);
            assert_eq!(
                [(); 3].map(|()| rows(&mut database, 20 * MILLISECOND)),
                joined
            );
        }
        // Chunks that take long anyway would only take longer.
        database.tuning.rows.store(0, Ordering::Relaxed);
        assert_eq!(rows(&mut database, 300 * MILLISECOND), 0);
    }
}
