//! What is wrong with one row in forty, and what must become of it.
//!
//! `examples/recruit/README.md` has the same as a table. Fates are stated here from what the
//! rows are, not from what the host does, so that tests can hold one against the other.

use serde::Deserialize;

use super::EMBEDDING;
use super::posting::value;
use super::words::DirtRule;
use crate::proto::Row;
use crate::proto::value::Kind;
use crate::proto::vector::Elements;
use crate::row::Stage;

/// A way in which a row is not as its neighbours.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Dirt {
    /// The vector is one element short.
    WrongDimensions,
    /// An element is NaN.
    NotANumber,
    /// An element is infinite.
    Infinite,
    /// There is no vector.
    EmbeddingMissing,
    /// The key is empty.
    KeyMissing,
    /// The key is not a UUID.
    KeyInvalid,
    /// The location is a text of 1.2 MB.
    RowTooLarge,
    /// The years are a word.
    YearsAsText,
    /// There is a field that the source does not declare.
    UndeclaredField,
    /// There is no company name.
    CompanyMissing,
    /// The company name is spaces.
    CompanyBlank,
    /// -3 years.
    YearsNegative,
    /// 120 years.
    YearsExcessive,
    /// The English level is "??".
    EnglishUnknown,
    /// The company name has a NUL character, which PostgreSQL cannot store.
    NulInCompany,
    /// The keyword is longer than the table's check constraint allows.
    KeywordTooLong,
    /// Somebody tried out the form.
    TestPosting,
    /// A row of shortly before, sent again.
    Repeated,
    /// A row of shortly before with one more year, as a rule in the same chunk.
    Revised,
    /// A row of 300 or more rows before with one more year, as a rule in another chunk.
    RevisedLater,
}

/// What becomes of a row in a first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its key is new.
    Inserted,
    /// Its key is there with other content.
    Updated,
    /// Its key is there with the same content.
    Unchanged,
    /// A plugin's `transform` drops it for this reason.
    Dropped(&'static str),
    /// It fails in this stage with this code.
    DeadLettered(Stage, &'static str),
}

impl Dirt {
    /// What becomes of such a row in a first run.
    #[must_use]
    pub fn fate(self) -> Fate {
        match self {
            Self::WrongDimensions => Fate::DeadLettered(Stage::Decode, "EMBEDDING_DIMENSIONS"),
            Self::NotANumber | Self::Infinite => {
                Fate::DeadLettered(Stage::Decode, "EMBEDDING_NOT_FINITE")
            }
            Self::EmbeddingMissing => Fate::DeadLettered(Stage::Decode, "EMBEDDING_MISSING"),
            Self::KeyMissing => Fate::DeadLettered(Stage::Decode, "KEY_MISSING"),
            Self::KeyInvalid => Fate::DeadLettered(Stage::Decode, "KEY_INVALID"),
            Self::RowTooLarge => Fate::DeadLettered(Stage::Decode, "ROW_TOO_LARGE"),
            Self::YearsAsText => Fate::DeadLettered(Stage::Decode, "FIELD_TYPE"),
            Self::UndeclaredField => Fate::DeadLettered(Stage::Decode, "FIELD_UNKNOWN"),
            Self::CompanyMissing | Self::CompanyBlank => {
                Fate::DeadLettered(Stage::Validate, "FIELD_REQUIRED")
            }
            Self::YearsNegative | Self::YearsExcessive => {
                Fate::DeadLettered(Stage::Validate, "FIELD_RANGE")
            }
            Self::EnglishUnknown => Fate::DeadLettered(Stage::Validate, "FIELD_VALUE"),
            Self::NulInCompany => Fate::DeadLettered(Stage::Write, "SQL_22021"),
            Self::KeywordTooLong => Fate::DeadLettered(Stage::Write, "SQL_23514"),
            Self::TestPosting => Fate::Dropped("TEST_POSTING"),
            Self::Repeated => Fate::Unchanged,
            Self::Revised | Self::RevisedLater => Fate::Updated,
        }
    }

    /// The row that a row sent again repeats. It is always a clean one that only this row
    /// repeats: a block has one dirty row, which is never among its first.
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

    /// Spoils a clean row; in the last three kinds, `row` is the original. `word` is random.
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

/// Replaces the element on which a random word falls.
fn set_element(bytes: &mut [u8], word: u64, element: f32) {
    let (elements, _) = bytes.as_chunks_mut::<4>();
    let place = word % elements.len().max(1) as u64;
    if let Some(slot) = elements.get_mut(place as usize) {
        *slot = element.to_le_bytes();
    }
}
