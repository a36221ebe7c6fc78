//! Rows that the database has refused in earlier runs, known by what they were. One that comes again
//! unchanged is not searched for.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::row::{Failure, Stage};

/// Maximum number of rows that a run remembers, the latest: 5 MB. Others are searched for again.
const KEPT: i64 = 100_000;

/// A row that was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    /// Number of its dead letter.
    pub id: i64,
    /// Why it was refused: a hash.
    pub reason: u64,
    /// The check constraint that its own values violate, as a hash of its definition.
    pub rule: Option<i64>,
}

/// Rows that were refused, by their contents. Shared by the writers of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<HashMap<Uuid, Refusal>>);

/// A hash of a row as it was to be written, with its key.
pub(super) fn content(key: &str, digest: Uuid) -> Uuid {
    let mut hasher = Xxh3::new();
    hasher.update(digest.as_bytes());
    hasher.update(key.as_bytes());
    Uuid::from_u128(hasher.digest128())
}

/// A hash of why a row was refused, without its values.
pub(super) fn reason(code: &str, field: Option<&str>) -> u64 {
    xxh3_64(format!("{code} {}", field.unwrap_or_default()).as_bytes())
}

impl Refusals {
    /// The rows of a pipeline that were refused.
    pub(super) async fn read(
        connection: &mut PgConnection,
        pipeline: i32,
    ) -> Result<Self, sqlx::Error> {
        let mut found = sqlx::query_as::<_, (Uuid, i64, String, Option<String>, Option<i64>)>(
            "select content, id, code, field, rule from forebay.dead_letter
             where pipeline = $1 and status in ('open', 'discarded') and content is not null
             order by last_seen desc limit $2",
        )
        .bind(pipeline)
        .bind(KEPT)
        .fetch(connection);
        let mut refusals = HashMap::new();
        while let Some((content, id, code, field, rule)) = found.try_next().await? {
            let reason = reason(&code, field.as_deref());
            let refusal = Refusal { id, reason, rule };
            refusals.entry(content).or_insert(refusal);
        }
        Ok(Self(Arc::new(refusals)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What became of a row, if it was refused.
    pub(super) fn get(&self, key: &str, digest: Uuid) -> Option<Refusal> {
        self.0.get(&content(key, digest)).copied()
    }
}

/// The failures of dead letters, by their numbers: those of rows that may come again.
pub(super) async fn failures(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<HashMap<i64, Failure>, sqlx::Error> {
    let found: Vec<(i64, String, String, Option<String>)> = sqlx::query_as(
        "select id, code, message, field from forebay.dead_letter
         where id = any($1) and status in ('open', 'discarded')",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let failure = |(id, code, message, field)| {
        let failure = Failure {
            row: 0,
            stage: Stage::Write,
            code,
            message,
            field,
            plugin: None,
            attempt: 1,
        };
        (id, failure)
    };
    Ok(found.into_iter().map(failure).collect())
}
