//! A chunk and everything that belongs to it, in one transaction.
//!
//! 1. Look the keys up: digest, and whether the tables have the row. Unchanged rows end here.
//! 2. Write the others, table by table, and their digests (`rows`).
//! 3. Wait for the chunk's turn (`turn`): other writers have the chunks before it.
//! 4. If a value is to blame for an error, go back and halve the rows in savepoints until only
//!    the guilty ones are left out (`isolate`).
//! 5. Dead letters.
//! 6. Move the checkpoint, with the fence: no row of that epoch, no commit (`progress`). Counts and
//!    what the API server is owed go with it.
//!
//! Before its turn a chunk sees the tables without the chunks before it. So what goes wrong then
//! is not believed, but tried again in turn; a chunk that has a key of theirs is not even begun
//! before its turn; and one that holds something that anybody waits for gives way.

mod commit_order;
mod delete;
mod digests;
mod isolate;
mod progress;
mod rollback;
mod rows;

pub use self::rollback::CommitError;
use self::rollback::{Rollback, WriteMode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Postgres, SqlStr};

use self::progress::{Fates, move_checkpoint};
use self::rows::ChunkWriter;
use super::connect::Store;
use super::error::{Blame, StoreError, blame};
use super::run::{Checkpoint, Counts, Place, Run};
use super::statements::Statements;
use super::{dead_letter, ledger, reconcile};
use crate::chunk::Prepared;
use crate::failpoints;
use crate::plugin::{Chain, Comparison};
use crate::policy::Policy;
use crate::route::Targets;

pub use self::commit_order::{LaterChunk, Turn};

/// How often a chunk that waits for its turn looks whether it is in somebody's way. As long as
/// the server itself takes to look for a deadlock would be far too long for each.
const LOOK_ROUND: Duration = Duration::from_millis(100);

/// How often a chunk is written anew at once after a conflict with somebody else's transaction.
const CONFLICTS: u32 = 3;

/// Proof that a chunk is durable. Only a [`Writer`] makes one.
#[derive(Debug)]
#[must_use = "a commit may release a notification"]
pub struct Committed {
    totals: Totals,
    comparisons: Vec<Comparison>,
}

/// What a chunk came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Rows by fate.
    pub rows: Counts,
    /// Time in statements before the commit, without waiting for the turn.
    pub writing: Duration,
    /// Of that, in the one that only begins the transaction: a round trip.
    pub beginning: Duration,
    /// Time in the commit itself.
    pub committing: Duration,
    /// It was in the way of another transaction before its turn, and was written again.
    pub gave_way: bool,
}

