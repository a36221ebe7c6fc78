//! The dead-letter table: written in the transaction of the chunk, listed by commands.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::again::may_succeed;
use super::connect::Store;
use super::error::StoreError;
use super::refusals;
use super::run::Place;
use super::sql::{ascii, from_row, without_nul};
use super::{Blame, blame};
use crate::chunk::{DeadLetter, Prepared};
use crate::route::digest;
use crate::row::{Batch, Failure, Stage};

/// Writes dead letters. A row that fails the same way again updates its entry. In a database whose
/// encoding lacks some of their characters, those that are not ASCII are escaped: such a character
/// may be why the row was refused. `rules` are the check constraints by which the values of a row alone
/// decide, by name.
pub(super) async fn write(
    connection: &mut PgConnection,
    place: Place<'_>,
    prepared: &Prepared,
    rules: &HashMap<String, i64>,
    letters: &[DeadLetter],
) -> Result<(), sqlx::Error> {
    let batch = &prepared.batch;
    let is_ascii = |letter: &DeadLetter| {
        let failure = &letter.failure;
        let texts = [&failure.code, &failure.message, &letter.queue];
        let others = [key(batch, failure), failure.field.as_deref()];
        texts.iter().all(|text| text.is_ascii())
            && others.iter().flatten().all(|text| text.is_ascii())
    };
    if letters.iter().all(is_ascii) {
        return insert(connection, place, prepared, rules, letters, without_nul).await;
    }
    sqlx::query("savepoint letters")
        .execute(&mut *connection)
        .await?;
    if let Err(error) = insert(connection, place, prepared, rules, letters, without_nul).await {
        if blame(&error) == Blame::Server {
            return Err(error);
        }
        sqlx::query("rollback to savepoint letters")
            .execute(&mut *connection)
            .await?;
        insert(connection, place, prepared, rules, letters, ascii).await?;
    }
    sqlx::query("release savepoint letters")
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    place: Place<'_>,
    prepared: &Prepared,
    rules: &HashMap<String, i64>,
    letters: &[DeadLetter],
    storable: fn(&str) -> String,
) -> Result<(), sqlx::Error> {
    let batch = &prepared.batch;
    // Rows of one identity within a chunk make one entry, as they would in two chunks: the last
    // one counts.
    let mut latest: HashMap<Uuid, (&DeadLetter, i64)> = HashMap::new();
    for letter in letters {
        latest
            .entry(identity(prepared, &letter.failure))
            .and_modify(|(last, seen)| (*last, *seen) = (letter, *seen + 1))
            .or_insert((letter, 1));
    }
    let mut entries: Vec<_> = latest.into_iter().collect();
    // In the order of the chunk, so that the entries' numbers are in that order too.
    entries.sort_unstable_by_key(|(_, (letter, _))| letter.failure.row);
    let failures = || entries.iter().map(|(_, (letter, _))| &letter.failure);
    let wire: Vec<Bytes> = failures().map(|failure| wire(prepared, failure)).collect();
    let wire: Vec<&[u8]> = wire.iter().map(AsRef::as_ref).collect();
    sqlx::query(
        "insert into forebay.dead_letter as d (pipeline, partition, run, identity, seen, queue, key, stage, code,
             message, field, plugin, plugin_digest, wire, attempts, content, rule, format)
         select $1, $2, $3, n.*, $18 from unnest($4::uuid[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
             $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::int[],
             $16::uuid[], $17::bigint[]) n
         on conflict (pipeline, partition, identity) do update set
             run = excluded.run, seen = d.seen + excluded.seen, queue = excluded.queue, message = excluded.message,
             field = excluded.field, plugin_digest = excluded.plugin_digest, wire = excluded.wire,
             attempts = excluded.attempts, content = excluded.content, rule = excluded.rule, format = excluded.format,
             last_seen = now(), latest = true,
             status = case d.status when 'discarded' then d.status else 'open' end",
    )
    .bind(place.pipeline)
    .bind(place.partition)
    .bind(place.run)
    .bind(entries.iter().map(|(identity, _)| *identity).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, (_, seen))| *seen).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, (letter, _))| storable(&letter.queue)).collect::<Vec<_>>())
    .bind(failures().map(|failure| key(batch, failure).map(|key| stored_key(key, failure, storable))).collect::<Vec<_>>())
    .bind(failures().map(|failure| failure.stage.as_str()).collect::<Vec<_>>())
    .bind(failures().map(|failure| storable(&failure.code)).collect::<Vec<_>>())
    .bind(failures().map(|failure| storable(&message(prepared, failure))).collect::<Vec<_>>())
    .bind(failures().map(|failure| failure.field.as_deref().map(storable)).collect::<Vec<_>>())
    .bind(failures().map(|failure| failure.plugin.as_ref().map(|plugin| plugin.name.as_str())).collect::<Vec<_>>())
    .bind(failures().map(|failure| failure.plugin.as_ref().map(|plugin| plugin.digest.as_str())).collect::<Vec<_>>())
    .bind(wire)
    .bind(failures().map(|failure| i32::try_from(failure.attempt).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .bind(failures().map(|failure| content(prepared, failure)).collect::<Vec<_>>())
    .bind(failures().map(|failure| rule(rules, failure)).collect::<Vec<_>>())
    .bind(prepared.encoding.as_ref().map(|it| it.digest))
    .execute(connection)
    .await?;
    Ok(())
}

/// What is wrong, and where the row stands in its partition if the source counts rows.
fn message<'f>(prepared: &Prepared, failure: &'f Failure) -> Cow<'f, str> {
    match prepared.units.place(failure.row as usize) {
        // A row that is known from the last run has its place in the message.
        Some(place) if !failure.message.ends_with(&format!(" ({place})")) => {
            format!("{} ({place})", failure.message).into()
        }
        _ => failure.message.as_str().into(),
    }
}

