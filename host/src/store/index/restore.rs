//! Restoring an index: it is built, and its note removed.
//!
//! A deferred index is created in one transaction with the removal of its note. The others are
//! rebuilt by `REINDEX CONCURRENTLY`, which cannot run in a transaction; interrupted, it leaves
//! an invalid index whose name ends in `_ccnew` or `_ccold`, which is dropped before the next
//! attempt. The server notices within seconds that a host is gone, and gives up.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::{AssertSqlSafe, PgConnection};

use super::build::{DISK_FULL, LOCK_NOT_AVAILABLE, OUT_OF_MEMORY, Resources, Watch, less};
use super::manner::Manner;
use super::work::{Work, waiting};
use crate::failpoints;
use crate::store::connect::Store;
use crate::store::error::StoreError;
use crate::store::run::Run;

/// Outcome of restoring an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// It was built, in this time.
    Built(Duration),
    /// Another session has restored it, or removed it for good.
    NothingLeft,
    /// Unfinished runs of these pipelines wait for it; the last of them restores it.
    LeftTo(Vec<String>),
    /// Stopped on request; it is still suspended.
    Stopped,
}

impl Store {
    /// Restores an index, unless unfinished runs of other pipelines than those that are `gone` wait
    /// for it.
    ///
    /// # Errors
    /// Fails if it is still suspended. Another attempt continues from what was left behind.
    pub async fn restore_index(
        &self,
        run: &Run,
        work: &Work,
        gone: &[String],
        watch: &Watch<'_>,
    ) -> Result<Finished, StoreError> {
        failpoints::point!("index.before");
        let mut resources = Resources::Parallel;
        loop {
            let finished = match work.manner {
                Manner::Defer => self.create(run, work, gone, watch, resources).await,
                Manner::Rebuild => self.rebuild(run, work, gone, watch, resources).await,
            };
            let error = match finished {
                Ok(finished) => return Ok(finished),
                Err(_) if watch.stop.is_cancelled() => return Ok(Finished::Stopped),
                Err(error) => error,
            };
            let code = error.as_database_error().and_then(|error| error.code());
            resources = match (code.as_deref(), resources) {
                (Some(LOCK_NOT_AVAILABLE), resources) => {
                    let index = &work.quoted;
                    tracing::info!(
                        index,
                        "waiting for another session's lock on its table or its note"
                    );
                    resources
                }
                // A small `/dev/shm` is a full disk to the server.
                (Some(DISK_FULL | OUT_OF_MEMORY), Resources::Parallel) => {
                    less(&error, Resources::Alone)
                }
                (Some(DISK_FULL | OUT_OF_MEMORY), Resources::Alone) => {
                    less(&error, Resources::Least)
                }
                _ => return Err(error.into()),
            };
        }
    }

    async fn create(
        &self,
        run: &Run,
        work: &Work,
        gone: &[String],
        watch: &Watch<'_>,
        resources: Resources,
    ) -> Result<Finished, sqlx::Error> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        if let Some(finished) = self.leave(connection, run, work, gone).await? {
            transaction.commit().await?;
            return Ok(finished);
        }
        let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(&work.quoted)
            .fetch_one(&mut *connection)
            .await?;
        let started = Instant::now();
        if !exists {
            self.configure(connection, work, watch, resources).await?;
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
        remove_note(connection, work).await?;
        failpoints::point!("index.built");
        transaction.commit().await?;
        failpoints::point!("index.back");
        Ok(if exists {
            Finished::NothingLeft
        } else {
            Finished::Built(started.elapsed())
        })
    }

    async fn rebuild(
        &self,
        run: &Run,
        work: &Work,
        gone: &[String],
        watch: &Watch<'_>,
        resources: Resources,
    ) -> Result<Finished, sqlx::Error> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let left = self.leave(&mut transaction, run, work, gone).await?;
        if left.is_none() {
            // The server may still work on the statement of an earlier host.
            let lock = format!("lock table {} in share update exclusive mode", work.table);
            sqlx::query(AssertSqlSafe(lock))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        if let Some(finished) = left {
            return Ok(finished);
        }
        // The settings of this session must not reach other users of the pool.
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
            self.configure(&mut connection, work, watch, resources)
                .await?;
            let reindex = format!("reindex index concurrently {}", work.quoted);
            self.watched(&mut connection, &reindex, watch).await?;
        }
        failpoints::point!("index.built");
        self.reset_table(connection, work).await?;
        failpoints::point!("index.back");
        Ok(if state == Some(false) {
            Finished::Built(started.elapsed())
        } else {
            Finished::NothingLeft
        })
    }

    /// Ends without building if the note is gone, or if other runs wait for the index. The note
    /// stays locked until the transaction ends, so that of two runs that end at the same time, one
    /// finds itself the last.
    async fn leave(
        &self,
        connection: &mut PgConnection,
        run: &Run,
        work: &Work,
        gone: &[String],
    ) -> Result<Option<Finished>, sqlx::Error> {
        // The wait for another host's build is cut, so that it can be stopped in between.
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
            return Ok(Some(Finished::NothingLeft));
        }
        let (_, mut others) = waiting(connection, work, run.id).await?;
        others.retain(|other| !gone.contains(other));
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

    /// Drops what an interrupted `REINDEX CONCURRENTLY` has left of this index.
    async fn drop_leftovers(
        &self,
        connection: &mut PgConnection,
        work: &Work,
        watch: &Watch<'_>,
    ) -> Result<(), sqlx::Error> {
        // Names that are too long are truncated before the suffix.
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

    /// Removes the note, and with the table's last index resets the table's setting.
    async fn reset_table(
        &self,
        mut connection: PoolConnection<Postgres>,
        work: &Work,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        remove_note(&mut transaction, work).await?;
        let others: bool = sqlx::query_scalar(
            "select exists (select from forebay.index_work where relation = $1::oid and manner = 'rebuild')",
        )
        .bind(work.oid())
        .fetch_one(&mut *transaction)
        .await?;
        if !others {
            let change = match &work.index_cleanup {
                // A single word from the catalog.
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

async fn remove_note(connection: &mut PgConnection, work: &Work) -> Result<(), sqlx::Error> {
    sqlx::query("delete from forebay.index_work where relation = $1::oid and name = $2")
        .bind(work.oid())
        .bind(&work.name)
        .execute(connection)
        .await?;
    Ok(())
}
