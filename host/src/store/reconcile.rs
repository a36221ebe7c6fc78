//! After a run that has read its whole dataset: the rows that it has not met.
//!
//! 1. Each chunk notes the keys it has met, in its transaction ([`saw`]).
//! 2. When all partitions are complete, the rows that the pipeline has written are compared with
//!    those keys, once ([`Store::find_missing`]). What is missing is listed, or held back.
//! 3. What is listed is dealt with in small transactions ([`Store::treat_missing`]).
//!
//! Each of these transactions is fenced as a commit is, and leaves the database so that the next
//! start goes on from there. Nothing is found missing unless the run is known to have begun at the
//! start of the dataset, and every row that it received to have been noted with its key.

mod treat;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::run::Run;
use super::{Store, StoreError};
use crate::route::absent::{FLAGGED, Missing, Treatment};
use crate::row::Batch;

/// What a run has found missing, and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows that the pipeline had written, and those of them that the run has not met; `None`
    /// until they are counted.
    pub counted: Option<(u64, u64)>,
    /// Removed from the tables.
    pub removed: u64,
    /// Marked.
    pub flagged: u64,
    /// Refused by the database.
    pub kept: u64,
    /// All of them stay.
    pub held_back: bool,
    /// Why some or all of them stay.
    pub note: Option<String>,
    /// Still to be dealt with.
    pub waiting: bool,
}

/// Notes which keys a chunk has met. Failed and dropped rows count: the source has them.
pub(super) async fn saw(
    connection: &mut PgConnection,
    run: Uuid,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    let has_key = |row: usize| {
        let row = u32::try_from(row).unwrap_or(u32::MAX);
        batch.keyless.binary_search(&row).is_err()
    };
    let keys: Vec<&str> = batch
        .keys
        .iter()
        .enumerate()
        .filter(|(row, _)| has_key(*row))
        .map(|(_, key)| key.as_ref())
        .collect();
    sqlx::query(
        "insert into forebay.seen_keys (run, rows, keyless, hashes)
         select $1, $2, $3, coalesce(array_agg(hashtextextended(key collate \"C\", 0)), '{}')
         from unnest($4::text[]) k(key)",
    )
    .bind(run)
    .bind(i32::try_from(batch.wire.len()).unwrap_or(i32::MAX))
    .bind(i32::try_from(batch.keyless.len()).unwrap_or(i32::MAX))
    .bind(keys)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes what earlier runs of a pipeline have left: those that were given up, and those that
/// went on under a configuration which does not look for missing rows.
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
    /// Finds out which rows a run has not met. Does nothing if that is known already.
    ///
    /// # Errors
    /// If another host has claimed the run since, or the database cannot be asked.
    pub async fn find_missing(&self, run: &Run, missing: &Missing) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        let noted = sqlx::query(
            "select snapshot and received = coalesce(sum(s.rows), 0), missing is not null,
                 coalesce(sum(s.keyless), 0)::bigint
             from forebay.run r left join forebay.seen_keys s on s.run = r.id
             where r.id = $1 group by r.id",
        )
        .bind(run.id)
        .fetch_one(&mut *connection)
        .await?;
        let (is_certain, is_known, keyless): (bool, bool, i64) =
            (noted.try_get(0)?, noted.try_get(1)?, noted.try_get(2)?);
        if is_known {
            return Ok(());
        }
        let counted = match is_certain {
            true => Some(count(connection, run, &missing.treatment).await?),
            false => None,
        };
        fence(connection, run).await?;
        if let Some((known, absent)) = counted {
            let note = reason_to_hold_back(missing, known, absent, keyless);
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

    /// What a run has found missing, and what became of it.
    ///
    /// # Errors
    /// If the database cannot be asked.
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

/// The entries of `forebay.row_digest` that the run has not met: `$1` pipeline, `$2` run, `$3` the
/// digest of entries that are not looked at.
macro_rules! unmet {
    () => {
        "from forebay.row_digest d
         where d.pipeline = $1 and d.digest is distinct from $3 and not exists (
             select from (select unnest(hashes) as hash from forebay.seen_keys where run = $2) seen
             where seen.hash = hashtextextended(d.key, 0))"
    };
}

/// A row that is flagged is not flagged again; it may well be removed.
fn passed_over(treatment: &Treatment) -> Option<Uuid> {
    match treatment {
        Treatment::Keep | Treatment::Remove => None,
        Treatment::Flag(_) => Some(FLAGGED),
    }
}

/// How many rows the pipeline has written, and how many of them the run has not met.
async fn count(
    connection: &mut PgConnection,
    run: &Run,
    treatment: &Treatment,
) -> Result<(i64, i64), sqlx::Error> {
    // These statements read whole tables, and once; a connection is set up for looking up keys.
    sqlx::raw_sql(
        "set local statement_timeout = 0; set local enable_nestloop = off;
         set local enable_seqscan = on; set local enable_hashjoin = on",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query_as(concat!(
        "select (select count(*) from forebay.row_digest d
                 where d.pipeline = $1 and d.digest is distinct from $3),
                (select count(*) ",
        unmet!(),
        ")"
    ))
    .bind(run.pipeline)
    .bind(run.id)
    .bind(passed_over(treatment))
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
        "insert into forebay.missing_key (run, key) select $2, d.key ",
        unmet!()
    ))
    .bind(run.pipeline)
    .bind(run.id)
    .bind(passed_over(treatment))
    .execute(connection)
    .await?;
    Ok(())
}

fn reason_to_hold_back(missing: &Missing, known: i64, absent: i64, keyless: i64) -> Option<String> {
    let limit = missing.limit_percent;
    if absent == 0 {
        None
    } else if keyless > 0 {
        Some(format!(
            "{keyless} rows came without a readable key, and may be among the {absent} that are missing: \
             those stay until every row has its key (forebay dlq list)"
        ))
    } else if absent as f64 * 100.0 > limit * known as f64 {
        Some(format!(
            "{absent} of {known} rows are missing, more than missing_limit = \"{limit}%\": they stay. \
             If the source is right, run the pipeline once with --allow-missing"
        ))
    } else {
        None
    }
}

/// Fails if another host has claimed a partition since. Until the transaction ends, none can.
/// Before the run is changed: a claim locks the two in that order.
async fn fence(connection: &mut PgConnection, run: &Run) -> Result<(), StoreError> {
    let partitions = run.partitions.iter();
    let names: Vec<&str> = partitions
        .clone()
        .map(|mine| mine.partition.as_str())
        .collect();
    let mine: Vec<Uuid> = vec![run.id; names.len()];
    let held: Vec<String> = sqlx::query_scalar(
        "select c.partition from forebay.checkpoint c
         join unnest($2::text[], $3::bigint[], $4::uuid[]) mine(partition, epoch, run)
             on c.partition = mine.partition and c.epoch = mine.epoch and c.run = mine.run
         where c.pipeline = $1 order by c.partition for share of c",
    )
    .bind(run.pipeline)
    .bind(&names)
    .bind(partitions.map(|mine| mine.epoch).collect::<Vec<_>>())
    .bind(mine)
    .fetch_all(connection)
    .await?;
    match names.iter().find(|name| !held.iter().any(|it| it == *name)) {
        Some(lost) => Err(StoreError::Fenced((*lost).to_owned())),
        None => Ok(()),
    }
}
