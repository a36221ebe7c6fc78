//! Rows that plugins drop now, and that an earlier run has written.
//!
//! A plugin that drops a row says that it has no place in the tables. So it is not noted as met, and
//! where missing rows are sought it is one of them; elsewhere it stays, and is counted.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::route::absent::FLAGGED;
use crate::row::Batch;
use crate::store::run::Run;
use crate::store::{Blame, blame};

/// Rows that plugins drop.
pub(super) fn rows(batch: &Batch) -> HashSet<u32> {
    batch.drops.iter().map(|drop| drop.row).collect()
}

/// Counts the dropped rows of a chunk that an earlier run has written. Must be called after the
/// checkpoint has moved, since it changes the run.
pub(in crate::store) async fn count(
    connection: &mut PgConnection,
    run: &Run,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    let keys = batch.drops.iter();
    let keys = keys.filter_map(|drop| batch.keys.get(drop.row as usize));
    // The tables cannot have a key with a NUL, nor can a statement.
    let keys: HashSet<&str> = keys
        .map(AsRef::as_ref)
        .filter(|key: &&str| !key.is_empty() && !key.contains('\0'))
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    if keys.iter().all(|key| key.is_ascii()) {
        return add(connection, run.id, run.pipeline, keys.into_iter().collect()).await;
    }
    // Nor a key with characters that the database's encoding lacks.
    sqlx::query("savepoint dropped")
        .execute(&mut *connection)
        .await?;
    let all = keys.iter().copied().collect();
    if let Err(error) = add(connection, run.id, run.pipeline, all).await {
        if blame(&error) == Blame::Server {
            return Err(error);
        }
        sqlx::query("rollback to savepoint dropped")
            .execute(&mut *connection)
            .await?;
        let ascii = keys.into_iter().filter(|key| key.is_ascii()).collect();
        add(connection, run.id, run.pipeline, ascii).await?;
    }
    sqlx::query("release savepoint dropped")
        .execute(connection)
        .await?;
    Ok(())
}

async fn add(
    connection: &mut PgConnection,
    run: Uuid,
    pipeline: i32,
    keys: Vec<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with known as (
             select count(*) as rows from unnest($3::text[]) k(key)
             join forebay.row_digest d on d.pipeline = $2 and d.key = k.key collate \"C\"
             where d.digest <> $4)
         update forebay.run set dropped_known = dropped_known + known.rows from known
         where id = $1 and known.rows > 0",
    )
    .bind(run)
    .bind(pipeline)
    .bind(keys)
    .bind(FLAGGED)
    .execute(connection)
    .await?;
    Ok(())
}
