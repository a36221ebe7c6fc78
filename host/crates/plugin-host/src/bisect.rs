//! Finds the rows on which a plugin fails, and finishes the others on the way.
//!
//! A batch that fails is halved until the rows to blame stand alone. Where one half is good
//! the other one must be at fault, and is halved without asking; so one bad row among 300
//! costs at most 19 calls, of which at most 10 fail.
//!
//! A plugin that fails on most rows is itself at fault. That is established without paying
//! for every row, which for a plugin that misses its deadline would be minutes:
//!
//! * when both halves of a batch of 8 rows or more fail, 8 of its rows, evenly spread, are
//!   tried alone; more than half of them failing says so,
//! * so does more than half of the rows of such a batch being found guilty one by one,
//! * and so do calls that have taken 60 deadlines in all.
//!
//! What the calls answered is kept until all rows are settled, so all of it together is bounded
//! as the answer of one call is.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::call_error::{CallError, Kind};
use super::limits::Limits;

/// Rows from which on "most of them" means something.
const MAJORITY_FROM: usize = 8;

/// Rows tried alone.
const SAMPLE: usize = 8;

/// Deadlines' worth of time that a batch may take when its first call has failed. Three rows that
/// miss it among 300 take up to 28; and the calls that succeed take one together, if each takes
/// as long as its rows do.
const PATIENCE: u32 = 60;

/// What a call is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its answer counts.
    Settle,
    /// Only whether it fails counts: the rows will be presented again.
    Sample,
}

/// The rows in order: those of a call that succeeded with its answer, or one on which the plugin
/// failed with the reason.
pub(super) type Settled<T> = Vec<(Range<usize>, Result<T, CallError>)>;

struct Search<P, T> {
    probe: P,
    rows: usize,
    settled: Settled<T>,
    guilty: usize,
    took: Duration,
    patience: Duration,
    /// Bytes of answers, and how many there may be.
    kept: usize,
    limit: usize,
}

/// Gets each row settled. `probe` calls the plugin with a range of the rows.
///
/// # Errors
///
/// A message when it is the plugin that is broken.
pub(super) fn settle<T: Answer>(
    rows: usize,
    limits: Limits,
    mut probe: impl FnMut(Range<usize>, Purpose) -> Result<T, CallError>,
) -> Result<Settled<T>, String> {
    let began = Instant::now();
    let fault = match probe(0..rows, Purpose::Settle) {
        Ok(answer) => return Ok(vec![(0..rows, Ok(answer))]),
        Err(fault) => fault,
    };
    let mut search = Search {
        probe,
        rows,
        settled: Vec::new(),
        guilty: 0,
        took: Duration::ZERO,
        patience: limits.deadline.saturating_mul(PATIENCE),
        kept: 0,
        limit: limits.output,
    };
    search.called(Some(&fault), began)?;
    if rows == 1 {
        search.blame(0, fault)?;
    } else {
        search.narrow(0..rows)?;
    }
    search.settled.sort_by_key(|(range, _)| range.start);
    Ok(search.settled)
}

