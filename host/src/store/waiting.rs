//! Which keys have dead letters that may be tried again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

/// Hashes of the keys that may have entries to be tried again, so that a chunk that meets none of
/// them asks nothing. Shared by the writers of a run.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<HashSet<u64>>>);

impl Waiting {
    fn keys(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, key: &str) {
        self.keys().insert(xxh3_64(key.as_bytes()));
    }

    /// Those of `keys` that may have entries.
    pub(super) fn among<'k>(&self, keys: &[&'k str]) -> Vec<&'k str> {
        let waiting = self.keys();
        if waiting.is_empty() {
            return Vec::new();
        }
        let keys = keys.iter().copied();
        let keys = keys.filter(|key| waiting.contains(&xxh3_64(key.as_bytes())));
        keys.collect()
    }
}
