//! Rows that plugins drop now, and that an earlier run has written.
//!
//! A plugin that drops a row says that it has no place in the tables. So it is not noted as met, and
//! where missing rows are sought it is one of them; elsewhere it stays, and is counted.

use std::collections::HashSet;

use sqlx::PgConnection;

use crate::route::absent::FLAGGED;
use crate::row::Batch;
use crate::store::digest;
use crate::store::run::Run;

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
    let keys: HashSet<&str> = keys
        .map(AsRef::as_ref)
        .filter(|key: &&str| !key.is_empty())
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = keys.into_iter().collect();
    let known = digest::count(connection, run.pipeline, &keys, FLAGGED).await?;
    if known > 0 {
        sqlx::query("update forebay.run set dropped_known = dropped_known + $2 where id = $1")
            .bind(run.id)
            .bind(known)
            .execute(connection)
            .await?;
    }
    Ok(())
}
