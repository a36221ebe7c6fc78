//! What is wrong with an answer of a plugin, and what would make its case right.

/// What is wrong with an answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case's name.
    pub case: String,
    /// The line of the row, or of the case, from 1.
    pub line: usize,
    /// The row's key; `None` where it is the case as a whole.
    pub row: Option<String>,
    /// What is wrong, in one line or several: the difference has a `-` before what was expected
    /// and a `+` before what was answered.
    pub text: String,
    pub(super) fix: Option<Fix>,
}

/// What to write where.
#[derive(Clone, Debug)]
pub(super) struct Fix {
    /// Index of the case in its file.
    pub(super) case: usize,
    pub(super) place: Place,
    /// The value.
    pub(super) toml: String,
}

/// A part of a case, with its index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Refused,
    Row(usize),
    Failure(usize),
}
