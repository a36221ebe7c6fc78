//! What a chunk did, counted in the statement that moves the checkpoint.

use std::collections::{BTreeMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::rollback::Rollback;
use crate::chunk::{DeadLetter, Prepared, Settled};
use crate::plugin::Comparison;
use crate::policy::{Tally, Window};
use crate::row::Drop;
use crate::store::StoreError;
use crate::store::claim::Claim;
use crate::store::run::{Counts, Place};
use crate::store::sql::without_nul;
use crate::store::token;

/// Maximum number of codes of a run; rows with any further code are counted as `OTHER`. Without
/// a limit, a plugin that gives every row its own code would make the report as long as the
/// dataset.
const CODES: i64 = 1_000;

/// Moves the checkpoint and counts a chunk. Nothing is counted unless the checkpoint moves. Returns
/// what the run has come to with it. Most chunks need no more than that, and parts that do nothing
/// would cost as much as the rest.
macro_rules! moved {
    ($($more:expr),*) => {
        concat!(
            "with moved as (
    update forebay.checkpoint
    set position = $4, sequence = sequence + 1, rows = rows + $6, recent = $14, updated_at = now()
    where pipeline = $1 and partition = $2 and epoch = $3 and run = $5 and sequence = $15
    returning 1),
counted as (
    update forebay.run set received = received + $6, inserted = inserted + $7, updated = updated + $8,
        unchanged = unchanged + $9, dropped = dropped + $10, dead_lettered = dead_lettered + $11,
        chunks = chunks + 1, bytes_received = bytes_received + $12, deleted = deleted + $13
    where id = $5 and exists (select from moved)
    returning received, dead_lettered)",
            $(",\n", $more,)*
            "\nselect received, dead_lettered from counted"
        )
    };
}

/// Notes the notification that is owed.
macro_rules! owed {
    () => {
        "owed as (
    insert into forebay.outbox as o (id, pipeline, run, target, changed_rows)
    select $16, $1, $5, $17, $7 + $8 where $17::text is not null and exists (select from moved)
    on conflict (run, target) where released_at is null do update
    set changed_rows = o.changed_rows + excluded.changed_rows)"
    };
}

/// Counts failed and dropped rows by code.
macro_rules! coded {
    () => {
        "coded as (
    insert into forebay.run_code as c (run, fate, stage, code, rows)
    select $5, n.fate, n.stage, case when k.code is not null or known.codes < $22 then n.code else 'OTHER' end, sum(n.rows)
    from unnest($18::text[], $19::text[], $20::text[], $21::bigint[]) n (fate, stage, code, rows)
    left join forebay.run_code k on (k.run, k.fate, k.stage, k.code) = ($5, n.fate, n.stage, n.code),
    (select count(*) as codes from forebay.run_code where run = $5) known
    where exists (select from moved)
    group by 1, 2, 3, 4
    on conflict (run, fate, stage, code) do update set rows = c.rows + excluded.rows)"
    };
}

const MOVE: &str = moved!();
const MOVE_OWED: &str = moved!(owed!());
const MOVE_CODED: &str = moved!(owed!(), coded!());

/// A move of the checkpoint past one chunk, and what is counted with it.
pub(super) struct CheckpointMove<'a> {
    pub place: Place<'a>,
    /// The fence: the checkpoint moves only for the host that claimed it last.
    pub epoch: i64,
    /// Chunks of the run before this one. It does not follow them in a database that has lost one.
    pub sequence: i64,
    /// The position after the chunk.
    pub position: &'a str,
    /// Size of the encoded rows, in bytes.
    pub bytes: u64,
    /// Rows by fate.
    pub rows: Counts,
    /// Failed and dropped rows by code.
    pub codes: Codes,
    /// Target of the notification that is owed if rows have changed.
    pub notify: Option<&'a str>,
    /// The latest rows with those of the chunk.
    pub recent: &'a Window,
}

/// Failed and dropped rows by code, as parallel columns.
#[derive(Default)]
pub(super) struct Codes {
    fates: Vec<&'static str>,
    stages: Vec<&'static str>,
    codes: Vec<String>,
    rows: Vec<i64>,
}

