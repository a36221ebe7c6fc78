//! The shape of `forebay.toml`. The comments are what an editor shows.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of Forebay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The database. Left out: `DATABASE_URL`, or else an embedded PostgreSQL under `.forebay/`.
    #[serde(default)]
    pub database: Database,
    /// Where plugins are and what they may use.
    #[serde(default)]
    pub plugins: Plugins,
    /// What bounds memory.
    #[serde(default)]
    pub limits: Limits,
    /// What happens when the source, the database or the API server is away.
    #[serde(default)]
    pub retry: Retry,
    /// What `forebay serve` answers.
    #[serde(default)]
    pub serve: Serve,
    /// The pipelines, by name.
    #[schemars(extend("minProperties" = 1))]
    pub pipelines: BTreeMap<String, Pipeline>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    /// `postgres://user:password@host:port/database`. Write `"${DATABASE_URL}"` to keep it out of the file.
    #[schemars(extend("format" = "postgres-url"))]
    pub url: Option<String>,
    /// Connections of this host at most, 2 to 1,000; opened when they are needed. Default: 32.
    #[schemars(range(min = 2, max = 1_000))]
    pub connections: Option<u32>,
    /// A statement that takes longer is cancelled, and its chunk tried again. Default: `"5m"`.
    #[schemars(extend("format" = "time-span"))]
    pub statement_timeout: Option<String>,
    /// How long a statement waits for a lock of somebody else before its chunk is tried again. Default: `"30s"`.
    #[schemars(extend("format" = "time-span"))]
    pub lock_timeout: Option<String>,
    /// What the server's `pg_stat_activity` shows, 1 to 63 characters. Default: as in `url`, or `"forebay"`.
    #[schemars(length(min = 1, max = 63))]
    pub application_name: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugins {
    /// Every `*.wasm` in it is a plugin; relative to this file. Default: `plugins`.
    pub directory: Option<String>,
    /// What each instance may use.
    #[serde(default)]
    pub limits: PluginLimits,
    /// When a new version goes back to the last good one by itself.
    #[serde(default)]
    pub canary: Canary,
    /// New versions that first run beside the one in use, without effect.
    pub shadow: Option<Shadow>,
    /// What an import of `wasi:*` finds that is not granted: an `"empty"` world that stands still (the default), or `"refuse"`: the plugin is not loaded.
    pub wasi: Option<Wasi>,
    /// What is real for a plugin, by its name: `"clock"`, `"random"`, `"stdio"`. Default: nothing.
    #[serde(default)]
    pub grants: BTreeMap<String, BTreeSet<Grant>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Canary {
    /// Chunks in which a new version has to prove itself. Default: 20.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub chunks: Option<u32>,
    /// Share of rows, 0 to 1, on which it may trap, miss its deadline or otherwise fail. Default: 0.05.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub faults: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Shadow {
    /// Names of the plugins whose new versions wait for `forebay plugin promote`.
    #[schemars(length(min = 1))]
    pub plugins: Vec<String>,
    /// Rows after which a new version is promoted by itself. Left out: never.
    #[schemars(range(min = 1))]
    pub promote_after: Option<u64>,
    /// Share of rows, 0 to 1, that may come out otherwise for that. Default: 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub differences: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wasi {
    Empty,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grant {
    Clock,
    Random,
    Stdio,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginLimits {
    /// Linear memory, such as `"64MiB"` (the default).
    #[schemars(extend("format" = "byte-size"))]
    pub memory: Option<String>,
    /// Time of one call, such as `"500ms"` (the default).
    #[schemars(extend("format" = "time-span"))]
    pub deadline: Option<String>,
    /// Stack of one call, `"64KiB"` to `"1MiB"`. Default: `"512KiB"`.
    #[schemars(extend("format" = "byte-size"))]
    pub stack: Option<String>,
    /// Elements of all tables. Default: 1,048,576.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub table_elements: Option<u32>,
    /// Core instances in a component, and as many tables and memories. Default: 1,000.
    #[schemars(range(min = 1, max = 100_000))]
    pub instances: Option<u32>,
    /// Calls of the host in one call. Default: 100,000.
    #[schemars(range(min = 0, max = 4_000_000_000_u32))]
    pub host_calls: Option<u32>,
    /// Lines of one call that are logged; the rest is counted. Default: 100.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub log_lines: Option<u32>,
    /// Data handed to the host in one call: its answer, and as much in all it imports. Default: `"64MiB"`.
    #[schemars(extend("format" = "byte-size"))]
    pub output: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// A larger row is dead-lettered. Default: `"1MiB"`.
    #[schemars(extend("format" = "byte-size"))]
    pub row: Option<String>,
    /// A larger chunk ends the stream. Default: `"64MiB"`.
    #[schemars(extend("format" = "byte-size"))]
    pub chunk: Option<String>,
    /// Received and not yet committed, together. Default: `"32MiB"`.
    #[schemars(extend("format" = "byte-size"))]
    pub in_flight: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// How long to try again without progress before the pipeline fails. Default: `"5m"`.
    #[schemars(extend("format" = "time-span"))]
    pub give_up_after: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Serve {
    /// Address and port of `/metrics` and `/health`, such as `"127.0.0.1:9464"`. Left out: neither.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipeline {
    /// Where the rows come from.
    pub source: Source,
    /// Plugins by name, in this order. Left out: all in the directory, in name order.
    pub plugins: Option<Vec<String>>,
    /// Target tables; the order does not matter.
    #[schemars(length(min = 1))]
    pub tables: Vec<String>,
    /// From the name of a field or embedding to the name of its column, where they differ; or to `table.column`. Of a list, also to the name of its table.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Chunks of a partition that are written at once, at least; each takes a connection. Default: 1.
    #[schemars(range(min = 1, max = 64))]
    pub writers: Option<u32>,
    /// Chunks of a partition that are written at once, at most, where that is found to be faster. Default: as `writers` where that is given, or else 4.
    #[schemars(range(min = 1, max = 64))]
    pub max_writers: Option<u32>,
    /// Whom to tell when a run has changed rows.
    pub notify: Option<Notify>,
    /// What becomes of rows that a dataset which is read as a whole no longer has: `"keep"` (the default), `"remove"`, or `{ flag = "COLUMN" }` with a column of `boolean` or `timestamptz`.
    pub missing: Option<Missing>,
    /// The most that may go in one run, as a share of the rows that the pipeline has written, such as `"10%"` (the default); if there are more, all stay. `"100%"`: no limit.
    #[schemars(extend("format" = "share"))]
    pub missing_limit: Option<String>,
    /// Vector indexes (hnsw, ivfflat) of the tables while a run loads. `"keep"`: maintained row by row (the default). `"defer"`: dropped while an empty table is filled, built afterwards; kept where there are rows. `"defer-always"`: also where there are rows, and searches are without it meanwhile. `"rebuild"`: searches keep it as it is, new rows enter it when it is built anew at the end; needs a superuser.
    pub index: Option<Index>,
    /// Memory of the database server that building an index may take, where it needs more than `maintenance_work_mem`. Default: `"1GiB"`.
    #[schemars(extend("format" = "byte-size"))]
    pub index_memory: Option<String>,
    /// When `forebay serve` runs it, in local time, such as `"0 0 2 * * ?"`: second, minute, hour, day, month, day of the week by name. Left out: once, when it starts.
    #[schemars(extend("format" = "schedule"))]
    pub schedule: Option<String>,
    /// Settings of each plugin, as texts.
    #[serde(default)]
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Index {
    Keep,
    Defer,
    DeferAlways,
    Rebuild,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Missing {
    Word(MissingWord),
    Flag(MissingFlag),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MissingWord {
    Keep,
    Remove,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MissingFlag {
    /// A `boolean` becomes true, a `timestamptz` the time; both are taken back when the row comes again.
    #[schemars(length(min = 1))]
    pub flag: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    /// Address of the embedding server: `http://host:port`, `https://host:port` or `unix:/path`.
    #[schemars(extend("format" = "grpc-address"))]
    pub grpc: String,
    /// Name of the dataset on that server.
    pub dataset: String,
    /// Rows that the server is asked to send in a chunk, 1 to 10,000. Default: 300.
    #[schemars(range(min = 1, max = 10_000))]
    pub chunk_rows: Option<u32>,
    /// Rows up to which chunks are joined where the way to the database is long, or they are light. Default: as `chunk_rows` where that is given, or else 1,200.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_chunk_rows: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    /// Address of the API server: `http://host:port`, `https://host:port` or `unix:/path`.
    #[schemars(extend("format" = "grpc-address"))]
    pub grpc: String,
    /// What to name in the call.
    pub target: String,
}
