//! Writes a chunk and everything that belongs to it in one transaction.
//!
//! 1. Look the keys up: digest, and whether the tables have the row, as far as the run does not
//!    assume it (`assumed`). Unchanged rows end here.
//! 2. Write the others, table by table, and their digests (`rows`).
//! 3. If a value is to blame for an error, find the rows to blame in savepoints: by the lines that
//!    `COPY` names (`parts`), and by halving (`isolate`). After such a chunk the next ones are written
//!    in savepoints from the beginning.
//! 4. Wait for the chunk's turn (`commit_order`): other writers have the chunks before it.
//! 5. Try refused rows again that may have waited for a row of these (`early`).
//! 6. Write dead letters.
//! 7. Move the checkpoint, with the fence: if no row has that epoch, nothing is committed
//!    (`progress`). Counts and the notification that is owed are part of that statement.
//!
//! Before its turn a chunk sees the tables without the chunks before it. So a row that is refused
//! then is tried again in turn, and any other error is discarded, and the chunk written again; a
//! chunk that shares a key with an earlier one is not even begun before its turn; and one that blocks
//! another transaction gives way.

mod assumed;
mod commit_order;
mod delete;
mod digests;
mod early;
mod evidence;
mod isolate;
mod judge;
mod naming;
mod outcomes;
mod part_sizes;
mod parts;
mod progress;
mod recorder;
mod rollback;
mod rows;
mod tables;
mod turns;
mod wave;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Postgres, SqlStr};

pub use self::assumed::Assumed;
pub use self::commit_order::{LaterChunk, Turn};
use self::evidence::Believed;
pub use self::evidence::Evidence;
use self::outcomes::Outcomes;
use self::progress::Fates;
use self::recorder::Recorder;
pub use self::rollback::CommitError;
use self::rollback::{Rollback, WriteMode};
use self::rows::ChunkWriter;
use super::again::Letters;
use super::connect::Store;
use super::error::StoreError;
use super::run::{Checkpoint, Counts, Run};
use super::settings::begin;
use super::statements::Statements;
use crate::chunk::Prepared;
use crate::failpoints;
use crate::plugin::Comparison;
use crate::policy::{DeadLetterLimit, Policy};
use crate::route::Targets;

/// Interval at which a chunk that waits for its turn checks if it blocks another transaction. The
/// server takes a second to look for a deadlock, which would be far too long for each chunk.
const BLOCK_CHECK: Duration = Duration::from_millis(100);

/// Maximum number of times that a chunk is written again at once after a conflict with another
/// transaction.
const CONFLICTS: u32 = 3;

/// Proof that a chunk is durable. Only a [`Writer`] makes one.
#[derive(Debug)]
#[must_use = "a commit may release a notification"]
pub struct Committed {
    totals: Totals,
    comparisons: Vec<Comparison>,
}

/// Result of writing a chunk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Rows by fate.
    pub rows: Counts,
    /// Time in statements before the commit, without the wait for the turn.
    pub writing: Duration,
    /// Part of `writing` in the statement that only begins the transaction: one round trip.
    pub beginning: Duration,
    /// Time in the commit itself.
    pub committing: Duration,
    /// True if it blocked another transaction before its turn and was written again.
    pub gave_way: bool,
    /// Dead letters among the latest rows, 0 to 1.
    pub dead_letter_share: f64,
}

impl Committed {
    /// Counts and times of the chunk.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What plugins on trial would have done differently.
    #[must_use]
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }
}

/// Writes the chunks of one partition, in order, over one connection.
#[derive(Debug)]
pub struct Writer {
    connection: PoolConnection<Postgres>,
    begin: SqlStr,
    copies: bool,
    buffer: Vec<u8>,
    /// One for each kind of rows.
    statements: Vec<Statements>,
    recorder: Recorder,
    evidence: Evidence,
}

impl Writer {
    /// Takes a connection for the partition.
    ///
    /// # Errors
    /// If no connection is available.
    pub async fn open(
        store: &Store,
        targets: &Targets,
        run: &Run,
        checkpoint: &Checkpoint,
        notify: Option<String>,
        limit: Arc<DeadLetterLimit>,
        evidence: Evidence,
    ) -> Result<Self, StoreError> {
        let statements: Vec<Statements> = targets.all_kinds().map(Statements::new).collect();
        let rules = statements.iter().flat_map(|it| it.rules.clone()).collect();
        Ok(Self {
            connection: store.pool.acquire().await?,
            begin: begin(store, targets),
            // After the connection, which has to be among those that are open.
            copies: store.copies_at_full_speed(),
            buffer: Vec::new(),
            statements,
            recorder: Recorder::new(targets, run, checkpoint, notify, limit, rules),
            evidence,
        })
    }

