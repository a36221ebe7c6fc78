//! The report of a run, for people and for machines.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sketches_ddsketch::DDSketch;

use crate::notify::Outcome;
use crate::row::PluginId;
use crate::store::run::{Checkpoint, Counts, Status};

/// The report of one pipeline's run; `--report` writes it as JSON.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Identifies the run across its starts.
    pub run_id: String,
    /// Final status of the run.
    pub status: Status,
    /// The reason, unless it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The run that goes on where this one rolled over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_id: Option<String>,
    /// Number of starts of this run; more than 1 if an earlier start was interrupted, 0 if it could
    /// not be begun.
    pub starts: i32,
    /// Rows by fate, over all starts of the run.
    pub rows: Counts,
    /// Rows that the source no longer has, over all starts. Not among `rows`, since they were not
    /// received. `None` if the pipeline does not look for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// Part of the dropped rows: those that plugins dropped although an earlier run has written them.
    /// They are among the missing rows where these are sought, and stay in the tables elsewhere.
    pub dropped_known: u64,
    /// Rows that are dead letters of this run, and in the tables as an earlier run has written them.
    pub stale: u64,
    /// Dead letters of earlier runs that were written after all, over all starts. Not among `rows`,
    /// since this run did not receive them.
    pub resolved: u64,
    /// Failed and dropped rows by stage and code, over all starts. After about a thousand codes,
    /// further ones are counted as `OTHER`.
    pub codes: Vec<Code>,
    /// Number of chunks, over all starts.
    pub chunks: u64,
    /// Size of the encoded rows in bytes, over all starts.
    pub bytes_received: u64,
    /// Rows by fate, of this start.
    pub this_start: Counts,
    /// Time from this start's first request to its last commit, in seconds.
    pub seconds: f64,
    /// Rows received in this start, divided by `seconds`.
    pub rows_per_second: f64,
    /// Time of this start by step. Steps run side by side: the sum may exceed `seconds`.
    pub stages_seconds: Stages,
    /// Time for statements and commit of a chunk in this start; `None` without chunks.
    pub chunk_seconds: Option<ChunkSeconds>,
    /// The plugins in the order of the chain, with the figures of this start.
    pub plugins: Vec<PluginReport>,
    /// Vector indexes of the tables, as this start left them.
    pub indexes: Vec<IndexReport>,
    /// The committed checkpoints.
    pub checkpoint: Vec<Checkpoint>,
    /// Outcome of the notification of the API server.
    pub notify: Outcome,
    /// CPU time of this process per row in this start, in microseconds. Sample servers in the same
    /// process are not counted.
    pub cpu_microseconds_per_row: f64,
    /// Peak memory of this process (resident set), in bytes; `None` if the system does not report it.
    pub peak_memory_bytes: Option<u64>,
}

/// Rows that the pipeline wrote before and that the run has not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// State of their treatment.
    pub status: MissingStatus,
    /// Number of rows that the pipeline had written when the run reached its end.
    pub known: u64,
    /// Number of `known` rows that the run has not met.
    pub rows: u64,
    /// Number of `rows` that were removed from the tables.
    pub removed: u64,
    /// Number of `rows` that were flagged.
    pub flagged: u64,
    /// Number of `rows` that the database refused to change; tried again after the next run.
    pub kept: u64,
    /// Reason for which some or all of them were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// State of the treatment of missing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingStatus {
    /// All have been treated.
    Done,
    /// All were kept: there are too many, or they are not known for certain.
    HeldBack,
    /// The run has not got so far; the next start continues.
    Unfinished,
    /// Not looked for, since the run began before this was configured. The next run looks for them.
    NextRun,
}

impl Missing {
    /// Status of a run that has reached the end of its dataset.
    #[must_use]
    pub fn ends(&self) -> Status {
        match self.status {
            MissingStatus::Done | MissingStatus::NextRun => Status::Succeeded,
            MissingStatus::HeldBack => Status::HeldBack,
            MissingStatus::Unfinished => Status::Interrupted,
        }
    }
}

/// Rows with the same fate, stage and code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Code {
    /// `dead_lettered` or `dropped`.
    pub fate: String,
    /// The stage.
    pub stage: String,
    /// The code, or the reason of a drop.
    pub code: String,
    /// Number of rows.
    pub rows: u64,
}

