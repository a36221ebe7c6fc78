//! The database: all SQL of the host.
//!
//! [`Store::begin`] claims a pipeline's partitions and returns the positions to continue from;
//! [`Writer::commit`] writes a chunk, and everything that belongs to it, in one transaction. The
//! [`Committed`] that it returns can be made nowhere else, so nothing can be acknowledged or
//! announced before its rows are durable.

mod access;
pub mod again;
mod by_key;
mod capacity;
pub mod catalog;
pub mod checkpoint;
mod claim;
pub mod compare;
mod connect;
mod copy;
pub mod dead_letter;
mod digest;
mod encode;
mod error;
pub mod format;
mod halving;
pub mod index;
mod known;
pub mod ledger;
pub mod make;
mod mapping;
mod message;
mod migrate;
pub mod nearest;
mod no_delay;
mod not_begun;
pub mod outbox;
pub mod preflight;
pub mod reconcile;
mod refusals;
mod roll_over;
pub mod run;
mod session;
mod settings;
mod sql;
mod statements;
mod tls;
mod token;
mod url;
mod waiting;
mod writer;

pub use self::connect::Store;
pub use self::error::{Behind, DatabaseFailure, StoreError};
pub(crate) use self::error::{Blame, blame};
pub(crate) use self::sql::from_row;
pub use self::writer::{
    Assumed, CommitError, Committed, Evidence, LaterChunk, Totals, Turn, Writer,
};
