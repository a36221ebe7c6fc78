//! The limit of dead letters, judged before each commit.
//!
//! Single bad rows are expected; a large share of them means that a column, a mapping, a plugin or
//! the source is wrong, and then rows that are refused one by one would look like success.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::chunk::DeadLetter;
use crate::printable::printable;

/// Number of rows in the sliding window, at least: the chunk that reaches back to the first of them
/// counts as a whole.
const WINDOW_ROWS: u64 = 1_000;

/// Minimum number of dead letters that can exceed the limit. A share of a handful of rows says
/// nothing: one bad row in a run of one row must not stop a pipeline.
const LEAST: u64 = 10;

/// Minimum number of rows that are counted together, so that a window has few parts.
const PART_ROWS: u64 = 50;

/// Number of codes that a message names.
const CODES: usize = 5;

/// Rows and dead letters among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows, whatever became of them.
    pub rows: u64,
    /// Those that are dead letters.
    pub dead_letters: u64,
}

impl Tally {
    /// Dead letters per row, 0 to 1.
    #[must_use]
    pub fn share(self) -> f64 {
        self.dead_letters as f64 / self.rows.max(1) as f64
    }

    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.dead_letters += other.dead_letters;
    }
}

/// The latest rows of a partition, in parts, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window(VecDeque<Tally>);

impl Window {
    /// The window that [`Self::to_numbers`] has written.
    #[must_use]
    pub fn from_numbers(numbers: &[i64]) -> Self {
        let parts = numbers.chunks_exact(2).filter_map(|pair| match pair {
            [rows, dead_letters] => Some(Tally {
                rows: rows.unsigned_abs(),
                dead_letters: dead_letters.unsigned_abs(),
            }),
            _ => None,
        });
        Self(parts.collect())
    }

    /// Rows and dead letters of each part, in turn.
    #[must_use]
    pub fn to_numbers(&self) -> Vec<i64> {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let parts = self.0.iter();
        parts
            .flat_map(|part| [signed(part.rows), signed(part.dead_letters)])
            .collect()
    }

    /// The sum of its parts.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for part in &self.0 {
            total.add(*part);
        }
        total
    }

    fn push(&mut self, chunk: Tally) {
        match self.0.back_mut() {
            Some(last) if last.rows < PART_ROWS => last.add(chunk),
            _ => self.0.push_back(chunk),
        }
        let mut rows = self.total().rows;
        while let Some(first) = self.0.front()
            && rows - first.rows >= WINDOW_ROWS
        {
            rows -= first.rows;
            self.0.pop_front();
        }
    }
}

/// The limit of a partition, shared by its writers, which commit one after the other.
#[derive(Debug)]
pub struct DeadLetterLimit {
    percent: f64,
    window: Mutex<Window>,
}

impl DeadLetterLimit {
    /// `percent` is the limit, 0 to 100; `window` is that of the partition's checkpoint.
    #[must_use]
    pub fn new(percent: f64, window: Window) -> Self {
        Self {
            percent,
            window: Mutex::new(window),
        }
    }

    /// The window with a chunk that is not committed yet.
    #[must_use]
    pub fn with(&self, chunk: Tally) -> Window {
        let mut window = self.lock().clone();
        window.push(chunk);
        window
    }

    /// Takes over the window of a chunk that is committed.
    pub fn committed(&self, window: Window) {
        *self.lock() = window;
    }

    /// The first of `window` and `run` that exceeds the limit, both with the chunk in question.
    #[must_use]
    pub fn exceeded(&self, window: &Window, run: Tally) -> Option<Excess> {
        let exceeds = |tally: Tally| {
            tally.dead_letters >= LEAST
                && tally.dead_letters as f64 * 100.0 > self.percent * tally.rows as f64
        };
        let window = window.total();
        let excess = |tally, of| Excess {
            tally,
            of,
            percent: self.percent,
        };
        if exceeds(window) {
            return Some(excess(window, Of::LastRows));
        }
        exceeds(run).then(|| excess(run, Of::Run))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More dead letters than the limit allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// The rows that were counted.
    pub tally: Tally,
    of: Of,
    percent: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    LastRows,
    Run,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { rows, dead_letters } = self.tally;
        let percent = self.tally.share() * 100.0;
        match self.of {
            Of::LastRows => write!(f, "{dead_letters} of the last {rows} rows")?,
            Of::Run => write!(f, "{dead_letters} of the {rows} rows of this run")?,
        }
        write!(
            f,
            " are dead letters ({percent:.1} %), more than dead_letter_limit = \"{}%\"",
            self.percent
        )
    }
}

/// A chunk would exceed the limit, and nothing of it is written; or a whole run has exceeded it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{excess}: {codes}{sample}\n  hint: {}", self.hint())]
pub struct TooManyDeadLetters {
    /// The rows that were counted.
    pub excess: Excess,
    codes: String,
    sample: String,
    /// True if the run has come to its end.
    pub is_complete: bool,
}

