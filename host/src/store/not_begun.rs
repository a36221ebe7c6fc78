//! Runs that could not be begun: nothing was claimed or read, and what was in the way is recorded.
//!
//! Such a run has 0 starts and no checkpoint, so no start continues it.

use uuid::Uuid;

use super::connect::Store;
use super::error::StoreError;
use super::run::Status;
use super::sql::without_nul;

impl Store {
    /// Records that a run could not be begun, and why. A run that fails like the one before it is
    /// the same record, so that a schedule does not fill the table. Returns its id.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn note_not_begun(
        &self,
        pipeline: &str,
        status: Status,
        message: &str,
    ) -> Result<Uuid, StoreError> {
        let message = without_nul(message);
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let number: i32 = sqlx::query_scalar(
            "with new as (insert into forebay.pipeline (name) values ($1) on conflict do nothing returning id)
             select id from new union all select id from forebay.pipeline where name = $1",
        )
        .bind(pipeline)
        .fetch_one(&mut *transaction)
        .await?;
        let again: Option<Uuid> = sqlx::query_scalar(
            "update forebay.run set finished_at = now()
             where id = (select id from forebay.run where pipeline = $1 order by started_at desc, id desc limit 1)
               and starts = 0 and status = $2 and message = $3
             returning id",
        )
        .bind(number)
        .bind(status.as_str())
        .bind(&message)
        .fetch_optional(&mut *transaction)
        .await?;
        let id = again.unwrap_or_else(Uuid::now_v7);
        if again.is_none() {
            sqlx::query(
                "insert into forebay.run (id, pipeline, status, message, starts, finished_at)
                 values ($1, $2, $3, $4, 0, now())",
            )
            .bind(id)
            .bind(number)
            .bind(status.as_str())
            .bind(&message)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(id)
    }
}
