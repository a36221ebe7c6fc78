//! The database: all of the host's SQL is in here.
//!
//! [`Store::begin`] claims a pipeline's partitions and says from where to go on;
//! [`Writer::commit`] writes a chunk, and all that belongs to it, in one transaction. The
//! [`Committed`] it returns can be made nowhere else, so nothing can be acknowledged or
//! notified before its rows are durable.

mod by_key;
mod capacity;
pub mod catalog;
pub mod checkpoint;
mod connect;
mod copy;
pub mod dead_letter;
mod digest;
mod encode;
mod error;
pub mod index;
pub mod ledger;
mod migrate;
pub mod outbox;
pub mod preflight;
pub mod reconcile;
pub mod run;
mod statements;
mod writer;

pub use self::connect::Store;
pub use self::error::StoreError;
pub(crate) use self::error::{Blame, blame};
pub use self::writer::{CommitError, Committed, LaterChunk, Totals, Turn, Writer};
