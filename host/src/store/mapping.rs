//! The mapping of each pipeline's last run, which the next one must not silently shrink.

use sqlx::Row;

use super::connect::Store;
use super::error::StoreError;
use crate::route::Remembered;

impl Store {
    /// The mapping that was remembered last; `None` before the first run. One that cannot be read
    /// counts as none.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn mapping(&self, pipeline: &str) -> Result<Option<Remembered>, StoreError> {
        let found = sqlx::query("select mapping::text from forebay.pipeline where name = $1")
            .bind(pipeline)
            .fetch_optional(&self.pool)
            .await?;
        let text: Option<String> = found.map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Remembers the mapping of a pipeline, if it is another one.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn remember_mapping(
        &self,
        pipeline: &str,
        mapping: &Remembered,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(mapping)
            .map_err(|error| StoreError::Failed(error.to_string().into()))?;
        sqlx::query(
            "insert into forebay.pipeline as p (name, mapping) values ($1, $2::jsonb)
             on conflict (name) do update set mapping = excluded.mapping
             where p.mapping is distinct from excluded.mapping",
        )
        .bind(pipeline)
        .bind(text)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
