//! The keys of a chunk in a compact form, cheap enough to compare for each chunk.

use xxhash_rust::xxh3::xxh3_64;

use super::Batch;

/// Hashes (XXH3-64) of the keys of a chunk. Two keys with the same hash count as the same key,
/// which only costs some waiting.
#[derive(Debug, Default)]
pub struct KeySet {
    /// Ascending.
    hashes: Vec<u64>,
    repeats: bool,
}

impl KeySet {
    /// Collects the keys of all rows that have one, live or not.
    #[must_use]
    pub fn of(batch: &Batch) -> Self {
        let keys = batch.keys.iter().filter(|key| !key.is_empty());
        let mut hashes: Vec<u64> = keys.map(|key| xxh3_64(key.as_bytes())).collect();
        hashes.sort_unstable();
        let repeats = hashes.windows(2).any(|pair| pair.first() == pair.last());
        Self { hashes, repeats }
    }

    /// True if the chunk has a key twice.
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// True if the chunks have a key in common.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.hashes.iter(), other.hashes.iter());
        let (mut one, mut another) = (ours.next(), theirs.next());
        while let (Some(a), Some(b)) = (one, another) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => one = ours.next(),
                std::cmp::Ordering::Greater => another = theirs.next(),
                std::cmp::Ordering::Equal => return true,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> KeySet {
        KeySet::of(&Batch {
            keys: keys.iter().map(|key| (*key).into()).collect(),
            ..Batch::default()
        })
    }

    #[test]
    fn chunks_meet_in_a_key() {
        assert!(keys(&["a", "b", "c"]).meets(&keys(&["x", "c", "y"])));
        assert!(!keys(&["a", "b", "c"]).meets(&keys(&["d", "e"])));
        // Rows without a key are not written to a table.
        assert!(!keys(&["", "a"]).meets(&keys(&["", "b"])));
        assert!(!keys(&[]).meets(&keys(&["a"])));
    }

    #[test]
    fn a_chunk_knows_whether_a_key_repeats() {
        assert!(keys(&["a", "b", "a"]).repeats());
        assert!(!keys(&["a", "", "b", ""]).repeats());
    }
}
