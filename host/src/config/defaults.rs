//! Defaults of the configuration: the only place that states them. The JSON Schema shows them
//! beside their keys. The limits of plugins have theirs in `plugin::Limits`.

use std::time::Duration;

/// Connections of the host.
pub(super) const CONNECTIONS: u32 = 32;

// A chunk's statement takes milliseconds; with an HNSW index on a slow disk, minutes. A lock that
// is held for half a minute belongs to a forgotten session or to a change of the schema: the
// chunk gives up its own locks, and is tried again.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

// A host that is well says something ten times a second even while it waits for its turn, and a
// policy takes a few seconds. Another host waits for the locks of a stopped one for that long.
pub(super) const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Name of the sessions in `pg_stat_activity`.
pub(super) const APPLICATION_NAME: &str = "forebay";

/// Directory of the plugins, relative to the file.
pub(super) const PLUGINS_DIRECTORY: &str = "plugins";

/// Chunks in which a new version of a plugin has to prove itself.
pub(super) const CANARY_CHUNKS: u32 = 20;
/// Share of rows on which it may fail.
pub(super) const CANARY_FAULTS: f64 = 0.05;
/// Share of rows whose outcome may differ when a shadowed version is promoted.
pub(super) const SHADOW_DIFFERENCES: f64 = 0.0;

// A row of 16,000 f32 elements has 64 KB: 1 MiB leaves room for texts. 300 such rows make 19 MB.
// Four chunks of 300 × 1536 f32 in flight are 8 MB.
pub(super) const ROW: usize = 1 << 20;
pub(super) const CHUNK: usize = 64 << 20;
pub(super) const IN_FLIGHT: usize = 32 << 20;

// A table has at most 1,600 columns. A partition has a stream and a writer of its own.
pub(super) const FIELDS: u32 = 2_000;
pub(super) const PARTITIONS: u32 = 1_000;

/// Time without progress after which a pipeline fails.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// Time without a chunk after which the host connects to the source anew. A model that is loaded
/// before the first chunk takes minutes.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

// What is in flight takes a second or two where all is well. Docker kills after 10 s, Kubernetes
// after 30: the report and the embedded server need what is left of that.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(5);

// A run of a feed is what a report covers: an hour can be looked through, and 10,000,000 rows are one
// even of the fastest.
pub(super) const ROLL_OVER_AFTER: Duration = Duration::from_secs(3600);
pub(super) const ROLL_OVER_ROWS: u64 = 10_000_000;

/// Rows that the source is asked to send in a chunk.
pub(super) const CHUNK_ROWS: u32 = 300;
/// Rows up to which chunks are joined, unless `chunk_rows` is given.
pub(super) const MAX_CHUNK_ROWS: u32 = 4 * CHUNK_ROWS;

/// Minimum number of chunks of a partition that are written at once.
pub(super) const WRITERS: u32 = 1;
/// Maximum number of them, unless `writers` is given.
pub(super) const MAX_WRITERS: u32 = 4;

/// A source that has lost a tenth of its rows overnight is more likely broken than right.
pub(super) const MISSING_LIMIT_PERCENT: f64 = 10.0;

/// Of real data a few rows in a hundred are bad. Where a fifth is refused, a rule, a column or the
/// source is wrong, and more of the same will follow.
pub(super) const DEAD_LETTER_LIMIT_PERCENT: f64 = 20.0;

/// An HNSW graph of 140,000 rows with 1,536 dimensions fits.
pub(super) const INDEX_MEMORY: usize = 1 << 30;
