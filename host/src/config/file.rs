//! The shape of `forebay.toml`. The comments are what an editor shows, followed by the default.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::defaults;
use super::format::{write_duration, write_size};
use crate::plugin;

/// Configuration of Forebay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The database. If left out: `DATABASE_URL`, or else an embedded PostgreSQL under `.forebay/`.
    #[serde(default)]
    pub database: Database,
    /// Directory, limits and permissions of plugins.
    #[serde(default)]
    pub plugins: Plugins,
    /// Bounds of memory.
    #[serde(default)]
    pub limits: Limits,
    /// Retries when the source, the database or the API server is unavailable.
    #[serde(default)]
    pub retry: Retry,
    /// Endpoints of `forebay serve`.
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
    /// File that holds `url`, read for each connection; relative to this file. `url = "${file:PATH}"` means the same.
    pub url_file: Option<String>,
    /// Password, as it is and without percent-encoding, in place of one in `url`. Write `"${NAME}"` or `"${file:PATH}"` to keep it out of the file.
    pub password: Option<String>,
    /// File that holds the password, read again when it changes; relative to this file.
    pub password_file: Option<String>,
    /// Maximum number of connections of this host, 2 to 1,000; opened on demand.
    #[schemars(extend("default" = defaults::CONNECTIONS), range(min = 2, max = 1_000))]
    pub connections: Option<u32>,
    /// A statement that takes longer is cancelled, and its chunk is tried again.
    #[schemars(extend("default" = write_duration(defaults::STATEMENT_TIMEOUT), "format" = "time-span"))]
    pub statement_timeout: Option<String>,
    /// Maximum time that a statement waits for a lock of another session before its chunk is tried again.
    #[schemars(extend("default" = write_duration(defaults::LOCK_TIMEOUT), "format" = "time-span"))]
    pub lock_timeout: Option<String>,
    /// A transaction in which the host does nothing for longer is ended by the server, with all its locks: the host was stopped, or its machine is gone.
    #[schemars(extend("default" = write_duration(defaults::IDLE_IN_TRANSACTION_TIMEOUT), "format" = "time-span"))]
    pub idle_in_transaction_timeout: Option<String>,
    #[schemars(
        description = format!(
            "Name in the server's `pg_stat_activity`, 1 to 63 characters. Default: as in `url`, or `\"{}\"`.",
            defaults::APPLICATION_NAME
        ),
        length(min = 1, max = 63)
    )]
    pub application_name: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugins {
    /// Directory whose `*.wasm` files are the plugins; relative to this file.
    #[schemars(extend("default" = defaults::PLUGINS_DIRECTORY))]
    pub directory: Option<String>,
    /// Limits of each instance.
    #[serde(default)]
    pub limits: PluginLimits,
    /// When a new version is replaced by the last good one automatically.
    #[serde(default)]
    pub canary: Canary,
    /// New versions that first run beside the one in use, without effect.
    pub shadow: Option<Shadow>,
    /// Imports of `wasi:*` that are not granted: `"empty"` serves them an empty world whose clock stands still (the default); `"refuse"` does not load the plugin.
    pub wasi: Option<Wasi>,
    /// Capabilities granted to a plugin, by its name: `"clock"`, `"random"`, `"stdio"`. Default: none.
    #[serde(default)]
    pub grants: BTreeMap<String, BTreeSet<Grant>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Canary {
    /// Number of chunks for which a new version is watched.
    #[schemars(extend("default" = defaults::CANARY_CHUNKS), range(min = 1, max = 1_000_000))]
    pub chunks: Option<u32>,
    /// Share of rows, 0 to 1, on which it may trap, miss its deadline or otherwise fail.
    #[schemars(extend("default" = defaults::CANARY_FAULTS), range(min = 0.0, max = 1.0))]
    pub faults: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Shadow {
    /// Names of the plugins whose new versions wait for `forebay plugin promote`.
    #[schemars(length(min = 1))]
    pub plugins: Vec<String>,
    /// Number of rows after which a new version is promoted automatically. Default: never.
    #[schemars(range(min = 1))]
    pub promote_after: Option<u64>,
    /// Share of rows, 0 to 1, whose outcome may differ for that.
    #[schemars(extend("default" = defaults::SHADOW_DIFFERENCES), range(min = 0.0, max = 1.0))]
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

// Without `deny_unknown_fields`, which serde does not have beside `flatten`: any other key must be a
// table, and the schema says so.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct PluginLimits {
    /// Maximum linear memory.
    #[schemars(extend("default" = write_size(plugin::Limits::default().memory), "format" = "byte-size"))]
    pub memory: Option<String>,
    /// Maximum time of one call.
    #[schemars(extend("default" = write_duration(plugin::Limits::default().deadline), "format" = "time-span"))]
    pub deadline: Option<String>,
    /// Stack of one call, `"64KiB"` to `"1MiB"`.
    #[schemars(extend("default" = write_size(plugin::Limits::default().stack), "format" = "byte-size"))]
    pub stack: Option<String>,
    /// Maximum number of elements in all tables together.
    #[schemars(extend("default" = plugin::Limits::default().table_elements), range(min = 1, max = 100_000_000))]
    pub table_elements: Option<u32>,
    /// Maximum number of core instances in a component; the same for tables and for memories.
    #[schemars(extend("default" = plugin::Limits::default().instances), range(min = 1, max = 100_000))]
    pub instances: Option<u32>,
    /// Maximum number of host calls in one call.
    #[schemars(extend("default" = plugin::Limits::default().host_calls), range(min = 0, max = 4_000_000_000_u32))]
    pub host_calls: Option<u32>,
    /// Maximum number of lines that one call may log; the rest is only counted.
    #[schemars(extend("default" = plugin::Limits::default().log_lines), range(min = 0, max = 1_000_000))]
    pub log_lines: Option<u32>,
    /// Maximum data passed to the host in one call: the same for its answer and for all imported functions together.
    #[schemars(extend("default" = write_size(plugin::Limits::default().output), "format" = "byte-size"))]
    pub output: Option<String>,
    /// Maximum processor time for compiling a component, in whole seconds.
    #[schemars(extend("default" = write_duration(plugin::Limits::default().compile_time), "format" = "time-span"))]
    pub compile_time: Option<String>,
    /// Maximum memory for compiling a component.
    #[schemars(extend("default" = write_size(plugin::Limits::default().compile_memory), "format" = "byte-size"))]
    pub compile_memory: Option<String>,
    /// Limits of single plugins, by name, in place of those for all.
    #[serde(flatten)]
    pub own: BTreeMap<String, OwnLimits>,
}

/// Limits of one plugin, in place of those for all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnLimits {
    /// Maximum linear memory.
    #[schemars(extend("format" = "byte-size"))]
    pub memory: Option<String>,
    /// Maximum time of one call.
    #[schemars(extend("format" = "time-span"))]
    pub deadline: Option<String>,
    /// Maximum number of elements in all tables together.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub table_elements: Option<u32>,
    /// Maximum number of host calls in one call.
    #[schemars(range(min = 0, max = 4_000_000_000_u32))]
    pub host_calls: Option<u32>,
    /// Maximum number of lines that one call may log; the rest is only counted.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub log_lines: Option<u32>,
    /// Maximum data passed to the host in one call.
    #[schemars(extend("format" = "byte-size"))]
    pub output: Option<String>,
    #[expect(
        dead_code,
        reason = "`plugins::check_own_limits` reads it from the document"
    )]
    /// Whether these may be above the limits for all plugins. Default: no, and such a limit is an error.
    pub may_exceed: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Maximum size of a row; a larger one is dead-lettered.
    #[schemars(extend("default" = write_size(defaults::ROW), "format" = "byte-size"))]
    pub row: Option<String>,
    /// Maximum size of a chunk; a larger one ends the stream.
    #[schemars(extend("default" = write_size(defaults::CHUNK), "format" = "byte-size"))]
    pub chunk: Option<String>,
    /// Maximum size of all chunks that are received and not yet committed.
    #[schemars(extend("default" = write_size(defaults::IN_FLIGHT), "format" = "byte-size"))]
    pub in_flight: Option<String>,
    /// Maximum number of fields and embeddings of a dataset; one with more is refused.
    #[schemars(extend("default" = defaults::FIELDS), range(min = 1, max = 100_000))]
    pub fields: Option<u32>,
    /// Maximum number of partitions of a dataset; one with more is refused.
    #[schemars(extend("default" = defaults::PARTITIONS), range(min = 1, max = 100_000))]
    pub partitions: Option<u32>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Time without progress after which the pipeline fails.
    #[schemars(extend("default" = write_duration(defaults::GIVE_UP_AFTER), "format" = "time-span"))]
    pub give_up_after: Option<String>,
    /// Maximum time after a signal for what was received to be committed; what is not is received again by the next start.
    #[schemars(extend("default" = write_duration(defaults::STOP_TIMEOUT), "format" = "time-span"))]
    pub stop_timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Serve {
    /// Address and port of `/metrics`, `/livez`, `/readyz` and `/health`, such as `"127.0.0.1:9464"`. Default: none is served.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipeline {
    /// Source of the rows.
    pub source: Source,
    /// Plugins by name, in this order. Default: all in the directory, in name order.
    pub plugins: Option<Vec<String>>,
    /// Target tables; the order does not matter. Left out where `source.rows` names them.
    #[schemars(length(min = 1))]
    pub tables: Option<Vec<String>>,
    /// Maps the name of a field or embedding to the name of its column, where they differ, or to `table.column`; the name of a list also to the name of its table.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Column by which rows are found and which the row's key feeds: unique and not null. Either one for all tables that have it, or `{ TABLE = "COLUMN" }`. Default: the primary key, or the only other key if the server makes the primary one.
    pub key: Option<Key>,
    /// Minimum number of chunks of a partition that are written at once; each takes a connection.
    #[schemars(extend("default" = defaults::WRITERS), range(min = 1, max = 64))]
    pub writers: Option<u32>,
    #[schemars(
        description = format!(
            "Maximum number of chunks of a partition that are written at once; more than `writers` only while that is faster. Default: the same as `writers` if given, or else {}.",
            defaults::MAX_WRITERS
        ),
        range(min = 1, max = 64)
    )]
    pub max_writers: Option<u32>,
    /// Receiver of a call after a run that has changed rows.
    pub notify: Option<Notify>,
    /// Treatment of rows that a dataset which is read as a whole no longer has: `"keep"` (the default), `"remove"`, or `{ flag = "COLUMN" }` with a column of `boolean` or `timestamptz`.
    pub missing: Option<Missing>,
    /// Maximum share of the rows written by the pipeline that one run may remove or flag; if more are missing, all are kept. `"100%"`: no limit.
    #[schemars(extend("default" = format!("{}%", defaults::MISSING_LIMIT_PERCENT), "format" = "share"))]
    pub missing_limit: Option<String>,
    /// Maximum share of dead letters, among the last 1,000 rows of a partition and among all rows of a run. The chunk that exceeds it is not written, and the pipeline halts; fewer than 10 dead letters never exceed it. `"100%"`: no limit.
    #[schemars(extend("default" = format!("{}%", defaults::DEAD_LETTER_LIMIT_PERCENT), "format" = "share"))]
    pub dead_letter_limit: Option<String>,
    /// Treatment of the tables' vector indexes (hnsw, ivfflat and those of other extensions) while a run loads. `"keep"`: maintained row by row (the default). `"defer"`: dropped while an empty table is filled, and built afterwards; kept where there are rows. `"defer-always"`: dropped also where there are rows; searches are without it meanwhile. `"rebuild"`: searches keep using it, rows enter it with little effort, and a new one is built beside it and swapped in at the end; the role has to own the table. `"rebuild-frozen"`: the same, but rows do not enter the old one at all; needs a superuser.
    pub index: Option<Index>,
    /// Maximum memory of the database server for building an index, where it needs more than `maintenance_work_mem`.
    #[schemars(extend("default" = write_size(defaults::INDEX_MEMORY), "format" = "byte-size"))]
    pub index_memory: Option<String>,
    /// When a run of a feed ends and the next one begins, so that reports and history stay bounded. Only for datasets that deliver changes.
    pub roll_over: Option<RollOver>,
    /// When `forebay serve` runs it, in local time, such as `"0 0 2 * * ?"`: second, minute, hour, day, month, weekday by name. Default: once, when it starts.
    #[schemars(extend("format" = "schedule"))]
    pub schedule: Option<String>,
    /// Settings of each plugin, as strings.
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
    RebuildFrozen,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Key {
    Column(#[schemars(length(min = 1))] String),
    Tables(BTreeMap<String, String>),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollOver {
    /// Age of the run, once it has received rows.
    #[schemars(extend("default" = write_duration(defaults::ROLL_OVER_AFTER), "format" = "time-span"))]
    pub after: Option<String>,
    /// Number of rows that it has received; chunks in flight are still added.
    #[schemars(extend("default" = defaults::ROLL_OVER_ROWS), range(min = 1))]
    pub rows: Option<u64>,
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
    /// Column of the flag: a `boolean` becomes true, a `timestamptz` the current time; both are reset when the row comes again.
    #[schemars(length(min = 1))]
    pub flag: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    /// Files to read, such as `"data/*.parquet"`, or a list of these; relative to this file. Parquet, Arrow, JSON lines or CSV, by their endings.
    pub files: Option<Files>,
    /// Address of the embedding server: `http://host:port`, `https://host:port` or `unix:/path`.
    #[schemars(extend("format" = "grpc-address"))]
    pub grpc: Option<String>,
    /// Name of the dataset on that server, if it speaks `forebay.v1`.
    pub dataset: Option<String>,
    /// Method to call on a server with a proto of its own, such as `"search.v1.Documents/List"`; the package, and a service that is the only one, may be left out. It streams messages, or returns pages.
    pub method: Option<String>,
    /// The `.proto` files that declare it, relative to this file.
    pub proto: Option<Paths>,
    /// Directories that the imports of `proto` are relative to. Default: those of the files.
    pub proto_path: Option<Paths>,
    /// A file with their descriptors (`protoc --include_imports --descriptor_set_out`), in place of `proto`.
    pub descriptors: Option<String>,
    #[expect(
        dead_code,
        reason = "where it is the only one, `method` needs no look at it"
    )]
    /// Whether the server is asked for its descriptors, in place of `proto`.
    pub reflection: Option<bool>,
    /// Field of the response whose messages are the rows, or `{ FIELD = "TABLE" }` for each kind of row where a response has several. Default: the only one of the response.
    pub rows: Option<Rows>,
    /// Field or column of a row that is its key. With `method` also a list of fields that are it together, and `{ KIND = … }` for each kind of row. Default: the `key` of the pipeline if that is one column and there are `files`, or else `id`.
    pub key: Option<MessageKey>,
    /// With `method`, further fields by path, such as `{ lang = "meta.lang" }`: all fields of the row itself are there under their names. With `files`, types of fields where the files do not say them right: `"boolean"`, `"integer"`, `"real"`, `"text"`, `"binary"`, `"timestamp"`, `"texts"` or `"json"`.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Dimensions of embeddings, by name, where neither a column nor the files say them right. With `method` also embeddings by path, such as `{ vector = "embedding.values" }`: all `repeated float` and `repeated double` of the row itself are there under their names.
    #[serde(default)]
    pub embeddings: BTreeMap<String, Embedding>,
    /// Field that marks a row as deleted: a `bool` that is true, or `"FIELD=VALUE"` for an enum or a text.
    pub deleted: Option<String>,
    /// What the position after a message is, and how the server is told to go on after it.
    pub position: Option<MessagePosition>,
    /// Field of the request that gets `chunk_rows`.
    pub chunk_size: Option<String>,
    /// Further fields of the request, by path.
    #[serde(default)]
    pub request: BTreeMap<String, RequestValue>,
    /// What a new run reads after an earlier one came to the end: `"snapshot"`, everything again (the default), or `"changes"`, what has come since.
    pub delivery: Option<Delivery>,
    /// Maximum number of rows in a chunk that the server is asked to send, 1 to 10,000.
    #[schemars(extend("default" = defaults::CHUNK_ROWS), range(min = 1, max = 10_000))]
    pub chunk_rows: Option<u32>,
    #[schemars(
        description = format!(
            "Number of rows up to which chunks are joined, if the database is far away or the rows are small. Default: the same as `chunk_rows` if given, or else {}.",
            defaults::MAX_CHUNK_ROWS
        ),
        range(min = 1, max = 100_000)
    )]
    pub max_chunk_rows: Option<u32>,
    /// Maximum time without a chunk that moves the position: after that the host connects anew. The log says before that the source is silent.
    #[schemars(extend("default" = write_duration(defaults::IDLE_TIMEOUT), "format" = "time-span"))]
    pub idle_timeout: Option<String>,
    /// How host and server prove who they are.
    pub auth: Option<Auth>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Files {
    One(String),
    Several(#[schemars(length(min = 1))] Vec<String>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Embedding {
    Dimensions(u32),
    Path(String),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Paths {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Rows {
    Field(String),
    Kinds(BTreeMap<String, Paths>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum MessageKey {
    Fields(Paths),
    Kinds(BTreeMap<String, Paths>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RequestValue {
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Delivery {
    Snapshot,
    Changes,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagePosition {
    /// Field of the response that holds the position after it, such as `"next_page_token"`. Default: the key of its last row.
    pub field: Option<String>,
    /// Field of the request that gets the position to go on after; empty at the beginning.
    pub request: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    /// Bearer token, sent with each call. Write `"${NAME}"` or `"${file:PATH}"` to keep it out of the file.
    pub token: Option<String>,
    /// File that holds the bearer token, read before each call; relative to this file, as all of these.
    pub token_file: Option<String>,
    /// PEM file of the authorities that may have issued the server's certificate. Default: those that the system trusts.
    pub ca: Option<String>,
    /// PEM file of the host's own certificate.
    pub certificate: Option<String>,
    /// PEM file of the key of `certificate`.
    pub key: Option<String>,
    /// Name that the server's certificate has to be for. Default: the name in `grpc`.
    pub server_name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    /// Address of the API server: `http://host:port`, `https://host:port` or `unix:/path`.
    #[schemars(extend("format" = "grpc-address"))]
    pub grpc: String,
    /// Target that the call names.
    pub target: String,
    /// Minimum time between two calls while a feed runs in which rows change. Only for datasets that deliver changes; others are called at the end of the run. Default: `"30s"`.
    #[schemars(extend("format" = "time-span"))]
    pub every: Option<String>,
    /// How host and server prove who they are.
    pub auth: Option<Auth>,
}
