//! Rows that are tried in the turn of their chunk, after its other rows are written: those that were
//! refused before the turn, since what an earlier chunk was about to write may be why; and those that
//! an earlier run has refused.

use std::collections::{HashMap, HashSet};

use super::assumed::LookUp;
use super::rollback::{Rollback, WriteMode};
use super::rows::ChunkWriter;
use super::wave::{Before, Changed, Early, Known, Refused, Trial, Written};
use crate::chunk::Prepared;
use crate::row::Failure;
use crate::store::refusals;

impl ChunkWriter<'_> {
    /// Takes those rows out of a wave that an earlier run has refused.
    pub(super) async fn refused_before(
        &mut self,
        prepared: &Prepared,
        wave: &mut Changed,
    ) -> Result<Before, Rollback> {
        let mut before = Before::default();
        if self.refused.is_empty() {
            return Ok(before);
        }
        let mut ids = HashMap::new();
        for row in &wave.all {
            let key = prepared.batch.keys.get(*row as usize);
            let digest = prepared.digests.get(*row as usize);
            let refusal = key.zip(digest);
            let refusal = refusal.and_then(|(key, digest)| self.refused.get(key, *digest));
            let Some(refusal) = refusal else { continue };
            before.doubted.insert(*row, refusal.reason);
            let mut rules = self.statements.rules.values();
            if refusal.rule.is_some_and(|rule| rules.any(|it| *it == rule)) {
                ids.insert(*row, refusal.id);
            }
        }
        if before.is_empty() {
            return Ok(before);
        }
        for rows in [&mut wave.all, &mut wave.new, &mut wave.known] {
            rows.retain(|row| !before.doubted.contains_key(row));
        }
        if !ids.is_empty() {
            let numbers: Vec<i64> = ids.values().copied().collect();
            let failures = refusals::failures(&mut self.transaction, &numbers).await?;
            for (row, id) in ids {
                if let Some(failure) = failures.get(&id) {
                    before.doubted.remove(&row);
                    let failure = failure.clone();
                    before.certain.push(Failure { row, ..failure });
                }
            }
        }
        Ok(before)
    }

    /// Tries rows in the chunk's turn.
    pub(super) async fn try_early(
        &mut self,
        prepared: &Prepared,
        written: &mut Written,
    ) -> Result<(), Rollback> {
        let Some(early) = written.early.take() else {
            return Ok(());
        };
        let Early {
            mut wave,
            known,
            refused,
            before,
        } = early;
        // In turn nothing is doubted that was refused in this attempt.
        let in_turn = self.in_turn;
        let (mut refused, doubted): (Vec<_>, Vec<_>) = refused
            .into_iter()
            .partition(|it| in_turn || self.is_certain(it));
        let doubted = doubted.iter().map(|it| it.failure.row);
        let mut rows: Vec<u32> = doubted.chain(before.doubted.keys().copied()).collect();
        rows.sort_unstable();
        let mut expected = before.certain;
        let tried = self.try_each(prepared, rows, &wave, &known, written);
        for again in tried.await? {
            let failure = &again.failure;
            let reason = refusals::reason(&failure.code, failure.field.as_deref());
            match before.doubted.get(&failure.row) {
                Some(was) if *was == reason => expected.push(again.failure),
                was => {
                    if was.is_some() {
                        wave.all.push(failure.row);
                    }
                    refused.push(again);
                }
            }
        }
        refused.sort_by_key(|it| (it.table, it.failure.row));
        // What earlier runs have refused for the same says nothing about the table.
        self.judge(prepared, &wave, &refused).await?;
        let failures = refused.into_iter().map(|it| it.failure);
        written.failures.extend(failures.chain(expected));
        written.failures.sort_by_key(|failure| failure.row);
        Ok(())
    }

    /// Writes rows one by one, and returns those that are refused.
    async fn try_each(
        &mut self,
        prepared: &Prepared,
        rows: Vec<u32>,
        wave: &Changed,
        known: &[(u32, Known)],
        written: &mut Written,
    ) -> Result<Vec<Refused>, Rollback> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // What was only assumed of rows would make them count as something else.
        let tried: Vec<(u32, Known)> = match self.evidence.assumed().look_up() {
            LookUp::Tables => {
                let tried = known.iter().copied();
                let tried = tried.filter(|(row, _)| rows.binary_search(row).is_ok());
                tried.collect()
            }
            LookUp::Digests | LookUp::Nothing => {
                let known = self.look_up_isolated(prepared, &rows).await?;
                rows.iter().copied().zip(known).collect()
            }
        };
        let rows = Changed::some(rows, wave.inserts.clone());
        let refused = self.write_isolated(prepared, rows, Trial::OneByOne).await?;
        let out: HashSet<u32> = refused.iter().map(|it| it.failure.row).collect();
        if out.len() < tried.len() {
            self.finish(prepared, &tried, out, WriteMode::Isolating, written)
                .await?;
        }
        Ok(refused)
    }

    /// True if only the row itself decides that it is refused.
    fn is_certain(&self, refused: &Refused) -> bool {
        let tables = &self.statements.tables;
        let Some(table) = tables.get(refused.table) else {
            return false;
        };
        let failure = &refused.failure;
        let field = failure.field.as_deref().unwrap_or_default();
        let mut checks = table.own_checks.iter();
        failure.code == "SQL_23514" && checks.any(|check| check.name == field)
    }
}