impl<P, T: Answer> Search<P, T>
where
    P: FnMut(Range<usize>, Purpose) -> Result<T, CallError>,
{
    /// Settles a range of more than one row that is known to fail as a whole.
    fn narrow(&mut self, whole: Range<usize>) -> Result<(), String> {
        let mut sampled = false;
        let mut bad = vec![whole];
        while let Some(range) = bad.pop() {
            let middle = range.start + range.len() / 2;
            let (left, right) = (range.start..middle, middle..range.end);
            let left_fails = !self.try_all(left.clone())?;
            // A row alone is asked in any case: its own fault is its message.
            let right_fails = match right.len() {
                2.. if !left_fails => true,
                _ => !self.try_all(right.clone())?,
            };
            if left_fails && right_fails && !sampled {
                sampled = true;
                self.sample()?;
            }
            for (half, fails) in [(right, right_fails), (left, left_fails)] {
                if fails && half.len() > 1 {
                    bad.push(half);
                }
            }
        }
        Ok(())
    }

    /// Whether the plugin can process these rows; then they are settled. So is a row alone.
    fn try_all(&mut self, range: Range<usize>) -> Result<bool, String> {
        let began = Instant::now();
        match (self.probe)(range.clone(), Purpose::Settle) {
            Ok(answer) => {
                self.called(None, began)?;
                self.keep(&answer)?;
                self.settled.push((range, Ok(answer)));
                Ok(true)
            }
            Err(fault) => {
                self.called(Some(&fault), began)?;
                if range.len() == 1 {
                    self.blame(range.start, fault)?;
                }
                Ok(false)
            }
        }
    }

    /// Tries rows alone, to see whether it is rows at all that are to blame.
    fn sample(&mut self) -> Result<(), String> {
        let rows = self.rows;
        if rows < MAJORITY_FROM {
            return Ok(());
        }
        let mut failed = 0;
        for row in sampled_rows(rows) {
            let began = Instant::now();
            let fault = (self.probe)(row..row + 1, Purpose::Sample).err();
            self.called(fault.as_ref(), began)?;
            if let Some(fault) = fault {
                failed += 1;
                if 2 * failed > SAMPLE {
                    return Err(format!(
                        "it failed on most of the rows tried alone; the last time with {fault}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn blame(&mut self, row: usize, fault: CallError) -> Result<(), String> {
        self.guilty += 1;
        let rows = self.rows;
        if rows >= MAJORITY_FROM && 2 * self.guilty > rows {
            return Err(format!(
                "it failed on most of {rows} rows; the last time with {fault}"
            ));
        }
        self.settled.push((row..row + 1, Err(fault)));
        Ok(())
    }

    fn called(&mut self, fault: Option<&CallError>, began: Instant) -> Result<(), String> {
        if let Some(fault) = fault
            && fault.kind == Kind::Unusable
        {
            return Err(format!("it cannot be started: {}", fault.message));
        }
        self.took += began.elapsed();
        if self.took > self.patience {
            let took = self.took.as_secs_f64();
            let last = fault.map_or(String::new(), |fault| {
                format!("; the last one with {fault}")
            });
            return Err(format!("its calls on one batch took {took:.1} s{last}"));
        }
        Ok(())
    }

    fn keep(&mut self, answer: &T) -> Result<(), String> {
        self.kept = self.kept.saturating_add(answer.bytes());
        if self.kept > self.limit {
            let limit = self.limit;
            return Err(format!(
                "its answers on one batch had more than {limit} bytes (plugins.limits.output)"
            ));
        }
        Ok(())
    }
}

/// Evenly spread, each in the middle of its share.
fn sampled_rows(rows: usize) -> impl Iterator<Item = usize> {
    (0..SAMPLE).map(move |i| (2 * i + 1) * rows / (2 * SAMPLE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Of a byte a row.
    impl Answer for Range<usize> {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    fn limits(deadline: Duration, output: usize) -> Limits {
        Limits {
            deadline,
            output,
            ..Limits::default()
        }
    }

    /// So much that it does not matter.
    fn ample() -> Limits {
        limits(Duration::from_secs(10), 1 << 20)
    }

    fn fault(kind: Kind) -> CallError {
        CallError {
            kind,
            message: "bad".to_owned(),
        }
    }

    struct Story {
        result: Result<Vec<Result<usize, Kind>>, String>,
        calls: usize,
        failed: usize,
    }

    /// A plugin that fails on batches with a row for which `is_bad`.
    fn run(rows: usize, is_bad: impl Fn(usize) -> bool) -> Story {
        let (mut calls, mut failed) = (0, 0);
        let result = settle(rows, ample(), |range, _| {
            calls += 1;
            assert!(!range.is_empty());
            if range.clone().any(&is_bad) {
                failed += 1;
                return Err(fault(Kind::Trap));
            }
            Ok(range)
        });
        let kinds = |settled: Settled<Range<usize>>| {
            let each = |(range, answer): (Range<usize>, Result<Range<usize>, CallError>)| {
                assert!(answer.as_ref().is_ok_and(|its| *its == range) || range.len() == 1);
                let kind = answer.err().map(|fault| fault.kind);
                range.map(move |row| kind.map_or(Ok(row), Err))
            };
            settled.into_iter().flat_map(each).collect()
        };
        Story {
            result: result.map(kinds),
            calls,
            failed,
        }
    }

    #[test]
    fn good_batches_take_one_call() {
        for rows in [1, 2, 300] {
            let story = run(rows, |_| false);
            assert_eq!(story.result.unwrap(), (0..rows).map(Ok).collect::<Vec<_>>());
            assert_eq!(story.calls, 1);
        }
    }

    #[test]
    fn one_bad_row_costs_itself() {
        let (mut most, mut most_failed) = (0, 0);
        for bad in 0..300 {
            let story = run(300, |row| row == bad);
            for (row, outcome) in story.result.unwrap().into_iter().enumerate() {
                assert_eq!(outcome, if row == bad { Err(Kind::Trap) } else { Ok(row) });
            }
            most = most.max(story.calls);
            most_failed = most_failed.max(story.failed);
        }
        assert!(most <= 19, "{most} calls");
        assert!(most_failed <= 10, "{most_failed} failed calls");
    }

    #[test]
    fn any_rows_may_be_bad_while_they_are_few() {
        for rows in [2, 3, 7, 8, 9, 33, 300] {
            for every in [3, 5, 17, 100] {
                let is_bad = |row: usize| row % every == 1;
                let outcomes = run(rows, is_bad).result.unwrap();
                assert_eq!(outcomes.len(), rows);
                for (row, outcome) in outcomes.into_iter().enumerate() {
                    assert_eq!(
                        outcome.is_err(),
                        is_bad(row),
                        "{row} of {rows}, every {every}"
                    );
                }
            }
        }
    }

    #[test]
    fn failing_on_everything_is_found_soon() {
        for rows in [8, 9, 300, 100_000] {
            let story = run(rows, |_| true);
            assert!(
                story
                    .result
                    .unwrap_err()
                    .contains("most of the rows tried alone")
            );
            assert!(story.calls <= 3 + SAMPLE, "{} calls", story.calls);
        }
    }

    #[test]
    fn small_batches_may_be_bad_altogether() {
        for rows in 1..MAJORITY_FROM {
            let story = run(rows, |_| true);
            assert_eq!(story.result.unwrap(), vec![Err(Kind::Trap); rows]);
        }
    }

    #[test]
    fn a_bad_majority_that_the_sample_misses_is_found() {
        let sample: Vec<_> = sampled_rows(300).collect();
        let story = run(300, |row| !sample.contains(&row));
        assert!(story.result.unwrap_err().contains("most of 300 rows"));
    }

    #[test]
    fn a_plugin_without_an_instance_is_broken() {
        let mut calls = 0;
        let result = settle(300, ample(), |_, _| {
            calls += 1;
            Err::<Range<usize>, _>(fault(Kind::Unusable))
        });
        assert_eq!(result.unwrap_err(), "it cannot be started: bad");
        assert_eq!(calls, 1);
    }

    #[test]
    fn patience_ends() {
        let hasty = limits(Duration::ZERO, 1 << 20);
        let result = settle(2, hasty, |_, _| Err::<Range<usize>, _>(fault(Kind::Trap)));
        assert!(result.unwrap_err().contains("calls on one batch took"));
    }

    #[test]
    fn patience_with_calls_that_succeed_ends_as_well() {
        let deadline = Duration::from_micros(10);
        let result = settle(300, limits(deadline, 1 << 20), |range, _| {
            if range.contains(&299) {
                return Err(fault(Kind::Trap));
            }
            let began = Instant::now();
            while began.elapsed() < PATIENCE * deadline {}
            Ok(range)
        });
        assert!(result.unwrap_err().contains("calls on one batch took"));
    }

    #[test]
    fn answers_are_kept_within_a_limit() {
        let run = |output| {
            settle(16, limits(Duration::from_secs(10), output), |range, _| {
                if range.contains(&5) {
                    return Err(fault(Kind::Trap));
                }
                Ok(range)
            })
        };
        // All rows but the bad one.
        assert_eq!(run(15).unwrap().len(), 5);
        assert!(run(14).unwrap_err().contains("more than 14 bytes"));
    }

    #[test]
    fn failures_that_only_large_batches_show_blame_nobody() {
        let result = settle(300, ample(), |range, _| {
            if range.len() > 10 {
                Err(fault(Kind::Memory))
            } else {
                Ok(range)
            }
        });
        assert!(result.unwrap().iter().all(|(_, answer)| answer.is_ok()));
    }

    #[test]
    fn the_sample_is_spread() {
        assert_eq!(
            sampled_rows(8).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7]
        );
        let sample: Vec<_> = sampled_rows(300).collect();
        assert_eq!(sample, [18, 56, 93, 131, 168, 206, 243, 281]);
    }
}
