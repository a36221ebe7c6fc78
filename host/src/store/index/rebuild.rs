//! Building an index anew beside the old one, which searches use until the two are swapped.
//!
//! That is `REINDEX CONCURRENTLY`, for which owning the table is enough, and which keeps the name
//! and everything else that is particular about the index, in partitions too. It cannot run in a
//! transaction; interrupted, it leaves an invalid index whose name ends in `_ccnew` or `_ccold`,
//! which is dropped before the next attempt.

use std::time::Instant;

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::{AssertSqlSafe, PgConnection};

use super::build::{Resources, Watch};
use super::manner::Manner;
use super::restore::{Finished, remove_note};
use super::work::Work;
use crate::failpoints;
use crate::store::connect::Store;
use crate::store::run::Run;

impl Store {
    pub(super) async fn rebuild(
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
            if work.shape.is_hnsw() && work.is_there_as_before(&mut transaction).await? {
                set_back(&mut transaction, work).await?;
            }
        }
        transaction.commit().await?;
        if let Some(finished) = left {
            return Ok(finished);
        }
        // The settings of this session must not reach other users of the pool.
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        self.drop_leftovers(&mut connection, work, watch).await?;
        let is_old = match work.manner {
            Manner::Beside => work.is_there_as_before(&mut connection).await?,
            Manner::Defer | Manner::Frozen => is_frozen(&mut connection, work).await?,
        };
        let started = Instant::now();
        if is_old {
            self.configure(&mut connection, work, watch, resources)
                .await?;
            let reindex = format!("reindex index concurrently {}", work.quoted);
            self.watched(&mut connection, &reindex, watch).await?;
        }
        failpoints::point!("index.built");
        self.put_down(connection, work).await?;
        failpoints::point!("index.back");
        Ok(if is_old {
            Finished::Built(started.elapsed())
        } else {
            Finished::NothingLeft
        })
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
            "select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_index i
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
    async fn put_down(
        &self,
        mut connection: PoolConnection<Postgres>,
        work: &Work,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        remove_note(&mut transaction, work).await?;
        let others: bool = sqlx::query_scalar(
            "select exists (select from forebay.index_work where relation = $1::oid and manner <> 'defer')",
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

/// True if the index is not maintained.
async fn is_frozen(connection: &mut PgConnection, work: &Work) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from pg_index i where i.indexrelid = to_regclass($1)
                            and i.indrelid = $2::oid and not (i.indisready and i.indisvalid))",
    )
    .bind(&work.quoted)
    .bind(work.oid())
    .fetch_one(connection)
    .await
}

/// Gives an index its own effort again: the new one is built with it.
async fn set_back(connection: &mut PgConnection, work: &Work) -> Result<(), sqlx::Error> {
    let change = match &work.options {
        Some(options) => format!("set ({options})"),
        None => "reset (ef_construction)".to_owned(),
    };
    let change = format!("alter index {} {change}", work.quoted);
    sqlx::query(AssertSqlSafe(change))
        .execute(connection)
        .await?;
    Ok(())
}
