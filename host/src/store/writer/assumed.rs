//! What a run assumes of the rows that it has not met, so as not to ask for each of them.
//!
//! Where the tables are empty and the pipeline has no digests, every row is new, and no chunk looks
//! anything up. Otherwise digests are looked up, and the tables only for rows that have one: a row
//! without is nearly always new. Rows that are taken for new are copied, and a key that is there after
//! all makes its table refuse the copy. The chunk is then written again with everything looked up, and
//! the assumption is given up for the rest of the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sqlx::AssertSqlSafe;

use crate::route::Targets;
use crate::store::Store;
use crate::store::run::Run;
use crate::store::statements::Statements;

/// What a chunk looks up before it is written without savepoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookUp {
    /// All rows in all tables.
    Tables = 0,
    /// Digests, and in the tables the rows that have one.
    Digests = 1,
    /// Nothing: all rows are new.
    Nothing = 2,
}

/// The assumption of a run, shared by its writers.
#[derive(Debug, Clone, Default)]
pub struct Assumed(Arc<AtomicU8>);

impl Assumed {
    /// What a chunk looks up.
    pub(super) fn look_up(&self) -> LookUp {
        match self.0.load(Ordering::Relaxed) {
            0 => LookUp::Tables,
            1 => LookUp::Digests,
            _ => LookUp::Nothing,
        }
    }

    /// Takes over what a look-up in all tables has found: if some row has a digest, and if some row
    /// without one is in a table.
    pub(super) fn found(&self, digest: bool, stranger: bool) {
        let at_most = match (digest, stranger) {
            (_, true) => LookUp::Tables,
            (true, false) => LookUp::Digests,
            (false, false) => return,
        };
        self.0.fetch_min(at_most as u8, Ordering::Relaxed);
    }
}

impl Store {
    /// Asks once, before the first chunk of a run, what may be assumed: nothing, if the database does
    /// not answer.
    pub async fn assumed(&self, targets: &Targets, run: &Run) -> Assumed {
        let Some(is_empty) = Statements::new(targets).is_empty else {
            return Assumed::default();
        };
        let query = sqlx::query_as(AssertSqlSafe(is_empty)).bind(run.pipeline);
        let look_up = match query.fetch_one(&self.pool).await {
            Ok((true, _)) => LookUp::Digests,
            Ok((false, true)) => LookUp::Nothing,
            Ok((false, false)) | Err(_) => LookUp::Tables,
        };
        Assumed(Arc::new(AtomicU8::new(look_up as u8)))
    }
}
