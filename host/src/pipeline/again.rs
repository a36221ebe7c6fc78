//! Rows that are prepared once more, apart from the stream that they came in: for a repair, and
//! for dead letters that may succeed now.
//!
//! At the end of a run, after missing rows are gone, the rows that a unique value or a reference kept
//! out are tried again ([`crate::store::again`]): from the bytes that came, with today's schema,
//! plugins and tables, in chunks of their own. As long as some of them succeed, others may.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::prepare::Pipeline;
use crate::chunk::{Prepared, Received};
use crate::error::PipelineError;
use crate::failpoints;
use crate::partition::RollOver;
use crate::policy::{DeadLetterLimit, Tally, TooManyDeadLetters, Window};
use crate::source::{Chunk, Units};
use crate::store::again::{Direction, Origin, without_waiting};
use crate::store::run::Run;
use crate::workers::{WorkerGone, Workers};

/// Maximum number of times that all entries are tried. Rows that wait for each other in one
/// direction of their order need one; those in no order, about one for each thousand.
const ROUNDS: usize = 64;

/// Rows that are tried again were judged when they came, or are judged afterwards.
const NO_LIMIT: f64 = 100.0;

impl Pipeline {
    /// Tries the dead letters of a complete run, or of one that rolls over, again that may succeed now, and in a feed of changes
    /// those of earlier runs.
    pub(super) async fn try_again(
        &self,
        run: &Run,
        ended: Result<(), PipelineError>,
        workers: &Workers,
        roll_over: &RollOver,
        stop: &CancellationToken,
    ) -> Result<(), PipelineError> {
        ended?;
        if !roll_over.is_due() && !self.all_complete(run).await? {
            return Ok(());
        }
        failpoints::point!("again.before");
        let origins: &[Origin] = match self.dataset.continues {
            true => &[Origin::EarlierRuns, Origin::ThisRun],
            false => &[Origin::ThisRun],
        };
        for round in 0..ROUNDS {
            // Rows that wait for one behind them are in the right order backwards.
            let direction = match round % 2 {
                0 => Direction::Forward,
                _ => Direction::Backward,
            };
            let mut written = 0;
            for origin in origins {
                written += self
                    .try_all(run, (*origin, direction), workers, stop)
                    .await?;
            }
            if written == 0 || stop.is_cancelled() {
                break;
            }
        }
        failpoints::point!("again.done");
        if stop.is_cancelled() {
            return Ok(());
        }
        self.judge_waiting(run).await
    }

    /// Rows that another one kept out are not judged when they come, so they are judged here. The
    /// run has come to its end in any case: in a feed of changes, what they wait for may come in the
    /// next one.
    async fn judge_waiting(&self, run: &Run) -> Result<(), PipelineError> {
        let store = &self.host.store;
        let totals = self.host.retrying(|| store.totals(run.id)).await?;
        let letters = totals
            .codes
            .iter()
            .filter(|(fate, ..)| fate == "dead_lettered");
        let codes: Vec<(String, i64)> = letters
            .map(|(_, _, code, rows)| (code.clone(), i64::try_from(*rows).unwrap_or(i64::MAX)))
            .collect();
        let tally = Tally {
            rows: totals.rows.received,
            dead_letters: totals.rows.dead_lettered,
        };
        if without_waiting(tally, &codes) == tally {
            return Ok(());
        }
        let percent = self.config.dead_letter_limit_percent;
        let limit = DeadLetterLimit::new(percent, Window::default());
        match limit.exceeded(&Window::default(), tally) {
            Some(excess) => Err(TooManyDeadLetters::of_run(excess, &codes).into()),
            None => Ok(()),
        }
    }

    /// Tries all entries of an origin once; returns the number of rows that were written.
    async fn try_all(
        &self,
        run: &Run,
        (origin, direction): (Origin, Direction),
        workers: &Workers,
        stop: &CancellationToken,
    ) -> Result<u64, PipelineError> {
        let store = &self.host.store;
        // Any will do: the whole run is fenced.
        let Some(checkpoint) = run.partitions.first() else {
            return Ok(0);
        };
        let (mut after, mut written) = (None, 0);
        while !stop.is_cancelled() {
            let attempt = async || -> Result<Option<(i64, u64)>, PipelineError> {
                let (letters, rows) = store.letters(run, origin, direction, after).await?;
                let Some(last) = letters.ids.last().copied() else {
                    return Ok(None);
                };
                let kind = letters.kind.as_deref();
                let Some(rows) = Units::of_letters(&self.dataset.format, kind, rows) else {
                    // What the source sends now is something else.
                    return Ok(Some((last, 0)));
                };
                let prepared = self.prepare_again(workers, rows, "").await?;
                let writer = self.open_writer(run, checkpoint, NO_LIMIT).await?;
                let committed = writer.commit_again(&prepared, letters, workers).await?;
                failpoints::point!("again.committed");
                let rows = committed.totals().rows;
                Ok(Some((last, rows.inserted + rows.updated + rows.unchanged)))
            };
            match self.host.retrying(attempt).await? {
                None => break,
                Some((last, rows)) => (after, written) = (Some(last), written + rows),
            }
        }
        Ok(written)
    }

    /// Prepares undecoded rows with today's schema, plugins and tables, as a chunk that leaves its
    /// partition at `position`.
    pub(super) async fn prepare_again(
        &self,
        workers: &Workers,
        units: Units,
        position: &str,
    ) -> Result<Prepared, PipelineError> {
        let gone = |_| PipelineError::Broken(WorkerGone.to_string());
        // The caller holds no more than these rows.
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await;
        let received = Received {
            bytes: units.bytes(),
            chunk: Chunk {
                units,
                position: position.to_owned(),
            },
            permit: permit.map_err(|error| PipelineError::Broken(error.to_string()))?,
            chain: self.rollout.chain(),
        };
        let prepared = workers.prepare(received);
        let prepared = prepared.map_err(|gone| PipelineError::Broken(gone.to_string()))?;
        Ok(prepared.await.map_err(gone)??)
    }
}