impl Committed {
    /// What the chunk came to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What new versions of plugins would have done otherwise.
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
    statements: Statements,
    run: Run,
    partition: String,
    epoch: i64,
    notify: Option<String>,
    /// Whether to note which keys were met.
    notes_keys: bool,
    /// The plugins of the last chunk that was committed: their versions are known.
    met: Option<Arc<Chain>>,
}
impl Writer {
    /// Takes a connection for the partition.
    ///
    /// # Errors
    /// If there is none to be had.
    pub async fn open(
        store: &Store,
        targets: &Targets,
        run: &Run,
        checkpoint: &Checkpoint,
        notify: Option<String>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            connection: store.pool.acquire().await?,
            begin: store.begin_statement(),
            copies: store.copies,
            buffer: Vec::new(),
            statements: Statements::new(targets),
            run: run.clone(),
            partition: checkpoint.partition.clone(),
            epoch: checkpoint.epoch,
            notify,
            notes_keys: targets.missing.is_sought(),
            met: None,
        })
    }

    /// Writes a chunk and commits it in its turn. `policy` asks the policy about rows that the
    /// database refuses.
    ///
    /// # Errors
    /// If nothing of the chunk was written.
    pub async fn commit(
        &mut self,
        prepared: &Prepared,
        policy: &impl Policy,
        mut turn: Turn,
    ) -> Result<Committed, CommitError> {
        if turn.waits() {
            turn.come().await?;
        }
        let (mut care, mut conflicts, mut gave_way) = (WriteMode::Trusting, 0, false);
        loop {
            let in_turn = turn.has_come();
            let undone = match self.attempt(prepared, policy, &mut turn, care).await {
                Ok(mut committed) => {
                    turn.pass();
                    committed.totals.gave_way = gave_way;
                    return Ok(committed);
                }
                Err(undone) => undone,
            };
            care = match (undone, care) {
                (undone, _) if !in_turn => {
                    tracing::debug!(position = prepared.position, %undone, "written again in turn");
                    gave_way = matches!(undone, Rollback::InTheWay);
                    // Has the server undo it now, and not with the next statement. If it is
                    // away, that will say so.
                    drop(self.connection.ping().await);
                    turn.come().await?;
                    // A row that is refused is most often to blame in turn as well; to look for
                    // it begins with all rows at once.
                    match undone {
                        Rollback::Row => WriteMode::Isolating,
                        Rollback::RowAtCommit | Rollback::InTheWay | Rollback::Error(_) => {
                            WriteMode::Trusting
                        }
                    }
                }
                (Rollback::Row, WriteMode::Trusting) => WriteMode::Isolating,
                // A deferred constraint speaks up only now.
                (Rollback::RowAtCommit, WriteMode::Trusting | WriteMode::Isolating) => {
                    WriteMode::Immediate
                }
                (Rollback::Error(CommitError::Store(StoreError::Conflict(_))), care)
                    if conflicts < CONFLICTS =>
                {
                    conflicts += 1;
                    care
                }
                (Rollback::Row | Rollback::RowAtCommit, _) => {
                    let message = "a row is refused at commit, and by no statement before it";
                    return Err(StoreError::Failed(message.into()).into());
                }
                (Rollback::InTheWay, care) => care,
                (Rollback::Error(error), _) => return Err(error),
            };
        }
    }

    async fn attempt(
        &mut self,
        prepared: &Prepared,
        policy: &impl Policy,
        turn: &mut Turn,
        care: WriteMode,
    ) -> Result<Committed, Rollback> {
        let started = Instant::now();
        let transaction = self.connection.begin_with(self.begin.clone()).await?;
        let beginning = started.elapsed();
        let mut chunk = ChunkWriter {
            transaction,
            copies: self.copies,
            buffer: &mut self.buffer,
            statements: &self.statements,
            pipeline: self.run.pipeline,
        };
        failpoints::point!("write.begin");
        let mut written = chunk.write_rows(prepared, care).await?;
        let mut writing = started.elapsed();
        chunk.wait_for(turn).await?;
        let resumed = Instant::now();
        let settled = chunk.resolve(prepared, &mut written, policy).await?;
        failpoints::point!("write.rows");

        let fates = Fates::of(prepared, written.rows, settled)?;
        let place = Place {
            pipeline: self.run.pipeline,
            partition: &self.partition,
            run: self.run.id,
        };
        let connection = &mut *chunk.transaction;
        if !fates.letters.is_empty() {
            dead_letter::write(connection, place, &prepared.batch, &fates.letters).await?;
            failpoints::point!("write.dead_letters");
        }
        if self.notes_keys {
            reconcile::saw(connection, self.run.id, &prepared.batch).await?;
        }
        let is_known = self
            .met
            .as_ref()
            .is_some_and(|met| Arc::ptr_eq(met, &prepared.chain));
        if !is_known {
            ledger::meet(connection, place.pipeline, &prepared.chain).await?;
        }
        ledger::compare(connection, place.pipeline, &fates.comparisons).await?;
        let notify = self.notify.as_deref();
        move_checkpoint(connection, place, self.epoch, prepared, &fates, notify).await?;
        failpoints::point!("write.checkpoint");
        failpoints::point!("commit.before");
        writing += resumed.elapsed();
        let committing = Instant::now();
        let committed = chunk.transaction.commit().await;
        committed.map_err(|error| match blame(&error) {
            Blame::Row => Rollback::RowAtCommit,
            Blame::Server | Blame::Statement => error.into(),
        })?;
        failpoints::point!("commit.after");
        self.met = Some(Arc::clone(&prepared.chain));
        Ok(Committed {
            totals: Totals {
                rows: fates.rows,
                writing,
                beginning,
                committing: committing.elapsed(),
                gave_way: false,
            },
            comparisons: fates.comparisons,
        })
    }
}

impl ChunkWriter<'_> {
    /// Waits until every chunk before this one is committed; gives up when somebody waits for
    /// this one meanwhile. That may be a chunk before it: then each would wait for the other, and
    /// the server sees only half of that.
    async fn wait_for(&mut self, turn: &mut Turn) -> Result<(), Rollback> {
        loop {
            if let Ok(come) = tokio::time::timeout(LOOK_ROUND, turn.come()).await {
                return Ok(come?);
            }
            let in_the_way: bool = sqlx::query_scalar(
                "select exists (select from pg_locks where not granted
                     and pg_backend_pid() = any(pg_blocking_pids(pid)))",
            )
            .fetch_one(&mut *self.transaction)
            .await?;
            if in_the_way {
                return Err(Rollback::InTheWay);
            }
        }
    }
}