impl TooManyDeadLetters {
    /// `codes` are the codes of the run with their numbers of rows, the most frequent first;
    /// `letters` are those of the chunk, with their keys.
    #[must_use]
    pub fn new<'l>(
        excess: Excess,
        codes: &[(String, i64)],
        mut letters: impl Iterator<Item = (&'l DeadLetter, &'l str)>,
    ) -> Self {
        let mut named: Vec<String> = codes
            .iter()
            .take(CODES)
            .map(|(code, rows)| format!("{code} {rows}"))
            .collect();
        if codes.len() > CODES {
            named.push(format!("{} more", codes.len() - CODES));
        }
        let sample = letters.next().map(|(letter, key)| {
            let failure = &letter.failure;
            let (stage, code) = (failure.stage.as_str(), &failure.code);
            let (key, message) = (printable(key), printable(&failure.message));
            format!("; for example row `{key}`: {stage} {code}: {message}")
        });
        Self {
            excess,
            codes: named.join(", "),
            sample: sample.unwrap_or_default(),
            is_complete: false,
        }
    }

    /// For a run that has come to its end.
    #[must_use]
    pub fn of_run(excess: Excess, codes: &[(String, i64)]) -> Self {
        Self {
            is_complete: true,
            ..Self::new(excess, codes, std::iter::empty())
        }
    }

    fn hint(&self) -> &'static str {
        if self.is_complete {
            "the other rows are written; these are tried again when the rows come that they wait for (see `forebay dlq list`)"
        } else {
            "nothing of this chunk is written: mend the cause and run again, or accept them for one run with --allow-dead-letters"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rows: u64, dead_letters: u64) -> Tally {
        Tally { rows, dead_letters }
    }

    fn limit(percent: f64, chunks: &[(u64, u64)]) -> DeadLetterLimit {
        let limit = DeadLetterLimit::new(percent, Window::default());
        for (rows, dead_letters) in chunks {
            limit.committed(limit.with(tally(*rows, *dead_letters)));
        }
        limit
    }

    #[test]
    fn a_share_of_the_last_rows_or_of_the_run_exceeds() {
        for (chunks, chunk, run, expected) in [
            // Nine dead letters are too few to judge by.
            (&[][..], (9, 9), (9, 9), None),
            (
                &[],
                (10, 10),
                (10, 10),
                Some(
                    "10 of the last 10 rows are dead letters (100.0 %), more than dead_letter_limit = \"20%\"",
                ),
            ),
            (&[(40, 0)], (10, 10), (50, 10), None),
            (
                &[(40, 1)],
                (10, 10),
                (50, 11),
                Some(
                    "11 of the last 50 rows are dead letters (22.0 %), more than dead_letter_limit = \"20%\"",
                ),
            ),
            // What is longer ago than the window no longer counts there.
            (&[(1_000, 190), (1_000, 0)], (300, 60), (2_300, 250), None),
            // Many good rows do not hide that the latest ones are bad.
            (&[(9_000, 0)], (300, 300), (9_300, 300), None),
            (
                &[(9_000, 0), (500, 0)],
                (500, 300),
                (10_000, 300),
                Some(
                    "300 of the last 1000 rows are dead letters (30.0 %), more than dead_letter_limit = \"20%\"",
                ),
            ),
            // The other partitions of the run are worse.
            (
                &[(1_000, 0)],
                (300, 10),
                (5_000, 2_000),
                Some(
                    "2000 of the 5000 rows of this run are dead letters (40.0 %), more than dead_letter_limit = \"20%\"",
                ),
            ),
        ] {
            let limit = limit(20.0, chunks);
            let window = limit.with(tally(chunk.0, chunk.1));
            let exceeded = limit.exceeded(&window, tally(run.0, run.1));
            let text = exceeded.map(|excess| excess.to_string());
            assert_eq!(text.as_deref(), expected, "{chunks:?} {chunk:?}");
        }
    }

    #[test]
    fn a_hundred_percent_is_no_limit_and_zero_allows_few() {
        let all = tally(5_000, 5_000);
        let exceeds = |percent| {
            let limit = limit(percent, &[]);
            limit.exceeded(&limit.with(all), all).is_some()
        };
        assert!(!exceeds(100.0));
        assert!(exceeds(0.0));
    }

    #[test]
    fn a_window_has_few_parts_and_can_be_kept() {
        let limit = limit(20.0, &vec![(1, 1); 5_000]);
        let window = limit.with(tally(3, 0));
        assert!(window.0.len() <= 21, "{window:?}");
        let Tally { rows, dead_letters } = window.total();
        assert!((WINDOW_ROWS..WINDOW_ROWS + PART_ROWS).contains(&rows));
        assert_eq!(rows - dead_letters, 3);
        assert_eq!(Window::from_numbers(&window.to_numbers()), window);
    }
}
