//! How the server builds an index: with which settings, how far it is, and how it is stopped.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row};
use tokio_util::sync::CancellationToken;

use super::{Manner, Work};
use crate::store::Store;

/// How often the server is asked how far it is.
const LOOK: Duration = Duration::from_secs(1);

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

/// What a build may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Workers, whose memory is shared.
    Parallel,
    /// As much memory, of one process.
    Alone,
    /// The server's own setting.
    Least,
}

pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
pub(super) const DISK_FULL: &str = "53100";
pub(super) const OUT_OF_MEMORY: &str = "53200";

pub(super) fn less(error: &sqlx::Error, room: Room) -> Room {
    tracing::warn!(%error, "the server has not the room to build it like this: trying with less");
    room
}

impl Store {
    /// Settings under which the index is built, of the transaction or of the session.
    pub(super) async fn configure(
        &self,
        connection: &mut PgConnection,
        work: &Work,
        watch: &Watch<'_>,
        room: Room,
    ) -> Result<(), sqlx::Error> {
        // REINDEX CONCURRENTLY cannot be in a transaction.
        let local = work.manner == Manner::Defer;
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
    pub(super) async fn watched(
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
}

/// What the index needs, by the rows that are there now.
async fn work_memory(connection: &mut PgConnection, work: &Work) -> Result<u64, sqlx::Error> {
    let count = format!("select count(*) from {}", work.table);
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
        .fetch_one(&mut *connection)
        .await?;
    Ok(work.shape.memory(rows.unsigned_abs()))
}
