//! A pipeline's run, from the first query to the last notification.
//!
//! [`Pipeline::prepare`] queries source, database and plugins, and reports everything that does not
//! fit together before the first row. [`Pipeline::run`] claims the partitions, runs the loop of
//! `partition` for each of them, delivers pending notifications, and reports.

mod again;
mod end;
mod endless;
mod figures;
mod host;
mod indexes;
mod left_out;
mod mapping;
mod not_begun;
mod outlook;
mod preflight;
mod prepare;
mod reconcile;
mod rehearsal;
mod run;
mod strangers;
mod verify;

pub use self::host::Host;
pub use self::prepare::Pipeline;
pub use self::rehearsal::{Fate, Outcome, Rehearsal};
pub use self::verify::{ColumnFindings, Extra, Repair, TableFindings, Verification};
