//! Finds the rows that a run has not met, after it has read its whole dataset.
//!
//! 1. Each chunk notes the keys it has met, in its transaction (`note_met`).
//! 2. When all partitions are complete, the rows that the pipeline has written are compared with
//!    those keys, once ([`Store::find_missing`]). Missing rows are listed, or held back.
//! 3. Listed rows are removed or flagged in small transactions ([`Store::treat_missing`]).
//!
//! Each of these transactions is fenced as a commit is, and leaves the database in a state from
//! which the next start continues. No row counts as missing unless the run is known to have begun
//! at the start of the dataset, and the key of every row that it received was noted.

pub(super) mod dropped;
mod treat;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::halving::Halving;
use super::run::Run;
use super::{Blame, Store, StoreError, blame, claim};
use crate::route::absent::{FLAGGED, Missing, Treatment};
use crate::row::Batch;

/// The rows that a run has found missing, by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Number of rows that the pipeline had written, and of those that the run has not met; `None`
    /// until they are counted.
    pub counted: Option<(u64, u64)>,
    /// Number of rows removed from the tables.
    pub removed: u64,
    /// Number of rows flagged.
    pub flagged: u64,
    /// Number of rows that stay because the database refused the change.
    pub kept: u64,
    /// True if all of them stay.
    pub held_back: bool,
    /// The reason why some or all of them stay.
    pub note: Option<String>,
    /// True if some are still to be removed or flagged.
    pub waiting: bool,
}

