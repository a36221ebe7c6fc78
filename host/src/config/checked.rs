//! A checked configuration: what the rest of the host works with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::auth::Auth;
use super::database::{DatabaseUrl, Sessions};
use super::defaults;
use super::environment::database_url_from_environment;
use super::key::KeyChoice;
use super::missing::Missing;
use super::plugins::Plugins;
use super::roll_over::RollOver;
use super::schedule::Schedule;
use super::secret::Secret;
use super::source::Source;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the file, for `.forebay/` and relative paths.
    pub directory: PathBuf,
    /// `None` for the embedded server.
    pub database: Option<DatabaseUrl>,
    /// In place of the password of a URL.
    pub database_password: Option<Secret>,
    /// Settings of the host's sessions, for either server.
    pub sessions: Sessions,
    /// Directory, limits and permissions of plugins.
    pub plugins: Plugins,
    /// Bounds of memory.
    pub limits: Limits,
    /// Time without progress after which a pipeline fails.
    pub give_up_after: Duration,
    /// Maximum time after a signal for what was received to be committed.
    pub stop_timeout: Duration,
    /// Endpoints of `forebay serve`.
    pub serve: Serve,
    /// In name order.
    pub pipelines: Vec<Pipeline>,
}

impl Config {
    /// The database to use: the configured one, or what `DATABASE_URL` names.
    #[must_use]
    pub fn database_url(&self) -> Option<DatabaseUrl> {
        let url = self.database.clone().or_else(database_url_from_environment);
        url.map(|url| url.with_password(self.database_password.clone()))
    }
}

/// Bounds of memory; sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of an encoded row; a larger one is dead-lettered.
    pub row: usize,
    /// Maximum size of an encoded chunk; a larger one ends the stream with an error.
    pub chunk: usize,
    /// Maximum size of all chunks that are received and not yet committed.
    pub in_flight: usize,
    /// Maximum number of fields and embeddings of a dataset.
    pub fields: usize,
    /// Maximum number of partitions of a dataset.
    pub partitions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            row: defaults::ROW,
            chunk: defaults::CHUNK,
            in_flight: defaults::IN_FLIGHT,
            fields: defaults::FIELDS as usize,
            partitions: defaults::PARTITIONS as usize,
        }
    }
}

/// Endpoints of `forebay serve`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Serve {
    /// Address of `/metrics`, `/livez`, `/readyz` and `/health`; `None` for neither.
    pub listen: Option<SocketAddr>,
}

/// A pipeline: one dataset, its plugins and its tables.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Unique in the file; names the pipeline in the database too.
    pub name: String,
    /// Source of the rows.
    pub source: Source,
    /// Names, in this order; `None` for all plugins in the directory, in name order.
    pub plugins: Option<Vec<String>>,
    /// At least one.
    pub tables: Vec<String>,
    /// From the name of a field or embedding to the name of a column.
    pub rename: BTreeMap<String, String>,
    /// Column by which rows are found.
    pub key: KeyChoice,
    /// Number of chunks of a partition that are written at once.
    pub writers: RangeInclusive<usize>,
    /// Receiver of a call after a run that has changed rows.
    pub notify: Option<Notify>,
    /// Treatment of rows that the source no longer has.
    pub missing: Missing,
    /// Maximum share of dead letters among the latest rows and among those of a run; 0 to 100.
    pub dead_letter_limit_percent: f64,
    /// Treatment of vector indexes while a run loads.
    pub index: IndexMode,
    /// Maximum memory of the server for building an index, in bytes.
    pub index_memory: usize,
    /// When a run of a feed rolls over; `None` for the defaults.
    pub roll_over: Option<RollOver>,
    /// When `forebay serve` runs it; `None` for once when it starts.
    pub schedule: Option<Schedule>,
    /// Settings of each plugin, by its name.
    pub settings: BTreeMap<String, Vec<(String, String)>>,
}

/// Treatment of the vector indexes of a pipeline's tables while a run loads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IndexMode {
    /// Maintained row by row.
    #[default]
    Keep,
    /// Dropped on an empty table, and built at the end.
    Defer,
    /// Dropped also where there are rows; searches are without them meanwhile.
    DeferAlways,
    /// Searches keep using them, rows enter them with little effort; they are built anew beside the
    /// old ones, and swapped.
    Rebuild,
    /// Searches keep using them unchanged; they are rebuilt at the end, and swapped. For superusers.
    RebuildFrozen,
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
            Self::RebuildFrozen => "rebuild-frozen",
        }
    }
}

/// Receiver of a call after a run that has changed rows.
#[derive(Debug, Clone)]
pub struct Notify {
    /// `http://`, `https://` or `unix:` followed by a path.
    pub grpc: String,
    /// Target that the call names.
    pub target: String,
    /// Time between two calls while a feed runs; `None` for the default.
    pub every: Option<Duration>,
    /// How host and server prove who they are.
    pub auth: Auth,
}
