//! Building an index on the server: its settings, its progress, and its cancellation.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row};
use tokio_util::sync::CancellationToken;

use super::manner::Manner;
use super::work::Work;
use crate::store::connect::Store;

/// Interval at which the server is asked for its progress.
const POLL: Duration = Duration::from_secs(1);

/// Progress of the server with an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Building {
    /// As PostgreSQL and pgvector name it.
    pub phase: String,
    /// Progress of this phase; `None` if unknown.
    pub percent: Option<f64>,
    /// Server process of the session whose transaction has to end first, if any.
    pub waits_for: Option<i32>,
}

/// Bounds of a build, and the receiver of its progress.
pub struct Watch<'a> {
    /// Maximum memory in bytes, if it needs more than the server's own setting.
    pub memory: usize,
    /// Called about once a second.
    pub progress: &'a (dyn Fn(&Building) + Send + Sync),
    /// Cancels the build.
    pub stop: &'a CancellationToken,
}

/// Resources that a build may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resources {
    /// Several workers, whose memory is shared.
    Parallel,
    /// The same memory, in one process.
    Alone,
    /// The server's own setting.
    Least,
}

pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
pub(super) const DISK_FULL: &str = "53100";
pub(super) const OUT_OF_MEMORY: &str = "53200";

/// Logs that a build failed for want of resources; returns what to try next.
pub(super) fn less(error: &sqlx::Error, resources: Resources) -> Resources {
    tracing::warn!(%error, "the server lacks the memory or disk space for this build: trying with less");
    resources
}

impl Store {
    /// Makes the settings for building an index, in the transaction or in the session.
    pub(super) async fn configure(
        &self,
        connection: &mut PgConnection,
        work: &Work,
        watch: &Watch<'_>,
        resources: Resources,
    ) -> Result<(), sqlx::Error> {
        // REINDEX CONCURRENTLY cannot be in a transaction.
        let local = work.manner == Manner::Defer;
        let own: i64 =
            sqlx::query_scalar("select pg_size_bytes(current_setting('maintenance_work_mem'))")
                .fetch_one(&mut *connection)
                .await?;
        // What is not known may need all that is allowed.
        let needed = work_memory(connection, work).await?;
        let needed = needed.unwrap_or(watch.memory as u64);
        let bytes = match resources {
            Resources::Parallel | Resources::Alone => {
                needed.min(watch.memory as u64).max(own.unsigned_abs())
            }
            Resources::Least => own.unsigned_abs(),
        };
        if needed > bytes && resources == Resources::Parallel {
            let (needed, may) = (needed >> 20, bytes >> 20);
            tracing::warn!(
                index = work.quoted,
                "building it needs about {needed} MiB and may use {may} MiB, which is slower; raise index_memory"
            );
        }
        // The maximum of the setting.
        let kilobytes = (bytes >> 10).min(u64::from(i32::MAX.unsigned_abs()));
        let mut settings = vec![
            ("maintenance_work_mem", format!("{kilobytes}kB")),
            // A table whose vectors are stored out of line has few pages.
            ("min_parallel_table_scan_size", "0".to_owned()),
            // The server notices that its client is gone: since PostgreSQL 14, and not on Windows.
            ("client_connection_check_interval", "2s".to_owned()),
            ("lock_timeout", "0".to_owned()),
            ("statement_timeout", "0".to_owned()),
            // Since PostgreSQL 17.
            ("transaction_timeout", "0".to_owned()),
        ];
        if resources != Resources::Parallel {
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

    /// Runs a long statement, reports its progress, and can be stopped.
    pub(super) async fn watched(
        &self,
        connection: &mut PgConnection,
        statement: &str,
        watch: &Watch<'_>,
    ) -> Result<(), sqlx::Error> {
        let process: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut *connection)
            .await?;
        // Not prepared: REINDEX must not run in a transaction block.
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection);
        let mut statement = std::pin::pin!(statement);
        let mut polls = tokio::time::interval(POLL);
        let mut asked_to_stop = false;
        loop {
            tokio::select! {
                done = &mut statement => return done.map(drop),
                _ = polls.tick() => {
                    // Missing progress does no harm.
                    if let Ok(Some(building)) = self.building(process).await {
                        (watch.progress)(&building);
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

    /// The progress of a server process, if it builds an index.
    async fn building(&self, process: i32) -> Result<Option<Building>, sqlx::Error> {
        let row = sqlx::query(
            "select phase, (100.0 * case when tuples_total > 0 then tuples_done::float8 / tuples_total
                                  else blocks_done::float8 / nullif(blocks_total, 0) end)::float8,
                    nullif(current_locker_pid, 0)::int
             from pg_stat_progress_create_index where pid = $1",
        )
        .bind(process)
        .fetch_optional(&self.pool)
        .await?;
        let read = |row: sqlx::postgres::PgRow| {
            Ok(Building {
                phase: row.try_get(0)?,
                percent: row.try_get(1)?,
                waits_for: row.try_get(2)?,
            })
        };
        row.map(read).transpose()
    }
}

/// Memory for building the index with the rows that are there now; `None` if its access method is
/// not known.
async fn work_memory(
    connection: &mut PgConnection,
    work: &Work,
) -> Result<Option<u64>, sqlx::Error> {
    if work.shape.memory(0).is_none() {
        return Ok(None);
    }
    let count = format!("select count(*) from {}", work.table);
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
        .fetch_one(&mut *connection)
        .await?;
    Ok(work.shape.memory(rows.unsigned_abs()))
}
