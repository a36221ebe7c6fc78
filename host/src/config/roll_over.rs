//! The key `roll_over` of a pipeline: when a run that does not end is followed by another.

use std::time::Duration;

use super::format::duration;
use super::{defaults, file};

/// When a run of a feed ends and the next one begins, at whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollOver {
    /// Age of the run, if it has received rows.
    pub after: Duration,
    /// Rows that it has received.
    pub rows: u64,
}

impl Default for RollOver {
    fn default() -> Self {
        Self {
            after: defaults::ROLL_OVER_AFTER,
            rows: defaults::ROLL_OVER_ROWS,
        }
    }
}

/// The checked form.
pub(super) fn roll_over(raw: file::RollOver) -> RollOver {
    let default = RollOver::default();
    RollOver {
        after: duration(raw.after, default.after),
        rows: raw.rows.unwrap_or(default.rows),
    }
}
