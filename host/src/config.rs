//! `forebay.toml`: read once, checked once, trusted afterwards.
//!
//! [`Config::load`] is the only place where configuration is read from files or from the
//! environment. It reports every problem of the file together, each with its line, its key and
//! a hint. The shape of the file is [`file::File`], from which the JSON Schema for editors is
//! made too ([`schema`]); what leaves this module needs no further checks.

mod build;
mod check;
mod database;
mod file;
mod missing;
mod plugins;
mod problems;
pub mod schedule;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::schedule::Schedule;
use crate::plugin;

pub use problems::{ConfigError, Problem};

/// Of this host.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The directories in which programs are looked for, in order.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where `.forebay/` and relative paths belong: the directory of the file.
    pub directory: PathBuf,
    /// `None` for the embedded server.
    pub database: Option<DatabaseUrl>,
    /// How the database is used, whichever it is.
    pub sessions: Sessions,
    /// Where plugins are and what they may use.
    pub plugins: Plugins,
    /// What bounds memory.
    pub limits: Limits,
    /// How long to try again without progress before a pipeline fails.
    pub give_up_after: Duration,
    /// What `forebay serve` answers.
    pub serve: Serve,
    /// In name order.
    pub pipelines: Vec<Pipeline>,
}

/// A connection URL. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("…");
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            // More likely a password that should have been percent-encoded.
            return write!(f, "{scheme}://…");
        }
        match rest.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split_once(':').map_or(user, |(name, _)| name);
                write!(f, "{scheme}://{user}@{host}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

/// How the host uses the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// At most; 2 or more.
    pub connections: u32,
    /// Of one statement; whole milliseconds.
    pub statement_timeout: Duration,
    /// Of waiting for one lock; whole milliseconds, less than `statement_timeout`.
    pub lock_timeout: Duration,
    /// `None` for what the URL says, or else `forebay`.
    pub application_name: Option<String>,
}

impl Default for Sessions {
    fn default() -> Self {
        // A chunk's statement takes milliseconds; with an HNSW index on a slow disk, minutes. A
        // lock that is held for half a minute is held by somebody who has forgotten it, or by a
        // change of the schema: the chunk gives up its own locks, and comes back.
        Self {
            connections: 32,
            statement_timeout: Duration::from_secs(300),
            lock_timeout: Duration::from_secs(30),
            application_name: None,
        }
    }
}

/// Where plugins are and what they may use.
#[derive(Debug, Clone)]
pub struct Plugins {
    /// Every `*.wasm` in it is loaded.
    pub directory: PathBuf,
    /// What each instance may use.
    pub limits: plugin::Limits,
    /// What each may import.
    pub permissions: plugin::Permissions,
    /// When a new version goes back to the last good one.
    pub canary: Canary,
    /// Which new versions first run without effect.
    pub shadow: Option<Shadow>,
}

/// When a new version of a plugin goes back to the last good one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// In its first so many chunks.
    pub chunks: u32,
    /// When it fails on more than this share of the rows.
    pub faults: f64,
}

/// New versions that run beside the one in use, without effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// Of these plugins.
    pub plugins: Vec<String>,
    /// Rows after which one is promoted by itself; `None` for never.
    pub promote_after: Option<u64>,
    /// Share of rows that may come out otherwise for that.
    pub differences: f64,
}

impl Plugins {
    /// Whether new versions of this plugin first run without effect.
    #[must_use]
    pub fn is_shadowed(&self, name: &str) -> bool {
        let shadow = self.shadow.as_ref();
        shadow.is_some_and(|shadow| shadow.plugins.iter().any(|plugin| plugin == name))
    }
}

/// What bounds memory. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// An encoded row; a larger one is dead-lettered.
    pub row: usize,
    /// An encoded chunk; a larger one ends the stream with an error.
    pub chunk: usize,
    /// Chunks received and not yet committed, together.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A row of 16,000 f32 elements has 64 KB: 1 MiB leaves room for texts. 300 such rows
        // make 19 MB. Four chunks of 300 × 1536 f32 in flight are 8 MB.
        Self {
            row: 1 << 20,
            chunk: 64 << 20,
            in_flight: 32 << 20,
        }
    }
}

/// What `forebay serve` answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Serve {
    /// Where `/metrics` and `/health` are; `None` for nowhere.
    pub listen: Option<SocketAddr>,
}

