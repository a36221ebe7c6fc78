//! What a run knows of refused rows: how and why they were refused, and which of them it has
//! believed to be bad without evidence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::assumed::Assumed;
use super::part_sizes::PartSizes;
use crate::row::Failure;
use crate::store::again::may_succeed;
use crate::store::run::Counts;

/// Number of rows refused alike that are not believed any more if nothing was ever accepted.
pub(super) const ENOUGH: usize = 10;

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Manner {
    New,
    Known,
    Deleted,
}

impl Manner {
    /// Manners of rows that are written.
    pub(super) const WRITTEN: [Self; 2] = [Self::New, Self::Known];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Known => "known",
            Self::Deleted => "deleted",
        }
    }
}

/// Why a row was refused, without its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Reason {
    code: String,
    field: Option<String>,
}

impl Reason {
    pub(super) fn of(failure: &Failure) -> Self {
        Self {
            code: failure.code.clone(),
            field: failure.field.clone(),
        }
    }

    /// True for what depends on other rows: a unique value, an exclusion, a reference.
    pub(super) fn is_about_others(&self) -> bool {
        may_succeed(&self.code)
    }
}

/// Number of rows by table, manner and reason.
pub(super) type Believed = HashMap<(usize, Manner, Reason), usize>;

/// Adds rows; returns the number of those of a kind.
pub(super) fn add(believed: &mut Believed, kind: (usize, Manner, Reason), rows: usize) -> usize {
    let count = believed.entry(kind).or_default();
    *count += rows;
    *count
}

/// What a run knows of refused rows. It has believed some to be bad because a table could not be asked,
/// most often since it was empty; these are forgotten when a row is accepted.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    believed: Arc<Mutex<Believed>>,
    parts: PartSizes,
    assumed: Assumed,
}

impl Evidence {
    /// For a run that assumes something of rows that it has not met.
    #[must_use]
    pub fn assuming(assumed: Assumed) -> Self {
        Self {
            assumed,
            ..Self::default()
        }
    }

    /// What is assumed of rows that the run has not met.
    pub(super) fn assumed(&self) -> &Assumed {
        &self.assumed
    }

    fn lock(&self) -> MutexGuard<'_, Believed> {
        self.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What chunks have taught about the parts in which rows are best copied.
    pub(super) fn parts(&self) -> &PartSizes {
        &self.parts
    }

    /// Number of rows of a kind in chunks that are committed.
    pub(super) fn count(&self, kind: &(usize, Manner, Reason)) -> usize {
        self.lock().get(kind).copied().unwrap_or_default()
    }

    /// Takes over what was believed in a chunk that is committed, what it has written, and if rows of
    /// it were refused.
    pub(super) fn committed(&self, believed: Believed, rows: &Counts, refused: bool) {
        self.parts.note(refused);
        let mut known = self.lock();
        let is_accepted = |manner: Manner| match manner {
            Manner::New => rows.inserted > 0,
            Manner::Known => rows.updated > rows.deleted,
            Manner::Deleted => rows.deleted > 0,
        };
        known.retain(|(_, manner, _), _| !is_accepted(*manner));
        for (kind, rows) in believed {
            add(&mut known, kind, rows);
        }
    }
}
