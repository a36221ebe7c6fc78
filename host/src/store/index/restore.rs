//! Restoring an index: it is built, and its note removed. The server notices within seconds that a
//! host is gone, and gives up.

use std::time::Duration;

use sqlx::PgConnection;

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
                Manner::Beside | Manner::Frozen => {
                    self.rebuild(run, work, gone, watch, resources).await
                }
            };
            let error = match finished {
                Ok(finished) => {
                    if matches!(finished, Finished::Built(_)) {
                        self.prewarm(work).await;
                    }
                    return Ok(finished);
                }
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

    /// Ends without building if the note is gone, or if other runs wait for the index. The note
    /// stays locked until the transaction ends, so that of two runs that end at the same time, one
    /// finds itself the last.
    pub(super) async fn leave(
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
}

pub(super) async fn remove_note(
    connection: &mut PgConnection,
    work: &Work,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from forebay.index_work where relation = $1::oid and name = $2")
        .bind(work.oid())
        .bind(&work.name)
        .execute(connection)
        .await?;
    Ok(())
}