/// Notes the keys that a chunk has met. Failed rows count: the source has them. Rows that plugins drop
/// do not: they have no place in the tables.
pub(super) async fn note_met(
    connection: &mut PgConnection,
    run: Uuid,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    let dropped = dropped::rows(batch);
    let has_key = |row: usize| {
        let row = u32::try_from(row).unwrap_or(u32::MAX);
        batch.keyless.binary_search(&row).is_err() && !dropped.contains(&row)
    };
    let keys: Vec<&str> = batch
        .keys
        .iter()
        .enumerate()
        .filter(|(row, _)| has_key(*row))
        .map(|(_, key)| key.as_ref())
        .collect();
    if keys.iter().all(|key| key.is_ascii()) {
        return insert_met(connection, run, batch, &keys).await;
    }
    sqlx::query("savepoint met")
        .execute(&mut *connection)
        .await?;
    if let Err(error) = insert_met(connection, run, batch, &keys).await {
        if blame(&error) == Blame::Server {
            return Err(error);
        }
        sqlx::query("rollback to savepoint met")
            .execute(&mut *connection)
            .await?;
        let keys = representable(connection, &keys).await?;
        insert_met(connection, run, batch, &keys).await?;
    }
    sqlx::query("release savepoint met")
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_met(
    connection: &mut PgConnection,
    run: Uuid,
    batch: &Batch,
    keys: &[&str],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into forebay.seen_keys (run, rows, keyless, hashes)
         select $1, $2, $3, coalesce(pg_catalog.array_agg(hashtextextended(key collate \"C\", 0)), '{}')
         from pg_catalog.unnest($4::text[]) k(key)",
    )
    .bind(run)
    .bind(i32::try_from(batch.keys.len()).unwrap_or(i32::MAX))
    .bind(i32::try_from(batch.keyless.len()).unwrap_or(i32::MAX))
    .bind(keys)
    .execute(connection)
    .await?;
    Ok(())
}

/// The keys whose characters the database's encoding has. No table can have the others.
async fn representable<'k>(
    connection: &mut PgConnection,
    keys: &[&'k str],
) -> Result<Vec<&'k str>, sqlx::Error> {
    let mut found = Vec::with_capacity(keys.len());
    let mut halving = Halving::of_all(connection, keys).await?;
    while let Some(part) = halving.next() {
        let read = sqlx::query("select $1::text[] is null").bind(part);
        match read.execute(&mut *connection).await {
            Ok(_) => found.extend_from_slice(part),
            Err(error) if blame(&error) == Blame::Refusal => {
                halving.undo(connection, part).await?;
            }
            Err(error) => return Err(error),
        }
    }
    halving.end(connection).await?;
    Ok(found)
}

/// Removes the keys that earlier runs of a pipeline have left: runs that were abandoned, and runs
/// that were continued under a configuration which does not look for missing rows.
pub(super) async fn forget(
    connection: &mut PgConnection,
    pipeline: i32,
) -> Result<(), sqlx::Error> {
    for statement in [
        "delete from forebay.seen_keys s using forebay.run r where r.id = s.run and r.pipeline = $1",
        "delete from forebay.missing_key m using forebay.run r where r.id = m.run and r.pipeline = $1",
    ] {
        sqlx::query(statement)
            .bind(pipeline)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl Store {
    /// Finds the rows that a run has not met. Does nothing if they are known already. `promised` is
    /// the number of rows that the source has, if the run has received fewer.
    ///
    /// # Errors
    /// If another host has claimed the run since, or a query fails.
    pub async fn find_missing(
        &self,
        run: &Run,
        missing: &Missing,
        promised: Option<u64>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        let noted = sqlx::query(
            "select snapshot and received = coalesce(sum(s.rows), 0), missing is not null,
                 coalesce(sum(s.keyless), 0)::bigint, received
             from forebay.run r left join forebay.seen_keys s on s.run = r.id
             where r.id = $1 group by r.id",
        )
        .bind(run.id)
        .fetch_one(&mut *connection)
        .await?;
        let (is_certain, is_known): (bool, bool) = (noted.try_get(0)?, noted.try_get(1)?);
        let doubts = Doubts {
            keyless: noted.try_get(2)?,
            received: noted.try_get(3)?,
            promised,
        };
        if is_known {
            return Ok(());
        }
        let counted = match is_certain {
            true => Some(count(connection, run, &missing.treatment).await?),
            false => None,
        };
        fence_complete(connection, run).await?;
        if let Some((known, absent)) = counted {
            let note = reason_to_hold_back(missing, known, absent, &doubts);
            if note.is_none() && absent > 0 {
                list(connection, run, &missing.treatment).await?;
            }
            sqlx::query(
                "update forebay.run set known = $2, missing = $3, held_back = $4::text is not null, missing_note = $4
                 where id = $1",
            )
            .bind(run.id)
            .bind(known)
            .bind(absent)
            .bind(note)
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query("delete from forebay.seen_keys where run = $1")
            .bind(run.id)
            .execute(&mut *connection)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The rows that a run has found missing, by outcome.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn missing(&self, run: Uuid) -> Result<Found, StoreError> {
        let row = sqlx::query(
            "select known, missing, removed, flagged, kept, held_back, missing_note,
                 exists (select from forebay.missing_key m where m.run = r.id)
             from forebay.run r where id = $1",
        )
        .bind(run)
        .fetch_one(&self.pool)
        .await?;
        let number = |index: usize| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
        let counted: (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Found {
            counted: counted
                .0
                .zip(counted.1)
                .map(|(known, missing)| (known.unsigned_abs(), missing.unsigned_abs())),
            removed: number(2)?,
            flagged: number(3)?,
            kept: number(4)?,
            held_back: row.try_get(5)?,
            note: row.try_get(6)?,
            waiting: row.try_get(7)?,
        })
    }
}

/// The entries of `forebay.digest` that the run has not met: `$1` pipeline, `$2` run, `$3`
/// digest of the entries to leave out.
macro_rules! unmet {
    () => {
        "from forebay.digest d
         where d.pipeline = $1 and d.digest is distinct from $3 and not exists (
             select from (select pg_catalog.unnest(hashes) as hash from forebay.seen_keys where run = $2) seen
             where seen.hash = hashtextextended(coalesce(d.key, d.id::text) collate \"C\", 0))"
    };
}

/// Digest of the rows to leave out: a flagged row is not flagged again, but may be removed.
fn left_out(treatment: &Treatment) -> Option<Uuid> {
    match treatment {
        Treatment::Keep | Treatment::Remove => None,
        Treatment::Flag(_) => Some(FLAGGED),
    }
}

/// Number of rows that the pipeline has written, and of those that the run has not met.
async fn count(
    connection: &mut PgConnection,
    run: &Run,
    treatment: &Treatment,
) -> Result<(i64, i64), sqlx::Error> {
    // These statements read whole tables once; connections are set up for look-ups of keys.
    sqlx::raw_sql(
        "set local statement_timeout = 0; set local enable_nestloop = off;
         set local enable_seqscan = on; set local enable_hashjoin = on",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query_as(concat!(
        "select (select count(*) from forebay.digest d
                 where d.pipeline = $1 and d.digest is distinct from $3),
                (select count(*) ",
        unmet!(),
        ")"
    ))
    .bind(run.pipeline)
    .bind(run.id)
    .bind(left_out(treatment))
    .fetch_one(connection)
    .await
}

/// Lists the rows that the run has not met.
async fn list(
    connection: &mut PgConnection,
    run: &Run,
    treatment: &Treatment,
) -> Result<(), sqlx::Error> {
    sqlx::query(concat!(
        "insert into forebay.missing_key (run, key) select $2, coalesce(d.key, d.id::text) ",
        unmet!()
    ))
    .bind(run.pipeline)
    .bind(run.id)
    .bind(left_out(treatment))
    .execute(connection)
    .await?;
    Ok(())
}

/// What speaks against rows that did not come being missing.
struct Doubts {
    /// Number of rows without a readable key.
    keyless: i64,
    /// Number of rows received.
    received: i64,
    /// Number of rows that the source says it has, if more.
    promised: Option<u64>,
}

fn reason_to_hold_back(
    missing: &Missing,
    known: i64,
    absent: i64,
    doubts: &Doubts,
) -> Option<String> {
    let limit = missing.limit_percent;
    let Doubts {
        keyless,
        received,
        promised,
    } = *doubts;
    if absent == 0 {
        None
    } else if let Some(promised) = promised.filter(|_| !missing.is_allowed) {
        Some(format!(
            "the source says that it has {promised} rows, and sent {received}: the {absent} missing ones are kept. \
             If they are gone, and its row_count is wrong, run the pipeline once with --allow-missing"
        ))
    } else if keyless > 0 {
        Some(format!(
            "{keyless} rows came without a readable key and may be among the {absent} missing ones: \
             missing rows are kept until every row has a key (see `forebay dlq list`)"
        ))
    } else if absent as f64 * 100.0 > limit * known as f64 {
        Some(format!(
            "{absent} of {known} rows are missing, more than missing_limit = \"{limit}%\": they are kept. \
             If the source is right, run the pipeline once with --allow-missing"
        ))
    } else {
        None
    }
}

/// As [`fence`], and fails if a partition is not read to its end any more.
pub(super) async fn fence_complete(
    connection: &mut PgConnection,
    run: &Run,
) -> Result<(), StoreError> {
    let held = held(connection, run).await?;
    match held.iter().find(|(_, complete)| !complete) {
        Some((unread, _)) => Err(claim::unread(unread)),
        None => still_ours(run, &held),
    }
}

/// Fails if another host has claimed a partition since; until the transaction ends, none can. Must
/// be called before the run is changed: a claim locks the two in that order.
pub(super) async fn fence(connection: &mut PgConnection, run: &Run) -> Result<(), StoreError> {
    let held = held(connection, run).await?;
    still_ours(run, &held)
}

fn still_ours(run: &Run, held: &[(String, bool)]) -> Result<(), StoreError> {
    let is_lost = |name: &str| !held.iter().any(|(held, _)| held == name);
    let mut partitions = run.partitions.iter();
    match partitions.find(|mine| is_lost(&mine.partition)) {
        Some(lost) => Err(StoreError::Fenced(lost.partition.clone())),
        None => Ok(()),
    }
}

/// The partitions of a run that no other host has claimed, and whether they are read to their ends.
async fn held(
    connection: &mut PgConnection,
    run: &Run,
) -> Result<Vec<(String, bool)>, sqlx::Error> {
    let partitions = run.partitions.iter();
    let names: Vec<&str> = partitions
        .clone()
        .map(|mine| mine.partition.as_str())
        .collect();
    let mine: Vec<Uuid> = vec![run.id; names.len()];
    sqlx::query_as(
        "select c.partition, c.complete from forebay.checkpoint c
         join unnest($2::text[], $3::bigint[], $4::uuid[]) mine(partition, epoch, run)
             on c.partition = mine.partition and c.epoch = mine.epoch and c.run = mine.run
         where c.pipeline = $1 order by c.partition for share of c",
    )
    .bind(run.pipeline)
    .bind(names)
    .bind(partitions.map(|mine| mine.epoch).collect::<Vec<_>>())
    .bind(mine)
    .fetch_all(connection)
    .await
}
