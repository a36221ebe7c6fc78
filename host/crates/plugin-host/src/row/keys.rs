//! Which keys a chunk has, compactly enough to be compared for each chunk.

use xxhash_rust::xxh3::xxh3_64;

use super::Batch;

/// The keys of a chunk by their hashes (XXH3-64). Two keys with one hash are taken for the same,
/// which costs nothing but some waiting.
#[derive(Debug, Default)]
pub struct KeySet {
    /// Ascending.
    hashes: Vec<u64>,
    repeats: bool,
}

impl KeySet {
    /// Of all rows that have a key, whatever becomes of them.
    #[must_use]
    pub fn of(batch: &Batch) -> Self {
        let keys = batch.keys.iter().filter(|key| !key.is_empty());
        let mut hashes: Vec<u64> = keys.map(|key| xxh3_64(key.as_bytes())).collect();
        hashes.sort_unstable();
        let repeats = hashes.windows(2).any(|pair| pair.first() == pair.last());
        Self { hashes, repeats }
    }

    /// Whether a key is twice in the chunk.
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// Whether both chunks have some key.
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
        // Rows without a key are no rows of a table.
        assert!(!keys(&["", "a"]).meets(&keys(&["", "b"])));
        assert!(!keys(&[]).meets(&keys(&["a"])));
    }

    #[test]
    fn a_chunk_knows_whether_a_key_repeats() {
        assert!(keys(&["a", "b", "a"]).repeats());
        assert!(!keys(&["a", "", "b", ""]).repeats());
    }
}
