//! The fate of failed rows: the policy plugin decides, within bounds of the host.

mod limit;

use std::sync::Arc;
use std::time::Duration;

use crate::chunk::{DeadLetter, Settled};
use crate::plugin::{Chain, Comparison, DEFAULT_QUEUE, Decision};
use crate::row::{Batch, Drop, Embeddings, Failure};

pub use self::limit::{DeadLetterLimit, Tally, TooManyDeadLetters, Window};

/// Maximum number of attempts for a row within one chunk.
pub const MAX_ATTEMPTS: u32 = 5;

/// Maximum total delay of the retries of a chunk: its transaction may be open meanwhile.
pub const MAX_DELAY: Duration = Duration::from_secs(5);

/// The pipeline must stop, and nothing of the chunk is written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Halted {
    /// Message of the policy, or the fault of a plugin.
    pub message: String,
}

/// A failed row that is to be tried again.
#[derive(Debug)]
pub struct Retry {
    /// The last failure.
    pub failure: Failure,
    /// Time to wait before the next attempt.
    pub after: Duration,
}

/// The rest of [`MAX_DELAY`].
#[derive(Debug)]
pub struct Budget(Duration);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_DELAY)
    }
}

/// Carries out decisions within the bounds of the host; returns the rows to try again.
///
/// # Errors
/// If the policy halts the pipeline.
pub fn carry_out(
    failures: Vec<Failure>,
    decisions: Vec<Decision>,
    settled: &mut Settled,
    budget: &mut Budget,
) -> Result<Vec<Retry>, Halted> {
    let mut retries = Vec::new();
    for (failure, decision) in failures.into_iter().zip(decisions) {
        match decision {
            Decision::Retry(after) if failure.attempt < MAX_ATTEMPTS && after <= budget.0 => {
                budget.0 -= after;
                retries.push(Retry { failure, after });
            }
            Decision::Retry(_) => settled.dead_letters.push(DeadLetter {
                failure,
                queue: DEFAULT_QUEUE.into(),
            }),
            Decision::DeadLetter(queue) => settled.dead_letters.push(DeadLetter { failure, queue }),
            Decision::Drop => {
                settled.drops.push(Drop {
                    row: failure.row,
                    stage: failure.stage,
                    reason: failure.code,
                });
            }
            Decision::Halt(message) => {
                let message = format!(
                    "halted by the policy: {message} ({} {})",
                    failure.stage.as_str(),
                    failure.code
                );
                return Err(Halted { message });
            }
        }
    }
    Ok(retries)
}

/// The decisions of a policy, and what its shadow would have decided differently.
pub type Decided = (Vec<Decision>, Vec<Comparison>);

/// Asks the policy plugin of a chain about failed rows. Worker threads hold its instances; a writer
/// knows them only by this trait.
pub trait Policy: Send + Sync {
    /// Asks about `failures` of `batch`; returns one decision for each.
    ///
    /// # Errors
    /// If no worker is left: the pipeline halts.
    fn decide(
        &self,
        chain: &Arc<Chain>,
        batch: Batch,
        failures: Vec<Failure>,
    ) -> impl Future<Output = Result<Decided, Halted>> + Send;
}

/// Asks `policy` about rows of `batch` that failed after they were prepared, and carries its
/// decisions out; returns the rows to try again.
///
/// # Errors
/// If the policy halts the pipeline.
pub async fn consult(
    policy: &impl Policy,
    chain: &Arc<Chain>,
    batch: &Batch,
    failures: Vec<Failure>,
    settled: &mut Settled,
    budget: &mut Budget,
) -> Result<Vec<Retry>, Halted> {
    let (subset, reindexed) = subset(batch, &failures);
    let (decisions, comparisons) = policy.decide(chain, subset, reindexed).await?;
    settled.comparisons.extend(comparisons);
    carry_out(failures, decisions, settled, budget)
}

