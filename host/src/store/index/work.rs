//! Suspended indexes, as noted in `forebay.index_work`.

use sqlx::postgres::types::Oid;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::estimate::Shape;
use super::manner::Manner;
use crate::store::connect::Store;
use crate::store::error::StoreError;

/// A suspended index.
#[derive(Debug, Clone)]
pub struct Work {
    /// The table's schema and name, quoted for use in SQL.
    pub table: String,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// The manner in which it was suspended.
    pub manner: Manner,
    /// Other pipelines with an unfinished run that waits for it.
    pub others: Vec<String>,
    /// True if the run in question waits for it.
    pub mine: bool,
    /// Parameters of its size.
    pub shape: Shape,
    pub(super) relation: i64,
    pub(super) name: String,
    pub(super) definition: String,
    pub(super) tablespace: String,
    pub(super) comment: Option<String>,
    pub(super) index_cleanup: Option<String>,
    pub(super) index_oid: Option<Oid>,
    pub(super) options: Option<String>,
    pub(super) statistics: Vec<String>,
}

impl Store {
    /// The suspended indexes of these tables, as seen by a run; nil for no run.
    ///
    /// # Errors
    /// Fails if the database cannot be queried.
    pub async fn index_work(&self, run: Uuid, tables: &[String]) -> Result<Vec<Work>, StoreError> {
        // Indexes of a dropped table cannot be restored.
        sqlx::query(
            "delete from forebay.index_work w where not exists (select from pg_class c where c.oid = w.relation)",
        )
        .execute(&self.pool)
        .await?;
        let rows = sqlx::query(
            "select pg_catalog.format('%I.%I', n.nspname, c.relname), w.manner, w.relation::oid::bigint,
                    pg_catalog.format('%I.%I', w.schema, w.name), w.name, w.definition, w.tablespace,
                    w.comment, w.index_cleanup, w.method, w.parameter, w.vector_bytes,
                    w.index_oid, w.options, w.statistics
             from forebay.index_work w
             join pg_class c on c.oid = w.relation join pg_namespace n on n.oid = c.relnamespace
             where w.relation in (
                 select name::regclass from pg_catalog.unnest($1::text[]) name
                 union select relid from pg_catalog.unnest($1::text[]) name, pg_partition_tree(name::regclass))
             order by w.depth desc, w.since, w.name",
        )
        .bind(tables)
        .fetch_all(&self.pool)
        .await?;
        let mut work = Vec::new();
        for row in rows {
            let (manner, method): (String, String) = (row.try_get(1)?, row.try_get(9)?);
            let size = |index| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
            let mut found = Work {
                table: row.try_get(0)?,
                quoted: row.try_get(3)?,
                manner: Manner::parse(&manner),
                others: Vec::new(),
                mine: false,
                shape: Shape::known(&method, size(10)?, size(11)?),
                relation: row.try_get(2)?,
                name: row.try_get(4)?,
                definition: row.try_get(5)?,
                tablespace: row.try_get(6)?,
                comment: row.try_get(7)?,
                index_cleanup: row.try_get(8)?,
                index_oid: row.try_get(12)?,
                options: row.try_get(13)?,
                statistics: row.try_get(14)?,
            };
            let mut connection = self.pool.acquire().await?;
            (found.mine, found.others) = waiting(&mut connection, &found, run).await?;
            work.push(found);
        }
        Ok(work)
    }
}

/// Where an unfinished run of another pipeline is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// Name of the pipeline.
    pub pipeline: String,
    /// False if its last start has ended.
    pub is_running: bool,
    /// Changes with each start and chunk.
    place: String,
}

impl Store {
    /// Where the runs of these pipelines are that wait for an index.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn whereabouts(
        &self,
        work: &Work,
        pipelines: &[String],
    ) -> Result<Vec<Whereabouts>, StoreError> {
        let rows: Vec<(String, bool, String)> = sqlx::query_as(
            "select p.name, r.status = 'running',
                    concat(r.id, ' ', r.starts, ' ', r.received, ' ', (
                        select string_agg(concat(c.partition, ' ', c.epoch, ' ', c.sequence), ',' order by c.partition)
                        from forebay.checkpoint c where c.pipeline = p.id))
             from forebay.index_wait w
             join forebay.run r on r.id = w.run join forebay.pipeline p on p.id = r.pipeline
             where w.relation = $1::oid and w.name = $2 and p.name = any($3)
             order by p.name, r.id",
        )
        .bind(work.oid())
        .bind(&work.name)
        .bind(pipelines)
        .fetch_all(&self.pool)
        .await?;
        let runs = rows
            .into_iter()
            .map(|(pipeline, is_running, place)| Whereabouts {
                pipeline,
                is_running,
                place,
            });
        Ok(runs.collect())
    }
}

/// True if a run waits for an index, and the other pipelines that do. A run that was abandoned or
/// has succeeded no longer waits.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    work: &Work,
    run: Uuid,
) -> Result<(bool, Vec<String>), sqlx::Error> {
    let waiting: Vec<(Uuid, String)> = sqlx::query_as(
        "select r.id, p.name from forebay.index_wait w
         join forebay.run r on r.id = w.run join forebay.pipeline p on p.id = r.pipeline
         where w.relation = $1::oid and w.name = $2
           and r.status in ('running', 'failed', 'halted', 'interrupted')
         order by p.name",
    )
    .bind(work.oid())
    .bind(&work.name)
    .fetch_all(connection)
    .await?;
    let mine = waiting.iter().any(|(id, _)| *id == run);
    let others = waiting.into_iter().filter(|(id, _)| *id != run);
    Ok((mine, others.map(|(_, pipeline)| pipeline).collect()))
}

impl Work {
    pub(super) fn oid(&self) -> Oid {
        Oid(u32::try_from(self.relation).unwrap_or_default())
    }

    /// True if it is the valid index that was noted, which nobody has built anew since.
    pub(super) async fn is_there_as_before(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "select exists (select from pg_index
                            where indexrelid = to_regclass($1) and indexrelid = $2 and indisvalid)",
        )
        .bind(&self.quoted)
        .bind(self.index_oid)
        .fetch_one(connection)
        .await
    }
}
