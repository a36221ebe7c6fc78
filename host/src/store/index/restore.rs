//! Putting an index back: built, and its note removed.
//!
//! A deferred index is created in one transaction with the removal of its note. An index that is
//! rebuilt is so by `REINDEX CONCURRENTLY`, which cannot be in a transaction; cut off, it leaves
//! an invalid index whose name ends in `_ccnew` or `_ccold`, which is dropped before the next
//! attempt. The server itself notices within seconds that a host is gone, and gives up.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::{AssertSqlSafe, PgConnection};

use super::build::{DISK_FULL, LOCK_NOT_AVAILABLE, OUT_OF_MEMORY, Room, Watch, less};
use super::{Manner, Work, waiting};
use crate::failpoints;
use crate::store::run::Run;
use crate::store::{Store, StoreError};

/// What became of an index that was away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// It is back.
    Built(Duration),
    /// Somebody else has put it back, or removed it for good.
    Settled,
    /// Unfinished runs of these pipelines wait for it; the last of them puts it back.
    LeftTo(Vec<String>),
    /// Asked to stop; it is away still.
    Stopped,
}

impl Store {
    /// Puts an index back, unless unfinished runs of others wait for it.
    ///
    /// # Errors
    /// If it is still away. Trying again goes on from what was left behind.
    pub async fn finish_index(
        &self,
        run: &Run,
        work: &Work,
        watch: &Watch<'_>,
    ) -> Result<Finished, StoreError> {
        failpoints::point!("index.before");
        let mut room = Room::Parallel;
        loop {
            let finished = match work.manner {
                Manner::Defer => self.create(run, work, watch, room).await,
                Manner::Rebuild => self.rebuild(run, work, watch, room).await,
            };
            let error = match finished {
                Ok(finished) => return Ok(finished),
                Err(_) if watch.stop.is_cancelled() => return Ok(Finished::Stopped),
                Err(error) => error,
            };
            let code = error.as_database_error().and_then(|error| error.code());
            room = match (code.as_deref(), room) {
                (Some(LOCK_NOT_AVAILABLE), room) => {
                    let index = &work.quoted;
                    tracing::info!(index, "waiting for who holds its table or its note");
                    room
                }
                // A small `/dev/shm` is a full disk to the server.
                (Some(DISK_FULL | OUT_OF_MEMORY), Room::Parallel) => less(&error, Room::Alone),
                (Some(DISK_FULL | OUT_OF_MEMORY), Room::Alone) => less(&error, Room::Least),
                _ => return Err(error.into()),
            };
        }
    }

