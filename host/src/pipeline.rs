//! A pipeline's run, from the first query to the last notification.
//!
//! [`Pipeline::prepare`] queries source, database and plugins, and reports everything that does not
//! fit together before the first row. [`Pipeline::run`] claims the partitions, runs the loop of
//! `partition` for each of them, delivers pending notifications, and reports.

mod again;
mod figures;
mod host;
mod indexes;
mod preflight;
mod prepare;
mod reconcile;
mod run;
mod verify;

pub use self::host::Host;
pub use self::prepare::Pipeline;
pub use self::verify::{ColumnFindings, Extra, Repair, TableFindings, Verification};
