//! What the chunks of a run have taught about the parts in which rows are best copied.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of chunks without a refused row after which a run trusts its rows again.
const CALM: u32 = 8;

/// Sizes of parts, and if rows are to be trusted. Shared by the writers of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct PartSizes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Rows of a part by table.
    sizes: HashMap<usize, usize>,
    /// Number of chunks that will be written in savepoints.
    wary: u32,
}

impl PartSizes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if some row was refused lately, so that the next chunk is best written in savepoints.
    pub(super) fn is_wary(&self) -> bool {
        self.state().wary > 0
    }

    /// Notes if a chunk had rows that were refused.
    pub(super) fn note(&self, refused: bool) {
        let mut state = self.state();
        state.wary = match refused {
            true => CALM,
            false => state.wary.saturating_sub(1),
        };
    }

    /// Number of rows of the next part.
    pub(super) fn size(&self, table: usize) -> usize {
        self.state()
            .sizes
            .get(&table)
            .copied()
            .unwrap_or(usize::MAX)
    }

    /// Sets the number of rows of the next part.
    pub(super) fn set_size(&self, table: usize, size: usize) {
        self.state().sizes.insert(table, size);
    }
}
