//! Turns clean rows into dirty ones.

use super::definition::EMBEDDING;
use super::dirt::Dirt;
use super::posting::value;
use super::words::DirtRule;
use crate::proto::Row;
use crate::proto::value::Kind;
use crate::proto::vector::Elements;

impl Dirt {
    /// Index of the row that this one repeats, if it is sent again. The original is clean and is
    /// repeated once: a block has one dirty row, which is never among its first.
    pub(super) fn original(self, index: u64, rule: &DirtRule) -> Option<u64> {
        match self {
            Self::Repeated => index.checked_sub(rule.repeated_distance),
            Self::Revised => index.checked_sub(rule.revised_distance),
            Self::RevisedLater => (index / rule.block_rows)
                .checked_sub(rule.revised_later_blocks)
                .map(|block| block * rule.block_rows),
            Self::WrongDimensions
            | Self::NotANumber
            | Self::Infinite
            | Self::EmbeddingMissing
            | Self::KeyMissing
            | Self::KeyInvalid
            | Self::RowTooLarge
            | Self::YearsAsText
            | Self::UndeclaredField
            | Self::CompanyMissing
            | Self::CompanyBlank
            | Self::YearsNegative
            | Self::YearsExcessive
            | Self::EnglishUnknown
            | Self::NulInCompany
            | Self::KeywordTooLong
            | Self::TestPosting => None,
        }
    }

    /// Makes a clean row dirty. For the last three kinds, `row` is the original. `word` is random.
    pub(super) fn apply(self, row: &mut Row, index: u64, word: u64, rule: &DirtRule) {
        match self {
            Self::WrongDimensions => edit_vector(row, |bytes| {
                bytes.truncate(bytes.len().saturating_sub(4));
            }),
            Self::NotANumber => edit_vector(row, |bytes| set_element(bytes, word, f32::NAN)),
            Self::Infinite => edit_vector(row, |bytes| set_element(bytes, word, f32::INFINITY)),
            Self::EmbeddingMissing => row.embeddings.clear(),
            Self::KeyMissing => row.key.clear(),
            Self::KeyInvalid => row.key = format!("job-{index}"),
            Self::RowTooLarge => edit_text(row, "location", |text| {
                *text = text.repeat(rule.row_too_large_bytes / text.len().max(1) + 1);
            }),
            Self::YearsAsText => set(row, "exp_years", Kind::Text("five".to_owned())),
            Self::UndeclaredField => {
                set(row, "salary", Kind::Text("by agreement".to_owned()));
            }
            Self::CompanyMissing => {
                row.fields.remove("company_name");
            }
            Self::CompanyBlank => set(row, "company_name", Kind::Text("   ".to_owned())),
            Self::YearsNegative => set(row, "exp_years", Kind::Integer(-3)),
            Self::YearsExcessive => set(row, "exp_years", Kind::Integer(120)),
            Self::EnglishUnknown => set(row, "english_level", Kind::Text("??".to_owned())),
            Self::NulInCompany => edit_text(row, "company_name", |text| text.push_str("\0Ltd")),
            Self::KeywordTooLong => {
                set(
                    row,
                    "primary_keyword",
                    Kind::Text(rule.keyword_too_long.clone()),
                );
            }
            Self::TestPosting => {
                edit_text(row, "company_name", |text| text.insert_str(0, "[TEST] "));
                edit_text(row, "title", |text| text.insert_str(0, "[TEST] "));
            }
            Self::Repeated => {}
            Self::Revised | Self::RevisedLater => edit_years(row, |years| years + 1),
        }
    }
}

fn set(row: &mut Row, field: &str, kind: Kind) {
    row.fields.insert(field.to_owned(), value(kind));
}

fn edit_text(row: &mut Row, field: &str, edit: impl FnOnce(&mut String)) {
    if let Some(Kind::Text(text)) = row
        .fields
        .get_mut(field)
        .and_then(|value| value.kind.as_mut())
    {
        edit(text);
    }
}

fn edit_years(row: &mut Row, edit: impl FnOnce(i64) -> i64) {
    let years = row
        .fields
        .get_mut("exp_years")
        .and_then(|value| value.kind.as_mut());
    if let Some(Kind::Integer(years)) = years {
        *years = edit(*years);
    }
}

fn edit_vector(row: &mut Row, edit: impl FnOnce(&mut Vec<u8>)) {
    let vector = row
        .embeddings
        .get_mut(EMBEDDING)
        .and_then(|vector| vector.elements.as_mut());
    if let Some(Elements::F32(bytes)) = vector {
        let mut edited = bytes.to_vec();
        edit(&mut edited);
        *bytes = edited.into();
    }
}

/// Replaces the element that a random word selects.
fn set_element(bytes: &mut [u8], word: u64, element: f32) {
    let (elements, _) = bytes.as_chunks_mut::<4>();
    let place = word % elements.len().max(1) as u64;
    if let Some(slot) = elements.get_mut(place as usize) {
        *slot = element.to_le_bytes();
    }
}
