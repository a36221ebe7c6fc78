//! The digests in `forebay.digest`: each is of a row as it was last written.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::chunk::Prepared;
use crate::route::{own_id, row_id};

/// The id of the text `key` in SQL: what [`row_id`] computes.
macro_rules! id_of_key {
    () => {
        "case when key ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then key::uuid
             else encode(substr(sha256(convert_to(key, 'UTF8')), 1, 16), 'hex')::uuid end"
    };
}
pub(super) use id_of_key;

/// Deletes the digests of rows that were removed.
pub(super) async fn forget(
    connection: &mut PgConnection,
    pipeline: i32,
    keys: &[&str],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from forebay.digest d using unnest($2::uuid[], $3::text[]) k(id, key)
         where d.pipeline = $1 and d.id = k.id and d.key is not distinct from k.key",
    )
    .bind(pipeline)
    .bind(ids_of(keys))
    .bind(keys_beside(keys))
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets the digests of known rows to the same value.
pub(super) async fn set_all(
    connection: &mut PgConnection,
    pipeline: i32,
    keys: &[&str],
    digest: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update forebay.digest d set digest = $4 from unnest($2::uuid[], $3::text[]) k(id, key)
         where d.pipeline = $1 and d.id = k.id and d.key is not distinct from k.key",
    )
    .bind(pipeline)
    .bind(ids_of(keys))
    .bind(keys_beside(keys))
    .bind(digest)
    .execute(connection)
    .await?;
    Ok(())
}

/// Number of these rows that the pipeline has written, apart from those with a certain digest.
pub(super) async fn count(
    connection: &mut PgConnection,
    pipeline: i32,
    keys: &[&str],
    except: Uuid,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from unnest($2::uuid[], $3::text[]) k(id, key)
         join forebay.digest d on d.pipeline = $1 and d.id = k.id and d.key is not distinct from k.key
         where d.digest <> $4",
    )
    .bind(pipeline)
    .bind(ids_of(keys))
    .bind(keys_beside(keys))
    .bind(except)
    .fetch_one(connection)
    .await
}

fn keys_beside<'k>(keys: &[&'k str]) -> Vec<Option<&'k str>> {
    keys.iter().map(|key| key_beside(key)).collect()
}

/// The key as it is kept beside its id; `None` if the id is the key itself.
fn key_beside(key: &str) -> Option<&str> {
    own_id(key).is_none().then_some(key)
}

fn ids_of(keys: &[&str]) -> Vec<Uuid> {
    keys.iter().map(|key| row_id(key)).collect()
}

/// The ids of rows.
pub(super) fn ids(prepared: &Prepared, rows: &[u32]) -> Vec<Uuid> {
    rows.iter().map(|row| id(prepared, *row)).collect()
}

/// The id of a row.
pub(super) fn id(prepared: &Prepared, row: u32) -> Uuid {
    let id = prepared.ids.get(row as usize);
    id.copied().unwrap_or_default()
}

/// Their keys, except for those that are their own ids.
pub(super) fn keys_beside_ids<'p>(prepared: &'p Prepared, rows: &[u32]) -> Vec<Option<&'p str>> {
    rows.iter()
        .map(|row| key_beside_id(prepared, *row))
        .collect()
}

/// The key of a row, if its id is not the key itself.
pub(super) fn key_beside_id(prepared: &Prepared, row: u32) -> Option<&str> {
    let batch = &prepared.batch;
    if !batch.uuids.is_empty() {
        return None;
    }
    key_beside(batch.keys.get(row as usize)?)
}
