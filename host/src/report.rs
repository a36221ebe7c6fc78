//! What a run came to, for people and for machines.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sketches_ddsketch::DDSketch;

use crate::notify::Outcome;
use crate::row::PluginId;
use crate::store::run::{Checkpoint, Counts, Status};

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
    /// Over all starts: rows that the source no longer has. Not among `rows`, since they were not
    /// received. `None` where they are kept and not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// Over all starts: failed and dropped rows by stage and code. Codes that come after about a
    /// thousand others are counted as `OTHER`.
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
    /// Statements and commit of each chunk of this start; `None` when there was none.
    pub chunk_seconds: Option<ChunkSeconds>,
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

/// Rows that the pipeline had written, and that the run has not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// How far it has come.
    pub status: MissingStatus,
    /// Rows that the pipeline had written when the run came to its end.
    pub known: u64,
    /// Of them, those that the run has not met.
    pub rows: u64,
    /// Of `rows`: removed from the tables.
    pub removed: u64,
    /// Of `rows`: marked.
    pub flagged: u64,
    /// Of `rows`: refused by the database; tried again after the next run.
    pub kept: u64,
    /// Why some or all of them stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How far a run has come with missing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingStatus {
    /// All that could go are gone.
    Done,
    /// All stay: too many, or not known for certain.
    HeldBack,
    /// The run has not come so far; the next start goes on.
    Unfinished,
    /// Not looked for: this run had begun before it was configured. The next one does.
    NextRun,
}

impl Missing {
    /// How a run ends that has come to the end of its dataset.
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

/// How long chunks took, in seconds, within 1 %.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChunkSeconds {
    /// Half of the chunks took no longer.
    pub p50: f64,
    /// 99 of 100 chunks took no longer.
    pub p99: f64,
}

/// The times of all chunks of a start, in a histogram of at most 16 KiB.
#[derive(Default)]
pub struct ChunkTimes(Mutex<DDSketch>);

impl ChunkTimes {
    pub(crate) fn add(&self, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.add(time.as_secs_f64());
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
        let rss = u64::try_from(usage.max_rss()).ok().map(|rss| rss * unit);
        Self {
            cpu: duration(usage.user_time()) + duration(usage.system_time()),
            peak_memory: own_peak_memory().or(rss),
        }
    }
}

/// `VmHWM`, where there is a `/proc`: the figure of `getrusage` has there what the process that
/// started this one had.
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
