//! Maps the values of rows to columns of tables, and checks that they fit.
//!
//! [`bind()`] matches a dataset's schema with the tables' catalog once, before the first row, and
//! reports all misfits together. [`Targets::route`] then judges the rows of a batch: a value that
//! does not fit its column fails its row; of the other rows, it digests what would be written.
//! Encoding needs no checks after that.

pub mod absent;
mod bind;
pub(crate) mod digest;
mod dimensions;
mod fit;
mod items;
mod judge;
mod key;
mod kind;
mod kinds;
mod layout;
mod mapping;
mod memory;
mod misfit;
mod needs;
pub(crate) mod numeric;
mod row_id;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod unmapped;

pub use self::bind::bind;
pub use self::kind::ColumnKind;
pub(crate) use self::kind::POSTGRES_EPOCH_MICROS;
pub use self::kinds::bind_kinds;
pub use self::mapping::{ColumnMapping, FedBy, Mapping, TableMapping, UnusedEmbedding};
pub use self::memory::{Fed, Remembered};
pub use self::misfit::Misfit;
pub(crate) use self::row_id::{own_id, row_id, row_ids};
pub use self::table::{Column, EQUALS, ForeignKey, NearKey, OwnCheck, Table};
pub use self::target::{Binding, Feed, ItemColumn, ItemFeed, Items, Target, TargetColumn, Targets};
