//! Dead letters that are tried again: rows that a unique value or a reference kept out, which
//! another row may have given up, or brought, since.
//!
//! An open entry is the latest row of its key: every row that comes, whatever becomes of it, closes
//! the earlier entries of its key (`supersede`). So an older row never overwrites a newer one. An
//! entry is closed in the transaction that writes its row (`record`), which is fenced as a
//! commit is.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::run::{Counts, Place, Run};
use super::waiting::Waiting;
use super::{Store, StoreError, reconcile};
use crate::chunk::{DeadLetter, Prepared};
use crate::policy::Tally;

/// Maximum number of rows that are tried again in one transaction.
const ROWS: i64 = 1_000;

/// Maximum size of these rows, in bytes; a single row may be larger.
const BYTES: i64 = 8 << 20;

/// The condition that an entry `d` may be tried again. The codes are those of a unique value, an
/// exclusion, a reference, and a row that others refer to.
macro_rules! may_succeed {
    () => {
        "d.status = 'open' and d.latest and d.code in ('SQL_23503', 'SQL_23505', 'SQL_23P01', 'SQL_23001')"
    };
}

/// True if a row that failed with this code may be tried again.
pub(super) fn may_succeed(code: &str) -> bool {
    matches!(code, "SQL_23503" | "SQL_23505" | "SQL_23P01" | "SQL_23001")
}

/// The entries that a run tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Rows that the run itself has counted as dead-lettered.
    ThisRun,
    /// Rows of earlier runs. In a snapshot these are rows that the source no longer has, and are
    /// not tried again.
    EarlierRuns,
}

/// Order in which entries are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The oldest first.
    Forward,
    /// The latest first.
    Backward,
}

/// Some entries, to be tried together.
#[derive(Debug, Clone)]
pub struct Letters {
    /// Where they come from.
    pub origin: Origin,
    /// Numbers of the entries, one for each row.
    pub ids: Vec<i64>,
    /// The kind of all these rows in their format, if they are no `forebay.v1.Row`.
    pub kind: Option<String>,
}

/// Number of rows that may succeed at the end of the run.
pub(super) fn waiting_rows(letters: &[DeadLetter]) -> u64 {
    let letters = letters.iter();
    letters.filter(|it| may_succeed(&it.failure.code)).count() as u64
}

/// The rows of a run without those that may succeed at its end. `codes` are its dead letters by code.
#[must_use]
pub fn without_waiting(run: Tally, codes: &[(String, i64)]) -> Tally {
    let waiting = codes.iter().filter(|(code, _)| may_succeed(code));
    let waiting: u64 = waiting.map(|(_, rows)| rows.unsigned_abs()).sum();
    Tally {
        dead_letters: run.dead_letters.saturating_sub(waiting),
        ..run
    }
}

/// The keys of a pipeline that have entries to be tried again.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    pipeline: i32,
) -> Result<Waiting, sqlx::Error> {
    let waiting = Waiting::default();
    let mut keys = sqlx::query_scalar::<_, String>(concat!(
        "select d.key from forebay.dead_letter d
         where d.pipeline = $1 and d.key is not null and ",
        may_succeed!()
    ))
    .bind(pipeline)
    .fetch(connection);
    while let Some(key) = keys.try_next().await? {
        waiting.add(&key);
    }
    Ok(waiting)
}

