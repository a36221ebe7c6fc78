//! Notifications that are owed: recorded by the writer in the transaction of the rows, and kept until
//! they are delivered.
//!
//! For each run and target, at most one is not released, and counts the rows that change. One that is
//! released does not change any more: its identity stands for the same rows at every attempt.

use serde::Serialize;
use uuid::Uuid;

use super::sql::{from_row, without_nul};
use super::{Store, StoreError};

/// A notification that is owed.
#[derive(Debug, Clone, Serialize)]
pub struct Owed {
    /// The same for every attempt.
    pub id: Uuid,
    /// The target that was configured when the rows were written.
    pub target: String,
    /// Number of rows inserted or updated.
    pub changed_rows: i64,
    /// Number of earlier attempts.
    pub attempts: i32,
}

from_row!(Owed {
    id,
    target,
    changed_rows,
    attempts
});

impl Store {
    /// Releases what a pipeline owes. Returns the released notifications that are not delivered yet,
    /// oldest first. One that a chunk has begun meanwhile is left for the next time.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn release(&self, pipeline: i32) -> Result<Vec<Owed>, StoreError> {
        sqlx::query(
            "update forebay.outbox set released_at = now() where pipeline = $1 and released_at is null",
        )
        .bind(pipeline)
        .execute(&self.pool)
        .await?;
        Ok(sqlx::query_as(
            "select id, target, changed_rows, attempts from forebay.outbox
             where pipeline = $1 and released_at is not null and delivered_at is null
             order by created_at, id",
        )
        .bind(pipeline)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Records the outcome of an attempt; `None` for success.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn attempted(&self, owed: &Owed, error: Option<&str>) -> Result<(), StoreError> {
        sqlx::query(
            "update forebay.outbox set attempts = attempts + 1, last_error = $2,
                 delivered_at = case when $2::text is null then now() else delivered_at end
             where id = $1",
        )
        .bind(owed.id)
        .bind(error.map(without_nul))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