/// What a row was that the database refused.
fn content(prepared: &Prepared, failure: &Failure) -> Option<Uuid> {
    let digest = prepared.digests.get(failure.row as usize).copied()?;
    let is_refused = failure.stage == Stage::Write && !digest.is_nil();
    is_refused.then(|| refusals::content(key(&prepared.batch, failure).unwrap_or_default(), digest))
}

/// The check constraint that a row's own values violate.
fn rule(rules: &HashMap<String, i64>, failure: &Failure) -> Option<i64> {
    let name = failure
        .field
        .as_ref()
        .filter(|_| failure.code == "SQL_23514")?;
    rules.get(name).copied()
}

/// A key that a table has read already is kept as it is: later rows find their entry by it.
fn stored_key(key: &str, failure: &Failure, storable: fn(&str) -> String) -> String {
    match failure.stage {
        Stage::Write if may_succeed(&failure.code) => without_nul(key),
        _ => storable(key),
    }
}

/// The codes of a run's dead letters with their numbers of rows, the most frequent first.
pub(super) async fn codes(
    connection: &mut PgConnection,
    run: Uuid,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select code, sum(rows)::bigint from forebay.run_code
         where run = $1 and fate = 'dead_lettered' group by code order by 2 desc, 1",
    )
    .bind(run)
    .fetch_all(connection)
    .await
}

fn key<'b>(batch: &'b Batch, failure: &Failure) -> Option<&'b str> {
    batch
        .keys
        .get(failure.row as usize)
        .map(AsRef::as_ref)
        .filter(|key: &&str| !key.is_empty())
}

/// The encoded row as it came. It is kept as bytes, which may hold NUL.
fn wire(prepared: &Prepared, failure: &Failure) -> Bytes {
    prepared.units.encoded(failure.row as usize)
}

/// Equal for two failures that are the same. A row is identified by its key; rows without a valid
/// key are identified by their content, in whatever order their encoder put it.
fn identity(prepared: &Prepared, failure: &Failure) -> Uuid {
    let batch = &prepared.batch;
    let mut hasher = Xxh3::new();
    let plugin = failure
        .plugin
        .as_ref()
        .map(|plugin| plugin.name.as_str())
        .unwrap_or_default();
    for part in [failure.stage.as_str(), &failure.code, plugin] {
        digest::text(&mut hasher, part);
    }
    match (failure.code.as_str(), key(batch, failure)) {
        ("KEY_MISSING" | "KEY_INVALID", key) => {
            digest::text(&mut hasher, key.unwrap_or_default());
            digest::row(&mut hasher, batch, failure.row);
        }
        ("ROW_MALFORMED", _) | (_, None) => {
            hasher.update(&wire(prepared, failure));
        }
        (_, Some(key)) => digest::text(&mut hasher, key),
    }
    Uuid::from_u128(hasher.digest128())
}

