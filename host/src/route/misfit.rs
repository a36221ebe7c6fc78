//! Misfits between dataset and tables, found before the first row.

/// A misfit between dataset and tables.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Misfit {
    /// Such as `recruit_metadata.exp_years`.
    pub place: String,
    /// Description of the problem.
    pub message: String,
    /// Suggested remedy.
    pub hint: String,
}
