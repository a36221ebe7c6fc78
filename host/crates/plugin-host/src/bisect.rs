//! Finds the rows on which a plugin fails, and gets answers for all others.
//!
//! A batch that fails is halved until each bad row is alone. If one half succeeds, the other
//! one must be bad, and is halved without calling it as a whole; so one bad row among 300 costs
//! at most 19 calls, of which at most 10 fail.
//!
//! A plugin that fails on most rows is broken. The search establishes that without a call for
//! every row, which would take minutes if each call misses its deadline. A plugin is broken if
//!
//! * the batch has 8 rows or more, both halves of a part of it fail, and so do more than half of
//!   8 sample rows, evenly spread over the batch and called alone,
//! * the batch has 8 rows or more, and more than half of them turn out to be bad one by one, or
//! * the calls for one batch take more than 60 deadlines in total.
//!
//! Answers are kept until all rows have one, so the limit for the answer of one call applies to
//! all of them together.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::call_error::{CallError, Kind};
use super::limits::Limits;

/// Minimum number of rows in a batch for "most of them" to be evidence.
const MAJORITY_FROM: usize = 8;

/// Number of rows called alone as a sample.
const SAMPLE: usize = 8;

/// Maximum time for a batch after its first call has failed, in deadlines. Three rows among 300
/// that miss the deadline take up to 28; the calls that succeed take one in total, if their time
/// is proportional to their rows.
const PATIENCE: u32 = 60;

/// Purpose of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its answer is used.
    Answer,
    /// Only success or failure matters: the rows will be presented again.
    Sample,
}

/// Ranges of rows in order: the rows of a successful call with its answer, or a single bad row
/// with the reason why the plugin failed on it.
pub(super) type RowAnswers<T> = Vec<(Range<usize>, Result<T, CallError>)>;

struct Search<P, T> {
    probe: P,
    rows: usize,
    answers: RowAnswers<T>,
    bad_rows: usize,
    took: Duration,
    patience: Duration,
    /// Bytes of all answers so far.
    kept: usize,
    /// Maximum of `kept`.
    limit: usize,
}

/// Gets an answer or a failure for each row. `probe` calls the plugin with a range of the rows.
///
/// # Errors
/// A message if the plugin is broken.
pub(super) fn call_all<T: Answer>(
    rows: usize,
    limits: Limits,
    mut probe: impl FnMut(Range<usize>, Purpose) -> Result<T, CallError>,
) -> Result<RowAnswers<T>, String> {
    let began = Instant::now();
    let fault = match probe(0..rows, Purpose::Answer) {
        Ok(answer) => return Ok(vec![(0..rows, Ok(answer))]),
        Err(fault) => fault,
    };
    let mut search = Search {
        probe,
        rows,
        answers: Vec::new(),
        bad_rows: 0,
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
    search.answers.sort_by_key(|(range, _)| range.start);
    Ok(search.answers)
}

impl<P, T: Answer> Search<P, T>
where
    P: FnMut(Range<usize>, Purpose) -> Result<T, CallError>,
{
    /// Bisects a range of more than one row that is known to fail as a whole.
    fn narrow(&mut self, whole: Range<usize>) -> Result<(), String> {
        let mut sampled = false;
        let mut bad = vec![whole];
        while let Some(range) = bad.pop() {
            let middle = range.start + range.len() / 2;
            let (left, right) = (range.start..middle, middle..range.end);
            let left_fails = !self.try_all(left.clone())?;
            // A single row is called in any case: its own failure becomes its message.
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

    /// Calls the plugin with these rows; returns true if it succeeds. A single row that fails
    /// is a bad row.
    fn try_all(&mut self, range: Range<usize>) -> Result<bool, String> {
        let began = Instant::now();
        match (self.probe)(range.clone(), Purpose::Answer) {
            Ok(answer) => {
                self.called(None, began)?;
                self.keep(&answer)?;
                self.answers.push((range, Ok(answer)));
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

    /// Calls sample rows alone, to find out if single rows are to blame at all.
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
                        "it failed on most of the rows tried alone; last failure: {fault}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn blame(&mut self, row: usize, fault: CallError) -> Result<(), String> {
        self.bad_rows += 1;
        let rows = self.rows;
        if rows >= MAJORITY_FROM && 2 * self.bad_rows > rows {
            return Err(format!(
                "it failed on most of {rows} rows; last failure: {fault}"
            ));
        }
        self.answers.push((row..row + 1, Err(fault)));
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
            let last = fault.map_or(String::new(), |fault| format!("; last failure: {fault}"));
            return Err(format!("its calls for one batch took {took:.1} s{last}"));
        }
        Ok(())
    }

    fn keep(&mut self, answer: &T) -> Result<(), String> {
        self.kept = self.kept.saturating_add(answer.bytes());
        if self.kept > self.limit {
            let limit = self.limit;
            return Err(format!(
                "its answers for one batch exceed {limit} bytes (`plugins.limits.output`)"
            ));
        }
        Ok(())
    }
}

/// Sample rows, evenly spread: each in the middle of its share.
fn sampled_rows(rows: usize) -> impl Iterator<Item = usize> {
    (0..SAMPLE).map(move |i| (2 * i + 1) * rows / (2 * SAMPLE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// One byte per row.
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

    /// Limits that are never reached.
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
        let result = call_all(rows, ample(), |range, _| {
            calls += 1;
            assert!(!range.is_empty());
            if range.clone().any(&is_bad) {
                failed += 1;
                return Err(fault(Kind::Trap));
            }
            Ok(range)
        });
        let kinds = |answers: RowAnswers<Range<usize>>| {
            let each = |(range, answer): (Range<usize>, Result<Range<usize>, CallError>)| {
                assert!(answer.as_ref().is_ok_and(|its| *its == range) || range.len() == 1);
                let kind = answer.err().map(|fault| fault.kind);
                range.map(move |row| kind.map_or(Ok(row), Err))
            };
            answers.into_iter().flat_map(each).collect()
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
        let result = call_all(300, ample(), |_, _| {
            calls += 1;
            Err::<Range<usize>, _>(fault(Kind::Unusable))
        });
        assert_eq!(result.unwrap_err(), "it cannot be started: bad");
        assert_eq!(calls, 1);
    }

    #[test]
    fn patience_ends() {
        let hasty = limits(Duration::ZERO, 1 << 20);
        let result = call_all(2, hasty, |_, _| Err::<Range<usize>, _>(fault(Kind::Trap)));
        assert!(result.unwrap_err().contains("calls for one batch took"));
    }

    #[test]
    fn patience_with_calls_that_succeed_ends_as_well() {
        let deadline = Duration::from_micros(10);
        let result = call_all(300, limits(deadline, 1 << 20), |range, _| {
            if range.contains(&299) {
                return Err(fault(Kind::Trap));
            }
            let began = Instant::now();
            while began.elapsed() < PATIENCE * deadline {}
            Ok(range)
        });
        assert!(result.unwrap_err().contains("calls for one batch took"));
    }

    #[test]
    fn answers_are_kept_within_a_limit() {
        let run = |output| {
            call_all(16, limits(Duration::from_secs(10), output), |range, _| {
                if range.contains(&5) {
                    return Err(fault(Kind::Trap));
                }
                Ok(range)
            })
        };
        // All rows but the bad one.
        assert_eq!(run(15).unwrap().len(), 5);
        assert!(run(14).unwrap_err().contains("exceed 14 bytes"));
    }

    #[test]
    fn failures_of_large_batches_alone_blame_no_row() {
        let result = call_all(300, ample(), |range, _| {
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