    /// Writes a chunk and commits it in its turn. `policy` decides about rows that the database
    /// refuses.
    ///
    /// # Errors
    /// If the chunk was not committed: nothing of it is written.
    pub async fn commit(
        &mut self,
        prepared: &Prepared,
        policy: &impl Policy,
        mut turn: Turn,
    ) -> Result<Committed, CommitError> {
        if turn.waits() {
            turn.wait().await?;
        }
        let (mut conflicts, mut gave_way) = (0, false);
        let mut mode = match self.evidence.parts().is_wary() {
            true => WriteMode::Isolating,
            false => WriteMode::Trusting,
        };
        loop {
            let in_turn = turn.has_come();
            let rollback = match self.attempt(prepared, policy, &mut turn, mode).await {
                Ok(mut committed) => {
                    turn.pass();
                    committed.totals.gave_way = gave_way;
                    return Ok(committed);
                }
                Err(rollback) => rollback,
            };
            mode = match (rollback, mode) {
                (Rollback::Row, WriteMode::Trusting) => WriteMode::Isolating,
                (rollback, _) if !in_turn => {
                    tracing::debug!(position = prepared.position, undone = %rollback, "written again in turn");
                    gave_way = matches!(rollback, Rollback::InTheWay);
                    // Makes the server roll back now, and not with the next statement. If the
                    // server is away, that statement will fail.
                    drop(self.connection.ping().await);
                    turn.wait().await?;
                    match rollback {
                        Rollback::Row => WriteMode::Isolating,
                        Rollback::RowAtCommit | Rollback::InTheWay | Rollback::Error(_) => {
                            WriteMode::Trusting
                        }
                    }
                }
                // A deferred constraint is checked only by the commit.
                (Rollback::RowAtCommit, WriteMode::Trusting | WriteMode::Isolating) => {
                    WriteMode::Immediate
                }
                (Rollback::Error(CommitError::Store(StoreError::Conflict(_))), mode)
                    if conflicts < CONFLICTS =>
                {
                    conflicts += 1;
                    mode
                }
                (Rollback::Row | Rollback::RowAtCommit, _) => {
                    let message = "a row was refused at commit, but by no statement before it";
                    return Err(StoreError::Failed(message.into()).into());
                }
                (Rollback::InTheWay, mode) => mode,
                (Rollback::Error(error), _) => return Err(error),
            };
        }
    }

    /// Writes the rows of dead letters once more, and closes those whose rows are written. The
    /// writer is of no other use.
    ///
    /// # Errors
    /// If nothing was written.
    pub async fn commit_again(
        mut self,
        prepared: &Prepared,
        letters: Letters,
        policy: &impl Policy,
    ) -> Result<Committed, CommitError> {
        self.recorder.try_again(letters);
        // It moves no checkpoint.
        let (turn, _) = Turn::new(LaterChunk::after(0), false);
        self.commit(prepared, policy, turn).await
    }

    async fn attempt(
        &mut self,
        prepared: &Prepared,
        policy: &impl Policy,
        turn: &mut Turn,
        mode: WriteMode,
    ) -> Result<Committed, Rollback> {
        let (statements, started) = (of_kind(&self.statements, prepared)?, Instant::now());
        let begin = self.connection.begin_with(mode.begin(&self.begin));
        let transaction = begin.await?;
        let beginning = started.elapsed();
        let mut chunk = ChunkWriter {
            transaction,
            copies: self.copies,
            buffer: &mut self.buffer,
            statements,
            pipeline: self.recorder.pipeline(),
            refused: self.recorder.refused().clone(),
            evidence: &self.evidence,
            believed: Believed::new(),
            outcomes: Outcomes::new(statements.tables.len(), prepared.batch.keys.len()),
            indexes: HashMap::new(),
            is_begun: mode != WriteMode::Trusting,
            in_turn: turn.has_come(),
        };
        failpoints::point!("write.begin");
        let mut written = chunk.write_rows(prepared, mode).await?;
        let mut writing = started.elapsed();
        let sequence = chunk.wait_for(turn).await?;
        let resumed = Instant::now();
        chunk.try_early(prepared, &mut written).await?;
        let settled = chunk.resolve(prepared, &mut written, policy).await?;
        failpoints::point!("write.rows");
        let fates = Fates::of(prepared, written.rows, settled)?;
        let recorder = &self.recorder;
        let recent = recorder
            .record(&mut chunk.transaction, prepared, &fates, sequence)
            .await?;
        failpoints::point!("commit.before");
        writing += resumed.elapsed();
        let committing = Instant::now();
        let commit = chunk.transaction.commit();
        commit.await.map_err(Rollback::of_commit)?;
        failpoints::point!("commit.after");
        self.evidence
            .committed(chunk.believed, &fates.rows, written.is_refused);
        let dead_letter_share = recent.total().share();
        self.recorder.committed(prepared, recent);
        Ok(Committed {
            totals: Totals {
                rows: fates.rows,
                writing,
                beginning,
                committing: committing.elapsed(),
                gave_way: false,
                dead_letter_share,
            },
            comparisons: fates.comparisons,
        })
    }
}

/// The statements for the kind of a chunk's rows.
fn of_kind<'s>(all: &'s [Statements], prepared: &Prepared) -> Result<&'s Statements, StoreError> {
    let error = "a chunk has rows of a kind that has no tables";
    let found = all.get(prepared.units.kind());
    found.ok_or_else(|| StoreError::Failed(error.into()))
}

impl ChunkWriter<'_> {
    /// Waits until every chunk before this one is committed, and returns how many; gives up if another transaction is
    /// blocked by this one meanwhile. That may be an earlier chunk: then each would wait for the
    /// other, and the server sees only one of the two waits.
    async fn wait_for(&mut self, turn: &mut Turn) -> Result<i64, Rollback> {
        loop {
            if let Ok(result) = tokio::time::timeout(BLOCK_CHECK, turn.wait()).await {
                return Ok(result?);
            }
            let blocks: bool = sqlx::query_scalar(
                "select exists (select from pg_locks where not granted
                     and pg_backend_pid() = any(pg_blocking_pids(pid)))",
            )
            .fetch_one(&mut *self.transaction)
            .await?;
            if blocks {
                return Err(Rollback::InTheWay);
            }
        }
    }
}