impl From<(String, String, String, u64)> for Code {
    fn from((fate, stage, code, rows): (String, String, String, u64)) -> Self {
        Self {
            fate,
            stage,
            code,
            rows,
        }
    }
}

/// Time spent in each step, in seconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Stages {
    /// Waiting for the source.
    pub receive: f64,
    /// Bytes to rows.
    pub decode: f64,
    /// Plugins and policy.
    pub plugins: f64,
    /// Matching rows with the tables, and digests.
    pub route: f64,
    /// Statements.
    pub write: f64,
    /// Commits.
    pub commit: f64,
}

/// Quantiles of the time of chunks in seconds, with an error of at most 1 %.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChunkSeconds {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Times of all chunks of a start, in a histogram of at most 16 KiB.
#[derive(Default)]
pub struct ChunkTimes(Mutex<DDSketch>);

impl ChunkTimes {
    pub(crate) fn add(&self, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.add(time.as_secs_f64());
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = DDSketch::default();
    }

    pub(crate) fn quantiles(&self) -> Option<ChunkSeconds> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quantile = |share| times.quantile(share).ok().flatten();
        Some(ChunkSeconds {
            p50: quantile(0.5)?,
            p99: quantile(0.99)?,
        })
    }
}

impl std::fmt::Debug for ChunkTimes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ChunkTimes({:?})", self.quantiles())
    }
}

/// Figures of a plugin.
#[derive(Debug, Clone, Serialize)]
pub struct PluginReport {
    /// Name, version and digest.
    #[serde(flatten)]
    pub id: PluginId,
    /// Its roles: `transform`, `validate`, `dead-letter-policy`.
    pub roles: Vec<&'static str>,
    /// Number of calls with a batch, including halves of bisected batches.
    pub calls: u64,
    /// Number of rows passed to it.
    pub rows: u64,
    /// Time in calls per row; 0 without rows.
    pub nanoseconds_per_row: u64,
}

/// Treatment of a vector index in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndexReport {
    /// Schema and name, quoted for use in SQL.
    pub name: String,
    /// The mode: `keep`, `defer`, `rebuild` or `rebuild-frozen`.
    pub mode: &'static str,
    /// State after the start.
    pub state: IndexState,
    /// Time that this start took to build it, in seconds.
    pub build_seconds: Option<f64>,
}

/// State of an index after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexState {
    /// The index was maintained row by row.
    Kept,
    /// The index was built from all rows.
    Built,
    /// The index is still to be built, by the start that completes the run.
    Away,
}

/// CPU time and memory of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all threads, including ended ones.
    pub cpu: Duration,
    /// Largest resident set so far, in bytes.
    pub peak_memory: Option<u64>,
}

impl Usage {
    /// The usage up to now.
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
        let rss = u64::try_from(usage.max_rss()).ok().map(|rss| rss * unit);
        Self {
            cpu: duration(usage.user_time()) + duration(usage.system_time()),
            peak_memory: own_peak_memory().or(rss),
        }
    }
}

/// `VmHWM` from `/proc`, if there is one: on Linux the figure of `getrusage` may include that of the
/// process that started this one.
fn own_peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_chunks() {
        let times = ChunkTimes::default();
        assert!(times.quantiles().is_none());
        for milliseconds in 1..=100 {
            times.add(Duration::from_millis(milliseconds));
        }
        let ChunkSeconds { p50, p99 } = times.quantiles().unwrap();
        assert!((p50 - 0.050).abs() < 0.001, "{p50}");
        assert!((p99 - 0.099).abs() < 0.002, "{p99}");
    }

    #[test]
    fn the_peak_has_what_was_held() {
        // Otherwise the peak would be that of all tests.
        support::in_a_process_of_its_own(|| {
            let peak = || Usage::now().peak_memory.unwrap();
            let before = peak();
            // Seen from outside, so that an optimised build does not leave it out.
            drop(std::hint::black_box(vec![1_u8; 64 << 20]));
            let more = peak() - before;
            assert!((60 << 20..80 << 20).contains(&more), "{more} bytes more");
        });
    }
}
