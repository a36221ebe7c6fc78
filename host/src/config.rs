//! `forebay.toml`: read once, checked once, trusted afterwards.
//!
//! [`Config::load`] is the only place where configuration is read from files or from the
//! environment. It reports all problems of the file together, each with its line, its key and
//! a hint. `file.rs` describes the shape of the file, from which the JSON Schema for editors is
//! made too ([`schema()`]); what leaves this module needs no further checks.

mod auth;
mod build;
mod check;
mod checked;
mod database;
mod defaults;
mod environment;
mod file;
mod format;
mod key;
mod method;
mod missing;
mod plugins;
mod problems;
mod roll_over;
pub mod schedule;
mod schema;
mod secret;
mod shape;
mod source;
mod suggestion;
mod variables;

pub use self::auth::{Auth, Identity};
pub use self::checked::{Config, IndexMode, Limits, Notify, Pipeline, Serve};
pub use self::database::{Access, DatabaseUrl, Sessions, several_hosts};
pub(crate) use self::environment::VERSION;
pub use self::environment::{database_url_from_environment, search_path};
pub use self::key::KeyChoice;
pub use self::method::{Descriptors, Method, Rows};
pub use self::missing::{Missing, MissingPolicy};
pub use self::plugins::{Canary, Plugins, Shadow};
pub use self::problems::{ConfigError, Problem};
pub use self::roll_over::RollOver;
pub use self::schema::schema;
pub use self::secret::Secret;
pub use self::source::{Files, Grpc, Source, Transport};
pub(crate) use self::suggestion::closest;

#[cfg(test)]
mod tests;
