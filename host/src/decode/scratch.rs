//! What is kept of a row of a proto of its own while it is read.

use bytes::Bytes;
use bytestring::ByteString;

use super::fault::{Fault, fault};
use super::fields::too_many_items;
use crate::message::{Kind, TooManyItems};
use crate::row::{Batch, Value, Vector};

/// What is kept of a row while it is read; its memory is used again for the next one.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) key: Vec<ByteString>,
    /// Members of fields that become JSON.
    pub(super) json: Vec<Vec<u8>>,
    pub(super) vectors: Vec<Elements>,
    pub(super) given: Vec<bool>,
    pub(super) deleted: bool,
    /// Number of values that lists and JSON of this row may still have.
    pub(super) items: usize,
    /// The first fault that does not keep the rest from being read.
    pub(super) fault: Option<Fault>,
}

/// The elements of a vector that have come.
#[derive(Default)]
pub(super) enum Elements {
    #[default]
    None,
    /// All at once, as a slice of the row.
    Slice(Bytes),
    /// In several parts, or narrowed.
    Copied(Vec<u8>),
}

impl Scratch {
    pub(super) fn begin(&mut self, kind: &Kind, max_row_bytes: usize) {
        self.key.clear();
        self.key.extend_from_slice(&kind.key_defaults);
        self.json.iter_mut().for_each(Vec::clear);
        self.json.resize_with(kind.json.len(), Vec::new);
        self.vectors.clear();
        self.vectors.resize_with(kind.embeddings, Elements::default);
        self.deleted = false;
        self.items = max_row_bytes / size_of::<ByteString>();
        self.fault = None;
    }

    /// The key; empty if a part of it is missing. Keys of several parts, and of one kind among
    /// several, are told apart by slashes.
    pub(super) fn key(&self, kind: &Kind) -> ByteString {
        if self.key.iter().any(|part| part.is_empty()) {
            return ByteString::new();
        }
        if let ([key], true) = (self.key.as_slice(), kind.name.is_empty()) {
            return key.clone();
        }
        let name = Some(kind.name.as_str()).filter(|name| !name.is_empty());
        let parts = name.into_iter().chain(self.key.iter().map(AsRef::as_ref));
        let mut key = String::new();
        for part in parts {
            if !key.is_empty() {
                key.push('/');
            }
            for character in part.chars() {
                match character {
                    // As in a JSON Pointer.
                    '~' => key.push_str("~0"),
                    '/' => key.push_str("~1"),
                    other => key.push(other),
                }
            }
        }
        key.into()
    }

    pub(super) fn make_json(
        &mut self,
        kind: &Kind,
        batch: &mut Batch,
        first: usize,
    ) -> Result<(), Fault> {
        for (field, members) in kind.json.iter().zip(&self.json) {
            if members.is_empty() {
                continue;
            }
            let text = field.text(members, &mut self.items);
            let text = text.map_err(|TooManyItems| too_many_items())?;
            let text = text.map_err(|error| fault("ROW_MALFORMED", error, None))?;
            if let Some(slot) = batch.values.get_mut(first + field.column) {
                *slot = Value::Json(text.into());
            }
        }
        Ok(())
    }
}

impl Elements {
    pub(super) fn take(&mut self) -> Option<Vector> {
        let bytes = match std::mem::take(self) {
            Self::None => return None,
            Self::Slice(slice) => slice,
            Self::Copied(bytes) => bytes.into(),
        };
        // Protobuf does not tell an empty list from none.
        (!bytes.is_empty()).then_some(Vector::F32(bytes))
    }

    /// Appends elements as they are.
    pub(super) fn add(&mut self, row: &Bytes, part: &[u8]) {
        match self {
            Self::None => *self = Self::Slice(row.slice_ref(part)),
            Self::Slice(before) => {
                let mut all = Vec::with_capacity(before.len() + part.len());
                all.extend_from_slice(before);
                all.extend_from_slice(part);
                *self = Self::Copied(all);
            }
            Self::Copied(all) => all.extend_from_slice(part),
        }
    }

    /// Appends elements, narrowed; false if one is out of range.
    pub(super) fn narrow(&mut self, part: &[u8]) -> bool {
        if !matches!(self, Self::Copied(_)) {
            *self = Self::Copied(Vec::with_capacity(part.len() / 2));
        }
        let Self::Copied(all) = self else { return true };
        let mut fits = true;
        for element in part.as_chunks::<8>().0 {
            let wide = f64::from_le_bytes(*element);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounded, and checked below"
            )]
            let narrow = wide as f32;
            fits &= narrow.is_finite() || !wide.is_finite();
            all.extend_from_slice(&narrow.to_le_bytes());
        }
        fits
    }
}
