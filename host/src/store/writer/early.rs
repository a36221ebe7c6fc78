//! Rows that were refused before the turn of their chunk. What an earlier chunk was about to write
//! may be why, so they are tried once more in turn. The other rows of the chunk are written already.

use std::collections::{BTreeMap, HashSet};

use super::rollback::{Rollback, WriteMode};
use super::rows::ChunkWriter;
use super::wave::{Changed, Early, Known, Refused, Trial, Written};
use crate::chunk::Prepared;

impl ChunkWriter<'_> {
    /// Tries rows again that were refused before the chunk's turn, which has come.
    pub(super) async fn try_early(
        &mut self,
        prepared: &Prepared,
        written: &mut Written,
    ) -> Result<(), Rollback> {
        let Some(early) = written.early.take() else {
            return Ok(());
        };
        let Early {
            wave,
            known,
            refused,
        } = early;
        let (mut certain, doubted): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|it| self.is_certain(it));
        let mut rows: Vec<u32> = doubted.iter().map(|it| it.failure.row).collect();
        rows.sort_unstable();
        if !rows.is_empty() {
            let again = Changed::some(rows.clone(), wave.inserts.clone());
            let still = self
                .write_isolated(prepared, again, Trial::OneByOne)
                .await?;
            let out: HashSet<u32> = still.iter().map(|it| it.failure.row).collect();
            certain.extend(still);
            let tried = rows.iter().filter_map(|row| Some((*row, *known.get(row)?)));
            let tried: BTreeMap<u32, Known> = tried.collect();
            if out.len() < tried.len() {
                self.finish(prepared, &tried, out, WriteMode::Isolating, written)
                    .await?;
            }
        }
        certain.sort_by_key(|it| (it.table, it.failure.row));
        self.judge(prepared, &wave, &certain).await?;
        let failures = certain.into_iter().map(|it| it.failure);
        written.failures.extend(failures);
        Ok(())
    }

    /// True if only the row itself decides that it is refused.
    fn is_certain(&self, refused: &Refused) -> bool {
        let tables = &self.statements.tables;
        let Some(table) = tables.get(refused.table) else {
            return false;
        };
        let failure = &refused.failure;
        let field = failure.field.as_deref().unwrap_or_default();
        match failure.code.as_str() {
            "SQL_23514" => table.own_checks.iter().any(|check| check == field),
            _ => false,
        }
    }
}
