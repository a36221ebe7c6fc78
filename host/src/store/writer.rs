//! A chunk and everything that belongs to it, in one transaction.
//!
//! 1. Look the keys up: digest, and whether the tables have the row. Unchanged rows end here.
//! 2. Write the others, table by table (`rows`). If a value is to blame for an error, go back and
//!    halve the rows in savepoints until only the guilty ones are left out (`isolate`).
//! 3. Digests and dead letters.
//! 4. Move the checkpoint, with the fence: no row of that epoch, no commit (`progress`). Counts and
//!    what the API server is owed go with it.

mod delete;
mod isolate;
mod progress;
mod rows;

use std::{sync::Arc, time::Duration};

use sqlx::{Postgres, pool::PoolConnection};

use self::{
    progress::{codes, move_checkpoint},
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
    plugin::Chain,
    policy::{Halted, Settler},
    prepare::Prepared,
    row::{Drop, Failure},
};

/// A failed row that is to be kept, with the queue the policy chose.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Why it failed.
    pub failure: Failure,
    /// At most 64 characters.
    pub queue: String,
}

/// Proof that a chunk is durable. Only [`Writer::commit`] makes one.
#[derive(Debug)]
#[must_use = "a commit may release a notification"]
pub struct Committed {
    totals: Totals,
}

/// What a chunk came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Rows by fate.
    pub rows: Counts,
    /// Time in statements before the commit.
    pub writing: Duration,
    /// Time in the commit itself.
    pub committing: Duration,
}

impl Committed {
    /// What the chunk came to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
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

    /// Writes a chunk. `settler` asks the policy about rows that the database refuses.
    ///
    /// # Errors
    /// If nothing of the chunk was written.
    pub async fn commit(
        &mut self,
        prepared: &mut Prepared,
        settler: &Settler,
    ) -> Result<Committed, CommitError> {
        let mut care = Care::Trusting;
        loop {
            let undone = match self.attempt(prepared, settler, care).await {
                Ok(committed) => return Ok(committed),
                Err(undone) => undone,
            };
            care = match (undone, care) {
                (Undone::Row, Care::Trusting) => Care::Isolating,
                // A deferred constraint speaks up only now.
                (Undone::RowAtCommit, Care::Trusting | Care::Isolating) => Care::Immediate,
                (Undone::Row | Undone::RowAtCommit, _) => {
                    let message = "a row is refused at commit, and by no statement before it";
                    return Err(StoreError::Failed(message.into()).into());
                }
                (Undone::Error(error), _) => return Err(error),
            };
        }
    }

    async fn attempt(
        &mut self,
        prepared: &mut Prepared,
        settler: &Settler,
        care: Care,
    ) -> Result<Committed, Undone> {
        let started = std::time::Instant::now();
        let Self {
            connection,
            copies,
            buffer,
            statements,
            run,
            partition,
            epoch,
            notify,
            notes_keys,
            met,
        } = self;
        let mut chunk = ChunkWriter {
            transaction: sqlx::Connection::begin(&mut **connection).await?,
            copies: *copies,
            buffer,
            statements,
            pipeline: run.pipeline,
        };
        fault::point!("write.begin");
        let mut written = chunk.write_rows(prepared, care).await?;
        let mut settled = chunk.settle(prepared, &mut written, settler).await?;
        fault::point!("write.rows");

        let letters: Vec<DeadLetter> = prepared
            .settled
            .dead_letters
            .iter()
            .cloned()
            .chain(settled.dead_letters.drain(..))
            .collect();
        let drops: Vec<Drop> = prepared
            .batch
            .drops
            .iter()
            .chain(&prepared.settled.drops)
            .chain(&settled.drops)
            .cloned()
            .collect();
        let mut rows = written.rows;
        rows.received = prepared.batch.wire.len() as u64;
        rows.dropped = drops.len() as u64;
        rows.dead_lettered = letters.len() as u64;
        if !rows.balanced() {
            let message = format!(
                "the rows of chunk {} are not all accounted for: {rows:?}",
                prepared.position
            );
            return Err(StoreError::Failed(message).into());
        }
        let place = Place {
            pipeline: run.pipeline,
            partition,
            run: run.id,
        };
        let connection = &mut *chunk.transaction;
        if !letters.is_empty() {
            dead_letter::write(connection, place, &prepared.batch, &letters).await?;
            fault::point!("write.dead_letters");
        }
        if *notes_keys {
            refresh::saw(connection, run.id, &prepared.batch).await?;
        }
        let is_known = met
            .as_ref()
            .is_some_and(|met| Arc::ptr_eq(met, &prepared.chain));
        if !is_known {
            ledger::meet(connection, run.pipeline, &prepared.chain).await?;
        }
        ledger::compare(connection, run.pipeline, &prepared.trials).await?;
        let codes = codes(&letters, &drops);
        move_checkpoint(
            connection,
            place,
            *epoch,
            prepared,
            &rows,
            &codes,
            notify.as_deref(),
        )
        .await?;
        fault::point!("write.checkpoint");
        fault::point!("commit.before");
        let writing = started.elapsed();
        let committing = std::time::Instant::now();
        chunk
            .transaction
            .commit()
            .await
            .map_err(|error| match blame(&error) {
                Blame::Row => Undone::RowAtCommit,
                Blame::Server | Blame::Statement => error.into(),
            })?;
        fault::point!("commit.after");
        *met = Some(Arc::clone(&prepared.chain));
        Ok(Committed {
            totals: Totals {
                rows,
                writing,
                committing: committing.elapsed(),
            },
        })
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
enum Undone {
    /// Some row's value is to blame, as a statement found.
    Row,
    /// The same, found by the commit.
    RowAtCommit,
    Error(CommitError),
}

impl<E: Into<CommitError>> From<E> for Undone {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
