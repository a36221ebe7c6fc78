//! Names that have occurred, to tell a slip of the pen from something that is not there.

use super::connect::Store;
use super::error::StoreError;

impl Store {
    /// Names of the pipelines that the database knows, sorted.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn pipelines(&self) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar("select name from forebay.pipeline order by name");
        Ok(names.fetch_all(&self.pool).await?)
    }

    /// `None` if a dead letter, of now or of a run, has had this code; otherwise the codes that
    /// there were.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn dead_letter_codes(&self, code: &str) -> Result<Option<Vec<String>>, StoreError> {
        self.others(
            code,
            "select code from forebay.dead_letter
             union select code from forebay.run_code where fate = 'dead_lettered'",
        )
        .await
    }

    /// As [`Self::dead_letter_codes`], for the queue.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn dead_letter_queues(&self, queue: &str) -> Result<Option<Vec<String>>, StoreError> {
        self.others(queue, "select distinct queue from forebay.dead_letter")
            .await
    }

    async fn others(
        &self,
        name: &str,
        all: &'static str,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let mut all: Vec<String> = sqlx::query_scalar(all).fetch_all(&self.pool).await?;
        all.sort_unstable();
        Ok((!all.iter().any(|other| other == name)).then_some(all))
    }
}
