//! What a run came to, for people and for machines.

use std::time::Duration;

use serde::Serialize;

use crate::{
    notify::Outcome,
    row::PluginId,
    store::checkpoint::{Checkpoint, Counts, Status},
};

/// The report of one pipeline's run; `--report` writes it as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Identifies the run across its starts.
    pub run_id: String,
    /// How it ended.
    pub status: Status,
    /// Why, unless it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How often this run was started; more than 1 when an earlier start was cut off.
    pub starts: i32,
    /// Over all starts of the run.
    pub rows: Counts,
    /// Over all starts: failed and dropped rows by stage and code.
    pub codes: Vec<Code>,
    /// Over all starts.
    pub chunks: u64,
    /// Over all starts: encoded rows, in bytes.
    pub bytes_received: u64,
    /// What this start did.
    pub this_start: Counts,
    /// From this start's first request to its last commit, in seconds.
    pub seconds: f64,
    /// Rows received in this start, by `seconds`.
    pub rows_per_second: f64,
    /// Where this start's time went. Steps run side by side: the sum may exceed `seconds`.
    pub stages_seconds: Stages,
    /// The chain, in its order; figures of this start.
    pub plugins: Vec<PluginReport>,
    /// Vector indexes of the tables, as this start has left them.
    pub indexes: Vec<IndexReport>,
    /// As committed.
    pub checkpoint: Vec<Checkpoint>,
    /// Whether the API server was told.
    pub notify: Outcome,
    /// CPU time of this process in this start by its rows, in microseconds; sample servers in
    /// the same process are not counted.
    pub cpu_microseconds_per_row: f64,
    /// The most memory this process has had (resident set), in bytes; `None` where the system
    /// does not tell.
    pub peak_memory_bytes: Option<u64>,
}

/// Rows with the same fate, stage and code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Code {
    /// `dead_lettered` or `dropped`.
    pub fate: String,
    /// Where.
    pub stage: String,
    /// The code, or the reason of a drop.
    pub code: String,
    /// How many.
    pub rows: u64,
}

/// Seconds spent in each step.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Stages {
    /// Waiting for the source.
    pub receive: f64,
    /// Bytes to rows.
    pub decode: f64,
    /// Plugins and policy.
    pub plugins: f64,
    /// Matching with the tables, and digests.
    pub route: f64,
    /// Statements.
    pub write: f64,
    /// Commits.
    pub commit: f64,
}

/// What a plugin did.
#[derive(Debug, Clone, Serialize)]
pub struct PluginReport {
    /// Name, version and digest.
    #[serde(flatten)]
    pub id: PluginId,
    /// `transform`, `validate`, `dead-letter-policy`.
    pub roles: Vec<&'static str>,
    /// Batches given to it, halves of bisected ones included.
    pub calls: u64,
    /// Rows given to it.
    pub rows: u64,
    /// Time in calls by rows; 0 without rows.
    pub nanoseconds_per_row: u64,
}

/// What became of a vector index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndexReport {
    /// Schema and name, quoted for use in SQL.
    pub name: String,
    /// How it was treated: `keep`, `defer`, `rebuild`.
    pub mode: &'static str,
    /// How it is now.
    pub state: IndexState,
    /// How long it took this start to build it, in seconds.
    pub build_seconds: Option<f64>,
}

/// How a run has left an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexState {
    /// It was maintained row by row.
    Kept,
    /// Built of all rows.
    Built,
    /// To be built by the start that comes to the end.
    Away,
}

/// CPU time and memory of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all threads, ended ones included.
    pub cpu: Duration,
    /// Largest resident set so far, in bytes.
    pub peak_memory: Option<u64>,
}

impl Usage {
    /// As of now.
    #[must_use]
    pub fn now() -> Self {
        use nix::sys::resource::{UsageWho, getrusage};
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
            return Self::default();
        };
        let duration = |time: nix::sys::time::TimeVal| {
            Duration::new(
                time.tv_sec().unsigned_abs(),
                u32::try_from(time.tv_usec()).unwrap_or_default() * 1_000,
            )
        };
        // Linux counts in KiB, macOS in bytes.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        Self {
            cpu: duration(usage.user_time()) + duration(usage.system_time()),
            peak_memory: u64::try_from(usage.max_rss()).ok().map(|rss| rss * unit),
        }
    }
}
