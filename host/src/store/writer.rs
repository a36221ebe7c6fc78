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

mod delete;
mod digests;
mod isolate;
mod progress;
mod rows;
mod turn;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, Postgres, SqlStr, pool::PoolConnection};

pub use self::turn::{Behind, Turn};
use self::{
    progress::{Fates, move_checkpoint},
    rows::ChunkWriter,
};
use super::{
    Blame, Store, StoreError, blame,
    checkpoint::{Checkpoint, Counts, Run},
    dead_letter::{self, Place},
    ledger, refresh,
    statements::Statements,
    target::Targets,
};
use crate::{
    fault,
    plugin::{Chain, Trial},
    policy::{Halted, Settler},
    prepare::Prepared,
    row::Failure,
};

/// How often a chunk that waits for its turn looks whether it is in somebody's way. As long as
/// the server itself takes to look for a deadlock would be far too long for each.
const LOOK_ROUND: Duration = Duration::from_millis(100);

/// How often a chunk is written anew at once after a conflict with somebody else's transaction.
const CONFLICTS: u32 = 3;

/// A failed row that is to be kept, with the queue the policy chose.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Why it failed.
    pub failure: Failure,
    /// At most 64 characters.
    pub queue: String,
}

/// Proof that a chunk is durable. Only a [`Writer`] makes one.
#[derive(Debug)]
#[must_use = "a commit may release a notification"]
pub struct Committed {
    totals: Totals,
    trials: Vec<Trial>,
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
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }
}

/// Why a chunk was not committed. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The database's fault, or another host's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy's decision.
    #[error(transparent)]
    Halted(#[from] Halted),
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
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

    /// Writes a chunk and commits it in its turn. `settler` asks the policy about rows that the
    /// database refuses.
    ///
    /// # Errors
    /// If nothing of the chunk was written.
    pub async fn commit(
        &mut self,
        prepared: &Prepared,
        settler: &Settler,
        mut turn: Turn,
    ) -> Result<Committed, CommitError> {
        if turn.waits() {
            turn.come().await?;
        }
        let (mut care, mut conflicts, mut gave_way) = (Care::Trusting, 0, false);
        loop {
            let in_turn = turn.has_come();
            let undone = match self.attempt(prepared, settler, &mut turn, care).await {
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
                    gave_way = matches!(undone, Undone::InTheWay);
                    // Has the server undo it now, and not with the next statement. If it is
                    // away, that will say so.
                    drop(self.connection.ping().await);
                    turn.come().await?;
                    // A row that is refused is most often to blame in turn as well; to look for
                    // it begins with all rows at once.
                    match undone {
                        Undone::Row => Care::Isolating,
                        Undone::RowAtCommit | Undone::InTheWay | Undone::Error(_) => Care::Trusting,
                    }
                }
                (Undone::Row, Care::Trusting) => Care::Isolating,
                // A deferred constraint speaks up only now.
                (Undone::RowAtCommit, Care::Trusting | Care::Isolating) => Care::Immediate,
                (Undone::Error(CommitError::Store(StoreError::Conflict(_))), care)
                    if conflicts < CONFLICTS =>
                {
                    conflicts += 1;
                    care
                }
                (Undone::Row | Undone::RowAtCommit, _) => {
                    let message = "a row is refused at commit, and by no statement before it";
                    return Err(StoreError::Failed(message.into()).into());
                }
                (Undone::InTheWay, care) => care,
                (Undone::Error(error), _) => return Err(error),
            };
        }
    }

    async fn attempt(
        &mut self,
        prepared: &Prepared,
        settler: &Settler,
        turn: &mut Turn,
        care: Care,
    ) -> Result<Committed, Undone> {
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
        fault::point!("write.begin");
        let mut written = chunk.write_rows(prepared, care).await?;
        let mut writing = started.elapsed();
        chunk.wait_for(turn).await?;
        let resumed = Instant::now();
        let settled = chunk.settle(prepared, &mut written, settler).await?;
        fault::point!("write.rows");

        let fates = Fates::of(prepared, written.rows, settled)?;
        let place = Place {
            pipeline: self.run.pipeline,
            partition: &self.partition,
            run: self.run.id,
        };
        let connection = &mut *chunk.transaction;
        if !fates.letters.is_empty() {
            dead_letter::write(connection, place, &prepared.batch, &fates.letters).await?;
            fault::point!("write.dead_letters");
        }
        if self.notes_keys {
            refresh::saw(connection, self.run.id, &prepared.batch).await?;
        }
        let is_known = self
            .met
            .as_ref()
            .is_some_and(|met| Arc::ptr_eq(met, &prepared.chain));
        if !is_known {
            ledger::meet(connection, place.pipeline, &prepared.chain).await?;
        }
        ledger::compare(connection, place.pipeline, &fates.trials).await?;
        let notify = self.notify.as_deref();
        move_checkpoint(connection, place, self.epoch, prepared, &fates, notify).await?;
        fault::point!("write.checkpoint");
        fault::point!("commit.before");
        writing += resumed.elapsed();
        let committing = Instant::now();
        let committed = chunk.transaction.commit().await;
        committed.map_err(|error| match blame(&error) {
            Blame::Row => Undone::RowAtCommit,
            Blame::Server | Blame::Statement => error.into(),
        })?;
        fault::point!("commit.after");
        self.met = Some(Arc::clone(&prepared.chain));
        Ok(Committed {
            totals: Totals {
                rows: fates.rows,
                writing,
                beginning,
                committing: committing.elapsed(),
                gave_way: false,
            },
            trials: fates.trials,
        })
    }
}

impl ChunkWriter<'_> {
    /// Waits until every chunk before this one is committed; gives up when somebody waits for
    /// this one meanwhile. That may be a chunk before it: then each would wait for the other, and
    /// the server sees only half of that.
    async fn wait_for(&mut self, turn: &mut Turn) -> Result<(), Undone> {
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
                return Err(Undone::InTheWay);
            }
        }
    }
}

/// How a chunk's rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// All at once: nearly always right.
    Trusting,
    /// In savepoints, looking for the rows to blame. Deferred constraints stay deferred, so that
    /// rows of the chunk may refer to each other.
    Isolating,
    /// The same with no constraint deferred.
    Immediate,
}
/// Why an attempt was rolled back.
#[derive(Debug, thiserror::Error)]
enum Undone {
    /// Some row's value is to blame, as a statement found.
    #[error("a row is refused")]
    Row,
    /// The same, found by the commit.
    #[error("a row is refused at commit")]
    RowAtCommit,
    /// Before its turn, and somebody waited for it.
    #[error("it was in the way of another transaction")]
    InTheWay,
    #[error("{0}")]
    Error(CommitError),
}

impl<E: Into<CommitError>> From<E> for Undone {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
