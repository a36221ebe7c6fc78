//! The digests in `forebay.row_digest`: each is of a row as it was last written.

use sqlx::PgConnection;
use uuid::Uuid;

/// Deletes the digests of rows that were removed.
pub(super) async fn forget(
    connection: &mut PgConnection,
    pipeline: i32,
    keys: &[&str],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from forebay.row_digest d using unnest($2::text[]) k(key)
         where d.pipeline = $1 and d.key = k.key collate \"C\"",
    )
    .bind(pipeline)
    .bind(keys)
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
        "update forebay.row_digest d set digest = $3 from unnest($2::text[]) k(key)
         where d.pipeline = $1 and d.key = k.key collate \"C\"",
    )
    .bind(pipeline)
    .bind(keys)
    .bind(digest)
    .execute(connection)
    .await?;
    Ok(())
}
