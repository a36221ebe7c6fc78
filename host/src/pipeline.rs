//! A pipeline's run, from the first question to the last notification.
//!
//! [`Pipeline::prepare`] asks source, database and plugins, and reports everything that cannot
//! fit together before the first row. [`Pipeline::run`] claims the partitions, runs the loop of
//! [`crate::partition`] for each of them, delivers what is owed, and reports.

mod figures;
mod host;
mod indexes;
mod preflight;
mod prepare;
mod reconcile;
mod run;

pub use self::host::Host;
pub use self::prepare::Pipeline;
