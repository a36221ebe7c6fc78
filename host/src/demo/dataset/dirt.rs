//! The kinds of dirty rows, and the expected outcome of each.
//!
//! `examples/recruit/README.md` has the same as a table. Fates are derived from the rows, not from
//! the host's behaviour, so that tests can compare the two.

use serde::Deserialize;

use crate::row::Stage;

/// A defect or peculiarity of a row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Dirt {
    /// The vector is one element short.
    WrongDimensions,
    /// An element is NaN.
    NotANumber,
    /// An element is infinite.
    Infinite,
    /// The vector is missing.
    EmbeddingMissing,
    /// The key is empty.
    KeyMissing,
    /// The key is not a UUID.
    KeyInvalid,
    /// The location is a text of 1.2 MB.
    RowTooLarge,
    /// The number of years is a word.
    YearsAsText,
    /// The row has a field that the source does not declare.
    UndeclaredField,
    /// The company name is missing.
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
    /// The posting is a trial of the form.
    TestPosting,
    /// A recent row, sent again.
    Repeated,
    /// A recent row with one more year, usually in the same chunk.
    Revised,
    /// A row from 300 or more rows before with one more year, usually in another chunk.
    RevisedLater,
}

/// Outcome of a row in a first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its key is new.
    Inserted,
    /// Its key exists with other content.
    Updated,
    /// Its key exists with the same content.
    Unchanged,
    /// A plugin's `transform` drops it for this reason.
    Dropped(&'static str),
    /// It fails in this stage with this code.
    DeadLettered(Stage, &'static str),
}

impl Dirt {
    /// Outcome of such a row in a first run.
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
}
