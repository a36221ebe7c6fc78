//! What a run knows of refused rows: how and why they were refused, and which of them it has
//! believed to be bad without evidence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::row::Failure;
use crate::store::again::may_succeed;

/// Number of rows refused alike that are not believed any more if nothing was ever accepted.
pub(super) const ENOUGH: usize = 10;

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Manner {
    New,
    Known,
}

impl Manner {
    pub(super) const ALL: [Self; 2] = [Self::New, Self::Known];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Known => "known",
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
type Believed = HashMap<(usize, Manner, Reason), usize>;

/// Rows that a run has believed to be bad while their table was empty.
#[derive(Debug, Clone, Default)]
pub struct Evidence(Arc<Mutex<Believed>>);

impl Evidence {
    /// Adds rows; returns the number of those refused alike so far.
    pub(super) fn add(&self, table: usize, manner: Manner, reason: &Reason, rows: usize) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.entry((table, manner, reason.clone())).or_default();
        *count += rows;
        *count
    }
}