/// The rows of `failures` as a batch of their own, to be sent to a worker.
fn subset(batch: &Batch, failures: &[Failure]) -> (Batch, Vec<Failure>) {
    let mut subset = Batch {
        schema: Arc::clone(&batch.schema),
        embeddings: Embeddings::default(),
        ..Batch::default()
    };
    let mut reindexed = Vec::with_capacity(failures.len());
    for (index, failure) in (0u32..).zip(failures) {
        subset
            .keys
            .extend(batch.keys.get(failure.row as usize).cloned());
        subset.values.extend_from_slice(batch.row(failure.row));
        reindexed.push(Failure {
            row: index,
            ..failure.clone()
        });
    }
    (subset, reindexed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Schema, Stage, Value};

    fn failure(row: u32, attempt: u32) -> Failure {
        Failure {
            row,
            stage: Stage::Write,
            code: "SQL_23514".into(),
            message: "no".into(),
            field: None,
            plugin: None,
            attempt,
        }
    }

    /// The fate of one failure on its n-th attempt, in words.
    fn fate(attempt: u32, decision: Decision, budget: &mut Budget) -> String {
        let mut settled = Settled::default();
        match carry_out(
            vec![failure(0, attempt)],
            vec![decision],
            &mut settled,
            budget,
        ) {
            Err(halted) => format!("halt: {halted}"),
            Ok(retries) => match (
                retries.as_slice(),
                settled.dead_letters.as_slice(),
                settled.drops.as_slice(),
            ) {
                ([retry], [], []) => format!("retry after {:?}", retry.after),
                ([], [letter], []) => format!("letter in {}", letter.queue),
                ([], [], [drop]) => format!("drop as {}", drop.reason),
                other => format!("{other:?}"),
            },
        }
    }

    #[test]
    fn decisions_are_carried_out_within_bounds() {
        let seconds = Duration::from_secs;
        for (attempt, decision, expected) in [
            (1, Decision::DeadLetter("q".into()), "letter in q"),
            (1, Decision::Drop, "drop as SQL_23514"),
            (
                1,
                Decision::Halt("enough".into()),
                "halt: halted by the policy: enough (write SQL_23514)",
            ),
            (1, Decision::Retry(seconds(0)), "retry after 0ns"),
            (
                MAX_ATTEMPTS - 1,
                Decision::Retry(MAX_DELAY),
                "retry after 5s",
            ),
            (
                MAX_ATTEMPTS,
                Decision::Retry(seconds(0)),
                "letter in default",
            ),
            (
                1,
                Decision::Retry(MAX_DELAY + Duration::from_nanos(1)),
                "letter in default",
            ),
        ] {
            assert_eq!(fate(attempt, decision, &mut Budget::default()), expected);
        }
    }

    #[test]
    fn the_retries_of_a_chunk_share_one_budget() {
        let mut budget = Budget::default();
        let mut fates = || fate(1, Decision::Retry(Duration::from_secs(2)), &mut budget);
        assert_eq!(
            [fates(), fates(), fates()],
            ["retry after 2s", "retry after 2s", "letter in default"]
        );
    }

    #[test]
    fn rows_before_a_halt_are_not_settled_after_it() {
        let (mut settled, mut budget) = (Settled::default(), Budget::default());
        let decisions = vec![Decision::Drop, Decision::Halt("no".into()), Decision::Drop];
        let failures = vec![failure(0, 1), failure(1, 1), failure(2, 1)];
        assert!(carry_out(failures, decisions, &mut settled, &mut budget).is_err());
        assert_eq!(settled.drops.len(), 1);
    }

    #[test]
    fn a_worker_gets_the_rows_that_failed_and_no_others() {
        let column = crate::row::Column {
            name: "f".into(),
            field_type: None,
        };
        let batch = Batch {
            schema: Schema {
                columns: vec![column],
                embeddings: Vec::new(),
            }
            .into(),
            keys: vec!["a".into(), "b".into(), "c".into()],
            values: (0..3).map(Value::Integer).collect(),
            ..Batch::default()
        };
        let (subset, failures) = subset(&batch, &[failure(2, 1), failure(0, 3)]);
        assert_eq!(subset.keys, ["c", "a"]);
        assert_eq!(
            (subset.row(0), subset.row(1)),
            (&[Value::Integer(2)][..], &[Value::Integer(0)][..])
        );
        let known: Vec<_> = failures
            .iter()
            .map(|failure| (failure.row, failure.attempt))
            .collect();
        assert_eq!(known, [(0, 1), (1, 3)]);
    }
}
