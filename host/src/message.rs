//! Protos of others: their descriptors, and what the fields of their messages mean.
//!
//! A [`Plan`] is compiled once from descriptors and configuration. It says by field numbers where in
//! a response the rows and the position are, which `source` goes by, and what each field of a row
//! feeds, which `decode` goes by. Neither of them makes a tree of values; descriptors are looked at
//! again only for fields that become JSON, and to show a row to a person.

mod compile;
mod descriptors;
mod json;
mod path;
mod plan;
mod problem;
mod request;
mod response;
mod row;
mod scalar;

pub use self::compile::compile;
pub use self::descriptors::{Pool, load, pool_of_files};
pub use self::json::{JsonField, TooManyItems, show};
pub use self::plan::{Cleared, Encoding, Kind, Mark, Member, Node, Plan, Target, Width};
pub use self::problem::Problem;
pub use self::request::Request;
pub use self::response::{Found, Garbled, PositionFrom, Response};
pub use self::scalar::{EnumNames, Scalar};
