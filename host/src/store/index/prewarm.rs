//! Reading an index that was just built into memory, so that the first searches do not wait for
//! the disk. Nothing depends on it.

use sqlx::AssertSqlSafe;

use super::work::Work;
use crate::store::connect::Store;

impl Store {
    /// Calls `pg_prewarm`, if the database has the extension. What exceeds the shared buffers would
    /// only displace itself, and is read into the cache of the operating system.
    pub(super) async fn prewarm(&self, work: &Work) {
        match self.prewarmed(work).await {
            Ok(None) => {}
            Ok(Some(blocks)) => {
                tracing::info!(index = work.quoted, blocks, "index read into memory");
            }
            Err(error) => {
                tracing::debug!(index = work.quoted, %error, "the index is not read into memory");
            }
        }
    }

    async fn prewarmed(&self, work: &Work) -> Result<Option<i64>, sqlx::Error> {
        let call: Option<String> = sqlx::query_scalar(
            "select pg_catalog.format('select %I.pg_prewarm(%s::regclass, %L)', n.nspname, c.oid,
                           case when pg_relation_size(c.oid) <= pg_size_bytes(current_setting('shared_buffers'))
                                then 'buffer' else 'read' end)
             from pg_extension e join pg_namespace n on n.oid = e.extnamespace
             join pg_class c on c.oid = to_regclass($1) and c.relkind = 'i'
             where e.extname = 'pg_prewarm'",
        )
        .bind(&work.quoted)
        .fetch_optional(&self.pool)
        .await?;
        let Some(call) = call else {
            return Ok(None);
        };
        let blocks = sqlx::query_scalar(AssertSqlSafe(call));
        blocks.fetch_one(&self.pool).await.map(Some)
    }
}
