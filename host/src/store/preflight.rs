//! Preflight: checks that the database is fit to be written to, before the first row.
//!
//! It queries the catalog and the server's settings, a handful of queries in all, and changes
//! nothing. What would certainly fail is an error, which is refused together with all other
//! misfits; a risk to safety is a warning, a cost in speed an advice. What the server does not
//! show is not reported.

mod demand;
mod finding;
mod grants;
mod indexes;
mod inspect;
mod resources;
mod server;
mod tables;

pub use self::demand::{Demand, Wanted};
pub use self::finding::{Finding, Severity};
