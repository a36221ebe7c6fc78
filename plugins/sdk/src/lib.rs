//! Forebay plugins in Rust: rows in, verdicts out.
//!
//! A plugin is a type that says which [`columns!`] it reads, how it is configured
//! ([`Plugin`]), and what it does: [`Transform`], [`Validate`], [`Policy`], or several of them.
//! [`export!`] makes it a component. Its name and version are those of its Cargo package.
//!
//! ```
//! use forebay_plugin::{Plugin, Rejection, Settings, Validate};
//!
//! forebay_plugin::columns! {
//!     struct Posting { exp_years }
//! }
//!
//! struct Rules {
//!     max_years: i64,
//! }
//!
//! impl Plugin for Rules {
//!     type Row<'a> = Posting<'a>;
//!
//!     fn configure(settings: &mut Settings) -> Result<Self, String> {
//!         let max_years = settings.integer("max_years", 60)?;
//!         Ok(Self { max_years })
//!     }
//! }
//!
//! impl Validate for Rules {
//!     fn validate(&self, row: Posting<'_>) -> Vec<Rejection> {
//!         let years = row.exp_years.integer();
//!         let fault = years.filter(|years| *years > self.max_years).map(|years| {
//!             let what = format!("is {years}; it must be at most {}", self.max_years);
//!             row.exp_years.reject("FIELD_RANGE", &what)
//!         });
//!         fault.into_iter().collect()
//!     }
//! }
//!
//! forebay_plugin::export!(Rules: validate);
//! ```
//!
//! What holds for every plugin, whatever its language, is in `wit/plugin.wit`: no state
//! between calls, no clock, no files; errors are data. A panic costs only the row that causes
//! it, and its message is logged, but finding the row is slow: reject bad rows instead.
//!
//! Batches come in one piece (`wit/packed/packed.wit`): columns are found once per batch, values
//! are read where they lie, and what a plugin does not ask for is not looked at.

mod answer;
#[doc(hidden)]
pub mod bindings;
mod columns;
#[doc(hidden)]
pub mod component;
mod packed;
mod settings;
pub mod testing;

pub use bindings::forebay::plugin::embeddings;
pub use bindings::forebay::plugin::log::{Level, log};
pub use bindings::forebay::plugin::types::{Field, Outcome, Rejection, Value};
pub use bindings::policy::exports::forebay::plugin::dead_letter_policy::{Decision, Failure};
pub use columns::{AllColumns, Cell, NoColumns, Record, Rows};
pub use settings::Settings;

/// What every plugin has: the columns it reads, and settings.
///
/// A plugin lives as long as an instance of its component and is called with one batch after
/// the other. It must not remember anything of a call: the same rows may come again.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// A row, as this plugin sees it: what [`columns!`] has made, or [`AllColumns`], or
    /// [`NoColumns`]. Fewer columns are faster.
    type Row<'a>: Record<'a>;

    /// The plugin, as a pipeline configures it.
    ///
    /// Settings that were given but never asked for are refused after this, by name.
    ///
    /// # Errors
    ///
    /// A message that names the setting and says what it may be. The pipeline does not start.
    fn configure(settings: &mut Settings) -> Result<Self, String>;
}

/// Changes rows or drops them.
pub trait Transform: Plugin {
    /// What becomes of a row. An iterator of [`Field`]s can be collected into an [`Outcome`].
    fn transform(&self, row: Self::Row<'_>) -> Outcome;

    /// What becomes of each row of a batch, in order. Write this one too if embeddings are
    /// to be changed, or to be looked at all together; the row's index in the batch is
    /// [`Record::index`].
    ///
    /// # Errors
    ///
    /// When the batch as a whole cannot be processed; the host tries it again in halves.
    fn transform_batch<'a>(&self, rows: Rows<'a, Self::Row<'a>>) -> Result<Vec<Outcome>, String> {
        Ok(rows.map(|row| self.transform(row)).collect())
    }
}

/// Finds reasons why rows must not be written.
pub trait Validate: Plugin {
    /// All that is wrong with a row; nothing lets it pass.
    fn validate(&self, row: Self::Row<'_>) -> Vec<Rejection>;

    /// All that is wrong with each row of a batch, in order. Write this one too if embeddings
    /// are to be looked at all together.
    ///
    /// # Errors
    ///
    /// When the batch as a whole cannot be processed; the host tries it again in halves.
    fn validate_batch<'a>(
        &self,
        rows: Rows<'a, Self::Row<'a>>,
    ) -> Result<Vec<Vec<Rejection>>, String> {
        Ok(rows.map(|row| self.validate(row)).collect())
    }
}

/// Decides what becomes of rows that failed.
pub trait Policy: Plugin {
    /// What becomes of the row of this failure. Of its fields, those are there that
    /// [`Plugin::Row`] reads.
    fn decide(&self, failure: &Failure) -> Decision;
}