/// One dataset's way into its tables.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Unique in the file; names the pipeline in the database too.
    pub name: String,
    /// Where the rows come from.
    pub source: Source,
    /// By name, in this order; `None` for all in the directory, by name.
    pub plugins: Option<Vec<String>>,
    /// At least one.
    pub tables: Vec<String>,
    /// From the name of a field or embedding to the name of a column.
    pub rename: BTreeMap<String, String>,
    /// Chunks of a partition that are written at once.
    pub writers: RangeInclusive<usize>,
    /// Whom to tell when a run has changed rows.
    pub notify: Option<Notify>,
    /// What becomes of rows that the source no longer has.
    pub missing: Missing,
    /// What becomes of vector indexes while a run loads.
    pub index: IndexMode,
    /// Memory of the server that building an index may take, in bytes.
    pub index_memory: usize,
    /// When `forebay serve` runs it; `None` for once when it starts.
    pub schedule: Option<Schedule>,
    /// By plugin.
    pub settings: BTreeMap<String, Vec<(String, String)>>,
}

/// What becomes of rows that the source no longer has.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    /// Of all of them, or of none.
    pub policy: MissingPolicy,
    /// The most that may go in one run, as a share of the rows that the pipeline has written;
    /// 0 to 100.
    pub limit_percent: f64,
}

/// What is done to a row that the source no longer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingPolicy {
    /// It stays as it is.
    Keep,
    /// It is removed from all tables.
    Remove,
    /// It is marked in the column of this name.
    Flag(String),
}

/// What becomes of the vector indexes of a pipeline's tables while a run loads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IndexMode {
    /// They are maintained row by row.
    #[default]
    Keep,
    /// On an empty table they are dropped, and built at the end.
    Defer,
    /// The same also where there are rows; searches are without them meanwhile.
    DeferAlways,
    /// Searches keep them as they are; they are built anew at the end, and swapped.
    Rebuild,
}

impl IndexMode {
    /// As in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Defer => "defer",
            Self::DeferAlways => "defer-always",
            Self::Rebuild => "rebuild",
        }
    }
}

/// Where the rows come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// `http://`, `https://` or `unix:` followed by a path.
    pub grpc: String,
    /// As the server lists it.
    pub dataset: String,
    /// Rows that the server sends in a chunk at most.
    pub chunk_rows: u32,
    /// Rows of a chunk at most, when chunks are joined.
    pub max_chunk_rows: u32,
}

/// Whom to tell when a run has changed rows.
#[derive(Debug, Clone)]
pub struct Notify {
    /// `http://`, `https://` or `unix:` followed by a path.
    pub grpc: String,
    /// What to name in the call.
    pub target: String,
}

impl Config {
    /// Reads and checks a file. `${NAME}` in a text stands for an environment variable.
    ///
    /// # Errors
    /// If the file cannot be read, or with all its problems.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        Self::parse(path, &text, &|name| std::env::var(name).ok())
    }

    /// Checks the text of a file; `path` is for messages and relative paths.
    ///
    /// # Errors
    /// With all problems of the file.
    pub fn parse(
        path: &Path,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        check::check(path, text, variable)
    }

    /// The database to use: the configured one, or what `DATABASE_URL` names.
    #[must_use]
    pub fn database_url(&self) -> Option<DatabaseUrl> {
        self.database.clone().or_else(database_url_from_environment)
    }
}

/// What `DATABASE_URL` names, if it is set and not empty.
#[must_use]
pub fn database_url_from_environment() -> Option<DatabaseUrl> {
    std::env::var("DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
        .map(DatabaseUrl)
}

/// The JSON Schema of `forebay.toml`, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::default()
        .with_transform(schemars::transform::RecursiveTransform(without_null));
    settings
        .into_generator()
        .into_root_schema_for::<file::File>()
        .to_value()
}

/// TOML has no null: what may be left out is not also allowed to be that.
fn without_null(schema: &mut schemars::Schema) {
    use serde_json::Value;
    if let Some(Value::Array(types)) = schema.get("type")
        && let [only, Value::String(null)] | [Value::String(null), only] = types.as_slice()
        && null == "null"
    {
        let only = only.clone();
        schema.insert("type".into(), only);
    }
    if let Some(Value::Array(variants)) = schema.get("anyOf")
        && let [Value::Object(only), null] = variants.as_slice()
        && null.get("type").is_some_and(|name| name == "null")
    {
        let only = only.clone();
        schema.remove("anyOf");
        schema.ensure_object().extend(only);
    }
}

#[cfg(test)]
mod tests;
