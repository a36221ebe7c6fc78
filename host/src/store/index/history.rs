//! What the last run of a pipeline brought, as a guess at what the next one will bring.

use crate::store::connect::Store;
use crate::store::error::StoreError;

/// Rows of the last complete run that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that had changed.
    pub updated: u64,
}

impl Store {
    /// The last complete run of a pipeline. `None` for its first, which says nothing of the others.
    ///
    /// # Errors
    /// Fails if the database cannot be queried.
    pub async fn last_run(&self, pipeline: &str) -> Result<Option<LastRun>, StoreError> {
        let runs: Vec<(i64, i64)> = sqlx::query_as(
            "select r.inserted, r.updated from forebay.run r
             join forebay.pipeline p on p.id = r.pipeline
             where p.name = $1 and r.status = 'succeeded' and r.received > 0
             order by r.started_at desc limit 2",
        )
        .bind(pipeline)
        .fetch_all(&self.pool)
        .await?;
        let [(inserted, updated), _] = runs.as_slice() else {
            return Ok(None);
        };
        Ok(Some(LastRun {
            inserted: inserted.unsigned_abs(),
            updated: updated.unsigned_abs(),
        }))
    }
}
