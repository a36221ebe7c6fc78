//! The ids by which digests are kept: 16 bytes, whatever a key looks like.
//!
//! A key that is a UUID, spelled as the server spells it, is its own id. The id of any other key is
//! the first 16 bytes of the SHA-256 of its text, and the key is kept beside it. Two keys can share an
//! id, if only because somebody makes a UUID of another key's hash. That costs no data: the digest is
//! that of the key that was written last. The other key's rows are compared with their tables, as if
//! they had no digest, and stay when the source no longer has them.

use sha2::{Digest, Sha256};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::row::Batch;

/// The id of a key.
pub(crate) fn row_id(key: &str) -> Uuid {
    own_id(key).unwrap_or_else(|| {
        let hash = Sha256::digest(key);
        let (ids, _) = hash.as_chunks::<16>();
        ids.first()
            .copied()
            .map(Uuid::from_bytes)
            .unwrap_or_default()
    })
}

/// The id of a key that is its own id, and need not be kept beside it.
pub(crate) fn own_id(key: &str) -> Option<Uuid> {
    if key.len() != Hyphenated::LENGTH {
        return None;
    }
    let uuid = Uuid::try_parse(key).ok()?;
    let mut spelled = Uuid::encode_buffer();
    (*uuid.hyphenated().encode_lower(&mut spelled) == *key).then_some(uuid)
}

/// The ids of the rows of a batch.
pub(crate) fn row_ids(batch: &Batch) -> Vec<Uuid> {
    if !batch.uuids.is_empty() {
        // Their keys are spelled as the server does.
        return batch.uuids.clone();
    }
    batch.keys.iter().map(|key| row_id(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_its_own_id_only_as_the_server_spells_it() {
        let spelled = "0123abcd-0000-4000-8000-00000000ffff";
        let uuid = Uuid::try_parse(spelled).unwrap();
        assert_eq!(own_id(spelled), Some(uuid));
        assert_eq!(row_id(spelled), uuid);
        for other in [
            "0123ABCD-0000-4000-8000-00000000ffff",
            "0123abcd00004000800000000000ffff",
            "{123abcd-0000-4000-8000-00000000fff}",
            "",
            "7",
        ] {
            assert_eq!(own_id(other), None, "{other}");
            assert_ne!(row_id(other), uuid, "{other}");
        }
    }

    /// Databases have these: the server computes the same ones (migration 9).
    #[test]
    fn another_key_has_the_beginning_of_its_hash() {
        let id = row_id("abc").to_string();
        assert_eq!(id, "ba7816bf-8f01-cfea-4141-40de5dae2223");
    }
}
