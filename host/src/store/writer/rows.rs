//! The rows of a chunk, within its transaction: looks them up and writes those that have changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row, Transaction};
use uuid::Uuid;

use super::assumed::LookUp;
use super::evidence::{Believed, Evidence};
use super::outcomes::Outcomes;
use super::rollback::{Rollback, WriteMode};
use super::wave::{Before, Changed, Early, Known, Trial, Written};
use crate::chunk::{Prepared, Settled};
use crate::policy::{self, Budget, Policy};
use crate::route::absent::FLAGGED;
use crate::row::{Drop, Failure, Stage};
use crate::store::compare::DOUBTED;
use crate::store::digest::{ids, keys_beside_ids};
use crate::store::encode::ArrayParam;
use crate::store::refusals::Refusals;
use crate::store::run::Counts;
use crate::store::statements::{Statements, UniqueIndex};
use crate::store::{Blame, blame};

/// Code of a row that was swallowed.
const SWALLOWED: &str = "SWALLOWED";

/// A transaction in which the rows of one chunk are written.
pub(super) struct ChunkWriter<'w> {
    pub transaction: Transaction<'w, Postgres>,
    pub copies: bool,
    pub buffer: &'w mut Vec<u8>,
    pub statements: &'w Statements,
    pub pipeline: i32,
    /// Rows that earlier runs have refused.
    pub refused: Refusals,
    pub evidence: &'w Evidence,
    /// Rows of this attempt that are believed to be bad.
    pub believed: Believed,
    pub outcomes: Outcomes,
    /// Unique indexes that were read for this attempt, by table.
    pub indexes: HashMap<usize, Arc<[UniqueIndex]>>,
    /// True if the savepoints of a wave are set, and nothing was done since.
    pub is_begun: bool,
    /// True if every chunk before this one was committed when the attempt began: what is refused
    /// then is refused.
    pub in_turn: bool,
}