/// A dead letter without its row.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Number of the entry, for `forebay dlq show`.
    pub id: i64,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the partition.
    pub partition: String,
    /// The row's key; `None` if it is missing or unreadable.
    pub key: Option<String>,
    /// The queue that the policy chose.
    pub queue: String,
    /// Stage at which the row failed.
    pub stage: String,
    /// Reason, for machines.
    pub code: String,
    /// Reason, for people.
    pub message: String,
    /// The column or embedding at fault.
    pub field: Option<String>,
    /// The plugin that rejected the row, or that failed.
    pub plugin: Option<String>,
    /// SHA-256 of the plugin's file.
    pub plugin_digest: Option<String>,
    /// Number of attempts the last time that the row came.
    pub attempts: i32,
    /// Number of times that the row came.
    pub seen: i64,
    /// The last run that met it.
    pub run: Option<Uuid>,
    /// `open`, `resolved`, `superseded`, `replayed` or `discarded`.
    pub status: String,
    /// Time of the first failure, as RFC 3339.
    pub first_seen: String,
    /// Time of the latest failure, as RFC 3339.
    pub last_seen: String,
    /// Size of the encoded row, in bytes.
    pub wire_bytes: i32,
}

from_row!(Entry {
    id,
    pipeline,
    partition,
    key,
    queue,
    stage,
    code,
    message,
    field,
    plugin,
    plugin_digest,
    attempts,
    seen,
    run,
    status,
    first_seen,
    last_seen,
    wire_bytes
});

/// Selects the dead letters to list. `None` selects any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Name of the pipeline.
    pub pipeline: Option<String>,
    /// Code.
    pub code: Option<String>,
    /// Queue.
    pub queue: Option<String>,
    /// Stage.
    pub stage: Option<String>,
    /// Status.
    pub status: Option<String>,
    /// Name of the plugin.
    pub plugin: Option<String>,
    /// Maximum number of entries.
    pub limit: i64,
}

const COLUMNS: &str = "select d.id, p.name as pipeline, d.partition, d.key, d.queue, d.stage, d.code, d.message, d.field,
    d.plugin, d.plugin_digest, d.attempts, d.seen, d.run, d.status,
    to_char(d.first_seen at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as first_seen,
    to_char(d.last_seen at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as last_seen,
    octet_length(d.wire) as wire_bytes
    from forebay.dead_letter d join forebay.pipeline p on p.id = d.pipeline";

impl Store {
    /// The latest dead letters, and their total number.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn dead_letters(&self, filter: &Filter) -> Result<(Vec<Entry>, i64), StoreError> {
        const CONDITION: &str =
            "($1::text is null or p.name = $1) and ($2::text is null or d.code = $2)
            and ($3::text is null or d.queue = $3) and ($4::text is null or d.stage = $4)
            and ($5::text is null or d.status = $5) and ($6::text is null or d.plugin = $6)";
        let list =
            format!("{COLUMNS} where {CONDITION} order by d.last_seen desc, d.id desc limit $7");
        let entries = sqlx::query_as(sqlx::AssertSqlSafe(list))
            .bind(&filter.pipeline)
            .bind(&filter.code)
            .bind(&filter.queue)
            .bind(&filter.stage)
            .bind(&filter.status)
            .bind(&filter.plugin)
            .bind(filter.limit)
            .fetch_all(&self.pool)
            .await?;
        let count = format!(
            "select count(*) from forebay.dead_letter d join forebay.pipeline p on p.id = d.pipeline where {CONDITION}"
        );
        let total = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .bind(&filter.pipeline)
            .bind(&filter.code)
            .bind(&filter.queue)
            .bind(&filter.stage)
            .bind(&filter.status)
            .bind(&filter.plugin)
            .fetch_one(&self.pool)
            .await?;
        Ok((entries, total))
    }

    /// One dead letter with its row as it came on the wire.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<(Entry, Vec<u8>)>, StoreError> {
        let statement = format!("{COLUMNS} where d.id = $1");
        let entry = sqlx::query_as::<_, Entry>(sqlx::AssertSqlSafe(statement))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        let Some(entry) = entry else { return Ok(None) };
        let row = sqlx::query("select wire from forebay.dead_letter where id = $1")
            .bind(id)
            .fetch_one(&self.pool)
            .await?;
        Ok(Some((entry, row.try_get(0)?)))
    }
}