/// Closes the earlier entries of the keys that a chunk has met, after its dead letters are written.
pub(super) async fn supersede(
    connection: &mut PgConnection,
    place: Place<'_>,
    waiting: &Waiting,
    prepared: &Prepared,
    letters: &[DeadLetter],
) -> Result<(), sqlx::Error> {
    let keys: Vec<&str> = prepared.batch.keys.iter().map(AsRef::as_ref).collect();
    let mut met = waiting.among(&keys);
    let repeated = repeated(prepared, &keys, letters);
    met.extend(repeated.iter().map(|(key, _)| key));
    for letter in letters.iter().filter(|it| may_succeed(&it.failure.code)) {
        let key = keys.get(letter.failure.row as usize);
        waiting.add(key.copied().unwrap_or_default());
    }
    if met.is_empty() {
        return Ok(());
    }
    sqlx::query(concat!(
        "update forebay.dead_letter d set status = 'superseded'
         where d.pipeline = $1 and ",
        may_succeed!(),
        " and d.key = any($2) and (d.last_seen <> now()
             or (d.key, d.code) in (select * from unnest($3::text[], $4::text[])))"
    ))
    .bind(place.pipeline)
    .bind(met)
    .bind(repeated.iter().map(|(key, _)| *key).collect::<Vec<_>>())
    .bind(repeated.iter().map(|(_, code)| *code).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Keys and codes of rows that have failed and came again later in the same chunk. Where the last row
/// of the key has failed in the same way, the entry is that of the last row, and stays.
fn repeated<'k>(
    prepared: &Prepared,
    keys: &[&'k str],
    letters: &'k [DeadLetter],
) -> Vec<(&'k str, &'k str)> {
    if !prepared.keys.repeats() {
        return Vec::new();
    }
    let last: HashMap<&str, usize> = keys.iter().copied().zip(0..).collect();
    let failed: HashMap<usize, &str> = letters
        .iter()
        .filter(|it| may_succeed(&it.failure.code))
        .map(|it| (it.failure.row as usize, it.failure.code.as_str()))
        .collect();
    let repeated = failed.iter().filter_map(|(row, code)| {
        let key = *keys.get(*row)?;
        let last = *last.get(key)?;
        (last > *row && failed.get(&last) != Some(code)).then_some((key, *code))
    });
    repeated.collect()
}

/// Records what became of rows that were tried again: entries of rows that were written are
/// closed, the others stay. The rows of the run's own entries are counted as what became of them.
///
/// # Errors
/// If another host has claimed the run since, or an entry is not open any more.
pub(super) async fn record(
    connection: &mut PgConnection,
    run: &Run,
    letters: &Letters,
    left_out: &HashSet<u32>,
    rows: Counts,
    notify: Option<&str>,
) -> Result<(), StoreError> {
    reconcile::fence(connection, run).await?;
    let written = (0..).zip(&letters.ids);
    let written = written.filter(|(row, _)| !left_out.contains(row));
    let written: Vec<i64> = written.map(|(_, id)| *id).collect();
    let closed = sqlx::query(concat!(
        "update forebay.dead_letter d set status = 'resolved' where d.id = any($1) and ",
        may_succeed!()
    ))
    .bind(&written)
    .execute(&mut *connection)
    .await?;
    if closed.rows_affected() != written.len() as u64 {
        let message = "a dead letter was closed by somebody else while it was tried again";
        return Err(StoreError::Conflict(message.into()));
    }
    if letters.origin == Origin::ThisRun {
        uncount(connection, run.id, &written).await?;
    }
    let (own, earlier) = match letters.origin {
        Origin::ThisRun => (rows, 0),
        Origin::EarlierRuns => (Counts::default(), signed(written.len() as u64)),
    };
    sqlx::query(
        "with owed as (
             insert into forebay.outbox as o (id, pipeline, run, target, changed_rows)
             select $8, pipeline, $1, $9, $10 from forebay.run
             where id = $1 and $9::text is not null and $10 > 0
             on conflict (run, target) where released_at is null do update
             set changed_rows = o.changed_rows + excluded.changed_rows)
         update forebay.run set inserted = inserted + $2, updated = updated + $3,
             unchanged = unchanged + $4, deleted = deleted + $5,
             dead_lettered = dead_lettered - $6, resolved = resolved + $7
         where id = $1",
    )
    .bind(run.id)
    .bind(signed(own.inserted))
    .bind(signed(own.updated))
    .bind(signed(own.unchanged))
    .bind(signed(own.deleted))
    .bind(signed(own.inserted + own.updated + own.unchanged))
    .bind(earlier)
    .bind(Uuid::now_v7())
    .bind(notify)
    .bind(signed(rows.inserted + rows.updated))
    .execute(connection)
    .await?;
    Ok(())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Takes entries out of the run's figures by code.
async fn uncount(connection: &mut PgConnection, run: Uuid, ids: &[i64]) -> Result<(), sqlx::Error> {
    for statement in [
        "with n as (
             select d.stage, coalesce(k.code, 'OTHER') as code, count(*) as rows
             from forebay.dead_letter d left join forebay.run_code k
                 on (k.run, k.fate, k.stage, k.code) = ($1, 'dead_lettered', d.stage, d.code)
             where d.id = any($2) group by 1, 2)
         update forebay.run_code c set rows = c.rows - n.rows from n
         where (c.run, c.fate, c.stage, c.code) = ($1, 'dead_lettered', n.stage, n.code)",
        "delete from forebay.run_code where run = $1 and rows <= 0 and pg_catalog.cardinality($2) > 0",
    ] {
        sqlx::query(statement)
            .bind(run)
            .bind(ids)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl Store {
    /// Some entries that may be tried again, and their rows as they came: those after the entry
    /// `after` in this direction, or the first ones. Empty if there are no more.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn letters(
        &self,
        run: &Run,
        origin: Origin,
        direction: Direction,
        after: Option<i64>,
    ) -> Result<(Letters, Vec<Bytes>), StoreError> {
        // The sizes are added up only for as many as are taken at most.
        let statement = match direction {
            Direction::Forward => concat!(
                "select id, wire, (select kind from forebay.format where digest = format) from (
                     select n.*, sum(octet_length(wire)) over w as bytes, row_number() over w as number from (
                         select d.id, d.wire, d.format from forebay.dead_letter d where d.pipeline = $1 and ",
                may_succeed!(),
                "     and (d.run is not distinct from $2) = $3 and d.id > coalesce($4, 0)
                         order by d.id limit $5) n
                     window w as (order by id)) n
                 where bytes <= $6 or number = 1 order by id"
            ),
            Direction::Backward => concat!(
                "select id, wire, (select kind from forebay.format where digest = format) from (
                     select n.*, sum(octet_length(wire)) over w as bytes, row_number() over w as number from (
                         select d.id, d.wire, d.format from forebay.dead_letter d where d.pipeline = $1 and ",
                may_succeed!(),
                "     and (d.run is not distinct from $2) = $3 and d.id < coalesce($4, 9223372036854775807)
                         order by d.id desc limit $5) n
                     window w as (order by id desc)) n
                 where bytes <= $6 or number = 1 order by id desc"
            ),
        };
        let found: Vec<(i64, Vec<u8>, Option<String>)> = sqlx::query_as(statement)
            .bind(run.pipeline)
            .bind(run.id)
            .bind(origin == Origin::ThisRun)
            .bind(after)
            .bind(ROWS)
            .bind(BYTES)
            .fetch_all(&self.pool)
            .await?;
        let kind = found.first().and_then(|(_, _, kind)| kind.clone());
        let alike = found.into_iter().take_while(|(_, _, it)| *it == kind);
        let (ids, rows) = alike.map(|(id, row, _)| (id, row.into())).unzip();
        Ok((Letters { origin, ids, kind }, rows))
    }
}
