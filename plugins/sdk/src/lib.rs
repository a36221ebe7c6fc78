//! Forebay plugins in Rust: rows in, verdicts out.
//!
//! A plugin is a type that declares the [`columns!`] it reads, its settings ([`Plugin`]) and its
//! roles: [`Transform`], [`Validate`], [`Policy`], or several of them. [`export!`] makes it a
//! component. Its name and version are those of its Cargo package.
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
//! `wit/plugin.wit` has the rules for plugins in every language: no state between calls, no
//! clock, no files; errors are data. A panic costs only the row that causes it, and its message is
//! logged, but finding the row is slow: reject bad rows instead.
//!
//! The standard library's `println!` is silent in a component. With `#[macro_use] extern crate
//! forebay_plugin;` at the top of a crate, [`println!`], [`print!`], [`eprintln!`], [`eprint!`] and
//! [`dbg!`] write to the host's log instead, a line each.
//!
//! Batches arrive in one piece (`wit/packed/packed.wit`): columns are resolved once per batch,
//! values are read in place, and values that a plugin does not ask for are not touched.

mod answer;
#[doc(hidden)]
pub mod bindings;
mod columns;
#[doc(hidden)]
pub mod component;
mod packed;
#[doc(hidden)]
pub mod print;
mod settings;
pub mod testing;

pub use bindings::forebay::plugin::embeddings;
pub use bindings::forebay::plugin::log::{Level, log};
pub use bindings::forebay::plugin::types::{Field, Outcome, Rejection, Value};
pub use bindings::policy::exports::forebay::plugin::dead_letter_policy::{Decision, Failure};
pub use columns::{AllColumns, Cell, NoColumns, Record, Rows};
pub use settings::Settings;

/// A plugin with the columns it reads and its settings.
///
/// A plugin lives as long as an instance of its component, and is called with one batch after
/// the other. It must not keep state between calls: the same rows may be presented again.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// A row as this plugin sees it: a struct made by [`columns!`], or [`AllColumns`], or
    /// [`NoColumns`]. Fewer columns are faster.
    type Row<'a>: Record<'a>;

    /// Makes the plugin from the settings of a pipeline.
    ///
    /// Settings that were given but not asked for are refused afterwards, by name.
    ///
    /// # Errors
    /// A message that names the invalid setting and its valid values. The pipeline does not start.
    fn configure(settings: &mut Settings) -> Result<Self, String>;
}

/// Changes rows or drops them.
pub trait Transform: Plugin {
    /// Decides about a row. An iterator of [`Field`]s can be collected into an [`Outcome`].
    fn transform(&self, row: Self::Row<'_>) -> Outcome;

    /// Decides about each row of a batch, in order. Implement this too to change embeddings, or
    /// to read those of all rows at once; the index of a row in the batch is [`Record::index`].
    ///
    /// # Errors
    /// If the batch as a whole cannot be processed; the host tries it again in halves.
    fn transform_batch<'a>(&self, rows: Rows<'a, Self::Row<'a>>) -> Result<Vec<Outcome>, String> {
        Ok(rows.map(|row| self.transform(row)).collect())
    }
}

/// Finds reasons why rows must not be written.
pub trait Validate: Plugin {
    /// Returns all faults of a row; a row without faults passes.
    fn validate(&self, row: Self::Row<'_>) -> Vec<Rejection>;

    /// Returns all faults of each row of a batch, in order. Implement this too to read the
    /// embeddings of all rows at once.
    ///
    /// # Errors
    /// If the batch as a whole cannot be processed; the host tries it again in halves.
    fn validate_batch<'a>(
        &self,
        rows: Rows<'a, Self::Row<'a>>,
    ) -> Result<Vec<Vec<Rejection>>, String> {
        Ok(rows.map(|row| self.validate(row)).collect())
    }
}

/// Decides about failed rows.
pub trait Policy: Plugin {
    /// Decides about the row of this failure. The failure has the fields that [`Plugin::Row`]
    /// reads.
    fn decide(&self, failure: &Failure) -> Decision;
}
