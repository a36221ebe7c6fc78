//! Putting an index back: built, watched while it is built, and its note removed.
//!
//! A deferred index is created in one transaction with the removal of its note. An index that is
//! rebuilt is so by `REINDEX CONCURRENTLY`, which cannot be in a transaction; cut off, it leaves
//! an invalid index whose name ends in `_ccnew` or `_ccold`, which is dropped before the next
//! attempt. The server itself notices within seconds that a host is gone, and gives up.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, Row, pool::PoolConnection, postgres::Postgres};
use tokio_util::sync::CancellationToken;

use super::{Manner, Work, waiting};
use crate::{
    fault,
    store::{Store, StoreError, checkpoint::Run},
};

/// How often the server is asked how far it is.
const LOOK: Duration = Duration::from_secs(1);

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

/// How far the server is with an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Building {
    /// As PostgreSQL and pgvector name it.
    pub phase: String,
    /// Of this phase; `None` where it does not say.
    pub percent: Option<f64>,
}

/// What a build may take, and who listens.
pub struct Watch<'a> {
    /// In bytes, where it needs more than the server's own setting.
    pub memory: usize,
    /// Called about once a second.
    pub progress: &'a (dyn Fn(&Building) + Send + Sync),
    /// Cancels the build.
    pub stop: &'a CancellationToken,
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
        fault::point!("index.before");
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
            self.configure(connection, work, watch, room, true).await?;
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
        fault::point!("index.built");
        transaction.commit().await?;
        fault::point!("index.back");
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
            self.configure(&mut connection, work, watch, room, false)
                .await?;
            let reindex = format!("reindex index concurrently {}", work.quoted);
            self.watched(&mut connection, &reindex, watch).await?;
        }
        fault::point!("index.built");
        self.restore(connection, work).await?;
        fault::point!("index.back");
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

    /// Settings under which the index is built, of the transaction or of the session.
    async fn configure(
        &self,
        connection: &mut PgConnection,
        work: &Work,
        watch: &Watch<'_>,
        room: Room,
        local: bool,
    ) -> Result<(), sqlx::Error> {
        let own: i64 =
            sqlx::query_scalar("select pg_size_bytes(current_setting('maintenance_work_mem'))")
                .fetch_one(&mut *connection)
                .await?;
        let needed = work_memory(connection, work).await?;
        let bytes = match room {
            Room::Parallel | Room::Alone => needed.min(watch.memory as u64).max(own.unsigned_abs()),
            Room::Least => own.unsigned_abs(),
        };
        if needed > bytes && room == Room::Parallel {
            let (needed, may) = (needed >> 20, bytes >> 20);
            tracing::warn!(
                index = work.quoted,
                "building it would need about {needed} MiB and may take {may}: slower; raise index_memory"
            );
        }
        // What the server can be set to at most.
        let kilobytes = (bytes >> 10).min(u64::from(i32::MAX.unsigned_abs()));
        let mut settings = vec![
            ("maintenance_work_mem", format!("{kilobytes}kB")),
            // The rows of a table whose vectors are stored out of line are few pages.
            ("min_parallel_table_scan_size", "0".to_owned()),
            // The server notices that nobody waits for it any more: since PostgreSQL 14, and not
            // on Windows.
            ("client_connection_check_interval", "2s".to_owned()),
            ("lock_timeout", "0".to_owned()),
            ("statement_timeout", "0".to_owned()),
        ];
        if room != Room::Parallel {
            settings.push(("max_parallel_maintenance_workers", "0".to_owned()));
        }
        for (name, value) in settings {
            sqlx::query(
                "select set_config(name, $2, $3) from pg_settings
                 where name = $1 and (name not like 'client_conn%' or current_setting('dynamic_shared_memory_type') <> 'windows')",
            )
                .bind(name)
                .bind(value)
                .bind(local)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    /// Runs a statement that takes its time, tells how far it is, and can be stopped.
    async fn watched(
        &self,
        connection: &mut PgConnection,
        statement: &str,
        watch: &Watch<'_>,
    ) -> Result<(), sqlx::Error> {
        let process: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut *connection)
            .await?;
        // Without preparing it: a transaction block would be one too many for REINDEX.
        let building = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection);
        let mut building = std::pin::pin!(building);
        let mut looks = tokio::time::interval(LOOK);
        let mut asked_to_stop = false;
        loop {
            tokio::select! {
                built = &mut building => return built.map(drop),
                _ = looks.tick() => {
                    // Not knowing how far it is does no harm.
                    if let Ok(Some(far)) = self.look(process).await {
                        (watch.progress)(&far);
                    }
                }
                () = watch.stop.cancelled(), if !asked_to_stop => {
                    asked_to_stop = true;
                    sqlx::query("select pg_cancel_backend($1)")
                        .bind(process)
                        .execute(&self.pool)
                        .await?;
                }
            }
        }
    }

    async fn look(&self, process: i32) -> Result<Option<Building>, sqlx::Error> {
        let row = sqlx::query(
            "select phase, (100.0 * case when tuples_total > 0 then tuples_done::float8 / tuples_total
                                  else blocks_done::float8 / nullif(blocks_total, 0) end)::float8
             from pg_stat_progress_create_index where pid = $1",
        )
        .bind(process)
        .fetch_optional(&self.pool)
        .await?;
        let building = |row: sqlx::postgres::PgRow| {
            Ok(Building {
                phase: row.try_get(0)?,
                percent: row.try_get(1)?,
            })
        };
        row.map(building).transpose()
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

/// What a build may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Workers, whose memory is shared.
    Parallel,
    /// As much memory, of one process.
    Alone,
    /// The server's own setting.
    Least,
}

const LOCK_NOT_AVAILABLE: &str = "55P03";
const DISK_FULL: &str = "53100";
const OUT_OF_MEMORY: &str = "53200";

fn less(error: &sqlx::Error, room: Room) -> Room {
    tracing::warn!(%error, "the server has not the room to build it like this: trying with less");
    room
}

async fn remove(connection: &mut PgConnection, work: &Work) -> Result<(), sqlx::Error> {
    sqlx::query("delete from forebay.index_work where relation = $1::oid and name = $2")
        .bind(work.oid())
        .bind(&work.name)
        .execute(connection)
        .await?;
    Ok(())
}

/// What the index needs, by the rows that are there now.
async fn work_memory(connection: &mut PgConnection, work: &Work) -> Result<u64, sqlx::Error> {
    let count = format!("select count(*) from {}", work.table);
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
        .fetch_one(&mut *connection)
        .await?;
    Ok(work.shape.memory(rows.unsigned_abs()))
}