impl Codes {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl CheckpointMove<'_> {
    /// Moves the checkpoint, in the transaction of the chunk. Returns the rows of the run so far.
    ///
    /// # Errors
    /// If another host has claimed the partition since, or the database has lost commits.
    pub(super) async fn apply(self, connection: &mut PgConnection) -> Result<Tally, Rollback> {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (place, rows, codes) = (self.place, self.rows, self.codes);
        let owed = self.notify.filter(|_| rows.inserted + rows.updated > 0);
        let statement = match (codes.is_empty(), owed) {
            (true, None) => MOVE,
            (true, Some(_)) => MOVE_OWED,
            (false, _) => MOVE_CODED,
        };
        let mut query = sqlx::query_as(statement)
            .bind(place.pipeline)
            .bind(place.partition)
            .bind(self.epoch)
            .bind(token::to_column(self.position))
            .bind(place.run)
            .bind(signed(rows.received))
            .bind(signed(rows.inserted))
            .bind(signed(rows.updated))
            .bind(signed(rows.unchanged))
            .bind(signed(rows.dropped))
            .bind(signed(rows.dead_lettered))
            .bind(signed(self.bytes))
            .bind(signed(rows.deleted))
            .bind(self.recent.to_numbers())
            .bind(self.sequence);
        if statement != MOVE {
            query = query.bind(Uuid::now_v7()).bind(owed);
        }
        if !codes.is_empty() {
            query = query
                .bind(codes.fates)
                .bind(codes.stages)
                .bind(codes.codes)
                .bind(codes.rows)
                .bind(CODES);
        }
        let run: Option<(i64, i64)> = query.fetch_optional(&mut *connection).await?;
        let Some((rows, dead_letters)) = run else {
            let claim = Claim {
                pipeline: place.pipeline,
                partition: place.partition,
                epoch: self.epoch,
                sequence: self.sequence,
            };
            return Err(claim.lost(connection).await?.into());
        };
        Ok(Tally {
            rows: rows.unsigned_abs(),
            dead_letters: dead_letters.unsigned_abs(),
        })
    }
}

/// The fates of a chunk's rows.
pub(super) struct Fates {
    pub rows: Counts,
    pub letters: Vec<DeadLetter>,
    drops: Vec<Drop>,
    /// What plugins on trial would have done differently.
    pub comparisons: Vec<Comparison>,
}

impl Fates {
    /// Adds up the rows that failed earlier, those that were `written`, and those that the database
    /// refused and the policy has `settled`.
    ///
    /// # Errors
    /// If a row is not accounted for: a bug in the host.
    pub(super) fn of(
        prepared: &Prepared,
        written: Counts,
        settled: Settled,
    ) -> Result<Self, StoreError> {
        let earlier = &prepared.settled;
        let letters = earlier.dead_letters.iter().cloned();
        let letters: Vec<_> = letters.chain(settled.dead_letters).collect();
        let drops = prepared.batch.drops.iter().chain(&earlier.drops).cloned();
        let drops: Vec<_> = drops.chain(settled.drops).collect();
        let rows = Counts {
            received: prepared.units.len() as u64,
            dropped: drops.len() as u64,
            dead_lettered: letters.len() as u64,
            ..written
        };
        if !rows.balanced() {
            let position = &prepared.position;
            let message =
                format!("the rows of chunk {position} are not all accounted for: {rows:?}");
            return Err(StoreError::Failed(message.into()));
        }
        Ok(Self {
            rows,
            letters,
            drops,
            comparisons: [&*prepared.comparisons, &*settled.comparisons].concat(),
        })
    }

    /// Rows that were not written.
    pub(super) fn left_out(&self) -> HashSet<u32> {
        let letters = self.letters.iter().map(|letter| letter.failure.row);
        letters
            .chain(self.drops.iter().map(|drop| drop.row))
            .collect()
    }

    /// Failed and dropped rows by fate, stage and code, in this order.
    pub(super) fn codes(&self) -> Codes {
        let mut counts: BTreeMap<(&'static str, &'static str, &str), i64> = BTreeMap::new();
        for DeadLetter { failure, .. } in &self.letters {
            let code = ("dead_lettered", failure.stage.as_str(), &*failure.code);
            *counts.entry(code).or_default() += 1;
        }
        for drop in &self.drops {
            let code = ("dropped", drop.stage.as_str(), &*drop.reason);
            *counts.entry(code).or_default() += 1;
        }
        let mut codes = Codes::default();
        for ((fate, stage, code), rows) in counts {
            codes.fates.push(fate);
            codes.stages.push(stage);
            codes.codes.push(without_nul(code));
            codes.rows.push(rows);
        }
        codes
    }
}