impl ChunkWriter<'_> {
    /// Carries out the tombstones, and writes the rows that are new or have changed.
    pub(super) async fn write_rows(
        &mut self,
        prepared: &Prepared,
        mode: WriteMode,
    ) -> Result<Written, Rollback> {
        let mut written = Written {
            rows: Counts::default(),
            failures: Vec::new(),
            swallowed: Vec::new(),
            early: None,
            is_refused: false,
        };
        let waves = waves(prepared);
        // A row that is tried again after a later one of its key would overwrite that.
        let may_be_early = waves.len() == 1 && prepared.batch.deleted.is_empty();
        for wave in waves {
            let wave = self.delete_of(prepared, wave, mode, &mut written).await?;
            let known = self.look_up_with(mode, prepared, &wave).await?;
            let (mut changed, known) = self.changed(mode, wave, known, &mut written);
            let before = match may_be_early {
                true => self.refused_before(prepared, &mut changed).await?,
                false => Before::default(),
            };
            let refused = match mode {
                WriteMode::Trusting => {
                    self.write_at_once(prepared, changed.clone()).await?;
                    Vec::new()
                }
                WriteMode::Isolating | WriteMode::Immediate => {
                    let rows = changed.clone();
                    self.write_isolated(prepared, rows, Trial::Together).await?
                }
            };
            let is_clean = refused.is_empty() && written.failures.is_empty();
            if !(self.in_turn || may_be_early || is_clean) {
                return Err(Rollback::Row);
            }
            written.is_refused |= !is_clean;
            let out = refused.iter().map(|refused| refused.failure.row);
            let out = out.chain(before.rows()).collect();
            self.finish(prepared, &known, out, mode, &mut written)
                .await?;
            if before.is_empty() && (self.in_turn || refused.is_empty()) {
                self.judge(prepared, &changed, &refused).await?;
                written
                    .failures
                    .extend(refused.into_iter().map(|it| it.failure));
            } else {
                written.early = Some(Early {
                    wave: changed,
                    known,
                    refused,
                    before,
                });
            }
        }
        Ok(written)
    }

    /// Unflags rows that were written, and counts them: all but those that are `out`.
    pub(super) async fn finish(
        &mut self,
        prepared: &Prepared,
        rows: &[(u32, Known)],
        mut out: HashSet<u32>,
        mode: WriteMode,
        written: &mut Written,
    ) -> Result<(), Rollback> {
        let flagged = rows.iter().filter(|(row, known)| {
            let is_out = out.contains(row) || self.outcomes.is_swallowed(*row);
            known.flagged && !is_out
        });
        let flagged: Vec<u32> = flagged.map(|(row, _)| *row).collect();
        let refused = self.unflag(prepared, &flagged, mode).await?;
        out.extend(refused.iter().map(|failure| failure.row));
        written.failures.extend(refused);
        for (row, known) in rows {
            if !out.contains(row) {
                self.count(*row, *known, written);
            }
        }
        Ok(())
    }

    /// The rows that are to be written, and what is known of each; counts the others.
    fn changed(
        &self,
        mode: WriteMode,
        wave: Vec<u32>,
        known: Vec<Known>,
        written: &mut Written,
    ) -> (Changed, Vec<(u32, Known)>) {
        let (mut changed, mut known_changed) = (Changed::default(), Vec::new());
        for (row, known) in wave.into_iter().zip(known) {
            if known.unchanged {
                written.rows.unchanged += 1;
                continue;
            }
            let part = if self.copies && known.new {
                &mut changed.new
            } else {
                &mut changed.known
            };
            part.push(row);
            // Only a search for rows to blame asks for these.
            let is_asked = mode != WriteMode::Trusting || !self.refused.is_empty();
            if is_asked && !known.in_first {
                changed.inserts.insert(row);
            }
            changed.all.push(row);
            known_changed.push((row, known));
        }
        (changed, known_changed)
    }

    /// Counts a row that was not refused.
    fn count(&self, row: u32, known: Known, written: &mut Written) {
        if self.outcomes.is_swallowed(row) {
            written.swallowed.push(Drop {
                row,
                stage: Stage::Write,
                reason: SWALLOWED.into(),
            });
        } else if !known.in_first {
            written.rows.inserted += 1;
        } else if known.flagged || self.outcomes.is_touched(row) {
            written.rows.updated += 1;
        } else {
            // The tables had it already as it is: only its digest was not known.
            written.rows.unchanged += 1;
        }
    }

    /// Looks rows up. A key that is fed by fields may have values that the database refuses.
    async fn look_up_with(
        &mut self,
        mode: WriteMode,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<Vec<Known>, Rollback> {
        if mode != WriteMode::Trusting && !self.is_begun {
            return self.look_up_isolated(prepared, rows).await;
        }
        let look_up = match mode {
            WriteMode::Trusting if self.copies => self.evidence.assumed().look_up(),
            WriteMode::Trusting | WriteMode::Isolating | WriteMode::Immediate => LookUp::Tables,
        };
        match self
            .look_up_as(look_up, prepared, rows)
            .await
            .map_err(trusted)
        {
            Err(Rollback::Row) if mode != WriteMode::Trusting => {
                self.undo_wave().await?;
                self.look_up_isolated(prepared, rows).await
            }
            known => known,
        }
    }

    /// Looks rows up in all tables, one result for each.
    pub(super) async fn look_up(
        &mut self,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<Vec<Known>, sqlx::Error> {
        self.look_up_as(LookUp::Tables, prepared, rows).await
    }

    async fn look_up_as(
        &mut self,
        look_up: LookUp,
        prepared: &Prepared,
        rows: &[u32],
    ) -> Result<Vec<Known>, sqlx::Error> {
        let statement = match look_up {
            LookUp::Tables => &self.statements.lookup,
            LookUp::Digests => &self.statements.lookup_of_known,
            LookUp::Nothing => return Ok(vec![Known::NEW; rows.len()]),
        };
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let query = self.lookup(statement, prepared, rows);
        let found = query.fetch_one(&mut *self.transaction).await?;
        let digests: Vec<Option<Uuid>> = found.try_get(0)?;
        let (mut in_any, mut in_first) = (vec![false; rows.len()], Vec::new());
        let mut in_all = vec![true; rows.len()];
        for (column, table) in (1..).zip(&self.statements.asked) {
            let has: Vec<bool> = found.try_get(column)?;
            for (((row, has), in_any), in_all) in
                rows.iter().zip(&has).zip(&mut in_any).zip(&mut in_all)
            {
                self.outcomes.note(*table, *row, *has);
                *in_any |= has;
                *in_all &= has;
            }
            if column == 1 {
                in_first = has;
            }
        }
        let has_digest = digests.iter().any(Option::is_some);
        let mut places = in_any.iter().zip(&digests);
        let strangers = places.any(|(is_in, digest)| *is_in && digest.is_none());
        let is_in = in_first.into_iter().zip(in_any).zip(in_all);
        let known = rows.iter().zip(digests).zip(is_in);
        let known = known.map(|((row, digest), ((in_first, in_any), in_all))| Known {
            in_first,
            new: !in_any && digest.is_none(),
            unchanged: in_all
                && digest.is_some()
                && digest == prepared.digests.get(*row as usize).copied(),
            flagged: digest == Some(FLAGGED) || digest == Some(DOUBTED),
        });
        let known: Vec<Known> = known.collect();
        if look_up == LookUp::Tables {
            let assumed = self.evidence.assumed();
            assumed.found(has_digest, strangers);
        }
        if known.len() != rows.len() {
            let message = format!(
                "the look-up returned {} of {} rows",
                known.len(),
                rows.len()
            );
            return Err(sqlx::Error::Protocol(message));
        }
        Ok(known)
    }

    fn lookup<'q>(
        &self,
        statement: &Arc<str>,
        prepared: &'q Prepared,
        rows: &'q [u32],
    ) -> Query<'q, Postgres, PgArguments> {
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(statement)))
            .bind(self.pipeline)
            .bind(ids(prepared, rows));
        if self.statements.names_keys {
            query = query.bind(keys_beside_ids(prepared, rows));
        }
        for key in &self.statements.keys {
            query = query.bind(ArrayParam {
                batch: &prepared.batch,
                rows,
                column: *key,
            });
        }
        query
    }

    /// Looks no row up: if that is refused, it is refused for any row.
    pub(super) async fn look_up_nothing(&mut self, prepared: &Prepared) -> Result<(), sqlx::Error> {
        let query = self.lookup(&self.statements.lookup, prepared, &[]);
        query.execute(&mut *self.transaction).await?;
        Ok(())
    }

    /// Writes rows without a search for those to blame.
    async fn write_at_once(
        &mut self,
        prepared: &Prepared,
        mut rows: Changed,
    ) -> Result<(), Rollback> {
        for table in 0..self.statements.tables.len() {
            let written = self.write_table(table, &prepared.batch, &rows).await;
            written.map_err(trusted)?;
            for row in self.outcomes.swallowed() {
                rows.remove(row);
            }
        }
        let copied = self.remember_new(prepared, &rows.new).await;
        copied.map_err(trusted)?;
        let remembered = self.remember(prepared, &rows.known).await;
        remembered.map_err(trusted)
    }

    /// Asks the policy about refused rows and retries those that it decides to retry.
    pub(super) async fn resolve(
        &mut self,
        prepared: &Prepared,
        written: &mut Written,
        policy: &impl Policy,
    ) -> Result<Settled, Rollback> {
        let mut settled = Settled::default();
        let mut budget = Budget::default();
        while !written.failures.is_empty() {
            let mut failures = std::mem::take(&mut written.failures);
            self.name_columns(&prepared.batch, &mut failures).await?;
            let retries = policy::consult(
                policy,
                &prepared.chain,
                &prepared.batch,
                failures,
                &mut settled,
                &mut budget,
            )
            .await?;
            for retry in retries {
                tokio::time::sleep(retry.after).await;
                let row = retry.failure.row;
                if prepared.batch.is_deleted(row) {
                    self.delete_again(prepared, &retry.failure, written).await?;
                    continue;
                }
                let known = self.look_up_isolated(prepared, &[row]).await?;
                let known = known.first().copied().unwrap_or_default();
                let one = Changed::some(vec![row], HashSet::new());
                let refused = self.write_isolated(prepared, one, Trial::OneByOne).await?;
                let refused = refused.into_iter().map(|refused| refused.failure);
                let mut refused: Vec<Failure> = refused.collect();
                if refused.is_empty() && known.flagged && !self.outcomes.is_swallowed(row) {
                    refused = self.unflag(prepared, &[row], WriteMode::Isolating).await?;
                }
                match refused.pop() {
                    Some(again) => written.failures.push(Failure {
                        attempt: retry.failure.attempt + 1,
                        ..again
                    }),
                    None => self.count(row, known, written),
                }
            }
        }
        settled.drops.append(&mut written.swallowed);
        Ok(settled)
    }
}

/// Classifies an error of a statement in [`WriteMode::Trusting`].
pub(super) fn trusted(error: sqlx::Error) -> Rollback {
    match blame(&error) {
        Blame::Refusal => Rollback::Row,
        Blame::Server => error.into(),
    }
}

/// Splits the live rows and the tombstones so that no key is twice in a part, since a statement
/// cannot change a row twice. There is nearly always one part.
fn waves(prepared: &Prepared) -> Vec<Vec<u32>> {
    let batch = &prepared.batch;
    let mut rest = batch.live.clone();
    if !batch.deleted.is_empty() {
        rest.extend(&batch.deleted);
        rest.sort_unstable();
    }
    if !prepared.keys.repeats() {
        return vec![rest];
    }
    let mut waves = Vec::new();
    while !rest.is_empty() {
        let mut seen = HashSet::with_capacity(rest.len());
        let (wave, later): (Vec<u32>, Vec<u32>) = rest.into_iter().partition(|row| {
            batch
                .keys
                .get(*row as usize)
                .is_some_and(|key| seen.insert(key.clone()))
        });
        waves.push(wave);
        rest = later;
    }
    waves
}