    async fn create(
        &self,
        run: &Run,
        work: &Work,
        watch: &Watch<'_>,
        room: Room,
    ) -> Result<Finished, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let connection = &mut *transaction;
        if let Some(finished) = self.leave(connection, run, work).await? {
            transaction.commit().await?;
            return Ok(finished);
        }
        let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(&work.quoted)
            .fetch_one(&mut *connection)
            .await?;
        let started = Instant::now();
        if !exists {
            self.configure(connection, work, watch, room).await?;
            sqlx::query("select set_config('default_tablespace', $1, true)")
                .bind(&work.tablespace)
                .execute(&mut *connection)
                .await?;
            self.watched(connection, &work.definition, watch).await?;
            if let Some(comment) = &work.comment {
                let statement = sqlx::query_scalar::<_, String>(
                    "select format('comment on index %s is %L', $1, $2)",
                );
                let statement = statement
                    .bind(&work.quoted)
                    .bind(comment)
                    .fetch_one(&mut *connection)
                    .await?;
                sqlx::query(AssertSqlSafe(statement))
                    .execute(&mut *connection)
                    .await?;
            }
        }
        remove(connection, work).await?;
        failpoints::point!("index.built");
        transaction.commit().await?;
        failpoints::point!("index.back");
        Ok(if exists {
            Finished::Settled
        } else {
            Finished::Built(started.elapsed())
        })
    }

    async fn rebuild(
        &self,
        run: &Run,
        work: &Work,
        watch: &Watch<'_>,
        room: Room,
    ) -> Result<Finished, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let left = self.leave(&mut transaction, run, work).await?;
        if left.is_none() {
            // The server may still be at what an earlier host has asked for.
            let lock = format!("lock table {} in share update exclusive mode", work.table);
            sqlx::query(AssertSqlSafe(lock))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        if let Some(finished) = left {
            return Ok(finished);
        }
        // Settings of the session are not for others.
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        self.drop_leftovers(&mut connection, work, watch).await?;
        let state: Option<bool> = sqlx::query_scalar(
            "select i.indisready and i.indisvalid from pg_index i
             where i.indexrelid = to_regclass($1) and i.indrelid = $2::oid",
        )
        .bind(&work.quoted)
        .bind(work.oid())
        .fetch_optional(&mut *connection)
        .await?;
        let started = Instant::now();
        if state == Some(false) {
            self.configure(&mut connection, work, watch, room).await?;
            let reindex = format!("reindex index concurrently {}", work.quoted);
            self.watched(&mut connection, &reindex, watch).await?;
        }
        failpoints::point!("index.built");
        self.restore(connection, work).await?;
        failpoints::point!("index.back");
        Ok(if state == Some(false) {
            Finished::Built(started.elapsed())
        } else {
            Finished::Settled
        })
    }

    /// Ends without building: if the note is gone, or others wait for the index. The note stays
    /// locked until the transaction ends, so that of two that come to their end at once, one
    /// finds itself the last.
    async fn leave(
        &self,
        connection: &mut PgConnection,
        run: &Run,
        work: &Work,
    ) -> Result<Option<Finished>, sqlx::Error> {
        // Waiting for another host's build can be stopped in between.
        sqlx::query("set local lock_timeout = '5s'")
            .execute(&mut *connection)
            .await?;
        let noted = sqlx::query(
            "select from forebay.index_work where relation = $1::oid and name = $2 for no key update",
        )
        .bind(work.oid())
        .bind(&work.name)
        .fetch_optional(&mut *connection)
        .await?;
        if noted.is_none() {
            return Ok(Some(Finished::Settled));
        }
        let (_, others) = waiting(connection, work, run.id).await?;
        if others.is_empty() {
            return Ok(None);
        }
        sqlx::query(
            "delete from forebay.index_wait where relation = $1::oid and name = $2 and run = $3",
        )
        .bind(work.oid())
        .bind(&work.name)
        .bind(run.id)
        .execute(connection)
        .await?;
        Ok(Some(Finished::LeftTo(others)))
    }

    /// Drops what `REINDEX CONCURRENTLY` has left of this index when it was cut off.
    async fn drop_leftovers(
        &self,
        connection: &mut PgConnection,
        work: &Work,
        watch: &Watch<'_>,
    ) -> Result<(), sqlx::Error> {
        // A name that is too long is cut before the suffix.
        let leftovers: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', n.nspname, c.relname) from pg_index i
             join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
             where i.indrelid = $1::oid and not i.indisvalid
               and c.relname ~ '_cc(new|old)[0-9]*$'
               and starts_with($2, regexp_replace(c.relname, '_cc(new|old)[0-9]*$', ''))",
        )
        .bind(work.oid())
        .bind(&work.name)
        .fetch_all(&mut *connection)
        .await?;
        for leftover in leftovers {
            let drop = format!("drop index concurrently if exists {leftover}");
            self.watched(connection, &drop, watch).await?;
        }
        Ok(())
    }

    /// Gives the table its setting back, with its last index, and removes the note.
    async fn restore(
        &self,
        mut connection: PoolConnection<Postgres>,
        work: &Work,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        remove(&mut transaction, work).await?;
        let others: bool = sqlx::query_scalar(
            "select exists (select from forebay.index_work where relation = $1::oid and manner = 'rebuild')",
        )
        .bind(work.oid())
        .fetch_one(&mut *transaction)
        .await?;
        if !others {
            let change = match &work.index_cleanup {
                // A value of the catalog: a word.
                Some(value) => format!("set (vacuum_index_cleanup = {value})"),
                None => "reset (vacuum_index_cleanup)".to_owned(),
            };
            let change = format!("alter table {} {change}", work.table);
            sqlx::query(AssertSqlSafe(change))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        connection.close().await
    }
}

async fn remove(connection: &mut PgConnection, work: &Work) -> Result<(), sqlx::Error> {
    sqlx::query("delete from forebay.index_work where relation = $1::oid and name = $2")
        .bind(work.oid())
        .bind(&work.name)
        .execute(connection)
        .await?;
    Ok(())
}
