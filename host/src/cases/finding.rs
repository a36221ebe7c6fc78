//! A wrong answer of a plugin, and the change that would make its case pass.

/// A wrong answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Name of the case.
    pub case: String,
    /// Line number of the row, or of the case, from 1.
    pub line: usize,
    /// Key of the row; `None` for the case as a whole.
    pub row: Option<String>,
    /// Description in one or more lines. In a difference, `-` marks expected lines and `+` marks
    /// actual lines.
    pub text: String,
    pub(super) fix: Option<Fix>,
}

/// A change to the case file that accepts the answer.
#[derive(Clone, Debug)]
pub(super) struct Fix {
    /// Index of the case in its file.
    pub(super) case: usize,
    pub(super) place: Place,
    /// The new value.
    pub(super) toml: String,
}

/// Part of a case to change, with its index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Refused,
    Row(usize),
    Failure(usize),
}
