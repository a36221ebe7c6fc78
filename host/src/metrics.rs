//! Metrics for Prometheus: names, help texts, and the functions that record them.
//!
//! They are recorded per chunk and per plugin call, never per row. Without [`install`] recording
//! does nothing. Names follow Prometheus' conventions: base units, `_total` for counters. Labels are
//! names of pipelines and plugins, and digests, so the configuration bounds the number of series.

use std::time::Duration;

use chrono::{DateTime, Local};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::chunk::Prepared;
use crate::config::VERSION;
use crate::plugin::call_metrics::{
    CALL_SECONDS, FAILED_CALLS, PLUGIN_MEMORY, PLUGIN_ROWS, RETIRED,
};
use crate::policy::TooManyDeadLetters;
use crate::store::Totals;
use crate::store::run::Status;

const ROWS: &str = "forebay_rows_total";
const CHUNKS: &str = "forebay_chunks_total";
const BYTES: &str = "forebay_received_bytes_total";
const STAGES: &str = "forebay_stage_duration_seconds";
const REMAINING: &str = "forebay_remaining_rows";
const DEAD_LETTERS: &str = "forebay_dead_letter_ratio";
const RUNS: &str = "forebay_runs_total";
const RUN_SECONDS: &str = "forebay_run_duration_seconds";
const RUNNING: &str = "forebay_pipeline_running";
const LOST_CHUNKS: &str = "forebay_lost_chunks_total";
const SKIPPED: &str = "forebay_skipped_times_total";
const LAST_SUCCESS: &str = "forebay_last_success_timestamp_seconds";
const NEXT_RUN: &str = "forebay_next_run_timestamp_seconds";
const BUILD: &str = "forebay_build_info";

/// Buckets for the time of a run, in seconds: from one without changed rows to a day.
const RUN_BUCKETS: [f64; 9] = [
    1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0,
];

/// Buckets for the time of a plugin call or of a chunk's stage, in seconds: from a compiled plugin
/// on a few rows to more than the default deadline of a call.
const CALL_BUCKETS: [f64; 11] = [
    0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0,
];

const STATUSES: [Status; 5] = [
    Status::Succeeded,
    Status::HeldBack,
    Status::Failed,
    Status::Halted,
    Status::Interrupted,
];

/// Begins to collect metrics in this process; they are read through the handle.
///
/// # Errors
/// If a recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let buckets = |name: &str| Matcher::Full(name.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(buckets(RUN_SECONDS), &RUN_BUCKETS)?
        .set_buckets_for_metric(buckets(STAGES), &CALL_BUCKETS)?
        .set_buckets_for_metric(buckets(CALL_SECONDS), &CALL_BUCKETS)?
        .install_recorder()?;
    describe();
    gauge!(BUILD, "version" => VERSION).set(1.0);
    Ok(handle)
}

fn describe() {
    describe_counters();
    describe_gauges();
    describe_histograms();
}

fn describe_counters() {
    let count = |name, unit, help| describe_counter!(name, unit, help);
    count(ROWS, Unit::Count, "Rows committed, by fate.");
    count(CHUNKS, Unit::Count, "Chunks committed.");
    count(
        BYTES,
        Unit::Bytes,
        "Size of the encoded rows of committed chunks.",
    );
    count(RUNS, Unit::Count, "Ended runs, by status.");
    count(
        SKIPPED,
        Unit::Count,
        "Scheduled times that were skipped because the pipeline was still running.",
    );
    count(
        LOST_CHUNKS,
        Unit::Count,
        "Committed chunks that the database has lost: by a failover, or a restored copy.",
    );
    count(
        FAILED_CALLS,
        Unit::Count,
        "Plugin calls that trapped, exceeded their deadline or returned an invalid answer.",
    );
    count(
        PLUGIN_ROWS,
        Unit::Count,
        "Rows answered by a plugin, once for each of its roles.",
    );
    count(
        RETIRED,
        Unit::Count,
        "Instances of a plugin that were replaced because their memory had grown.",
    );
    // Raised by `rollout`.
    count(
        "forebay_plugin_swaps_total",
        Unit::Count,
        "Changes to another version of a plugin.",
    );
    count(
        "forebay_plugin_refused_total",
        Unit::Count,
        "Versions of a plugin that were refused.",
    );
    count(
        "forebay_plugin_rollbacks_total",
        Unit::Count,
        "Returns to the last good version of a plugin, because the new one misbehaved.",
    );
}

fn describe_gauges() {
    let level = |name, unit, help| describe_gauge!(name, unit, help);
    level(
        REMAINING,
        Unit::Count,
        "Rows of the dataset that the run has not committed yet, if the source knows their number.",
    );
    level(
        DEAD_LETTERS,
        Unit::Count,
        "Dead letters among the latest rows of the pipeline, 0 to 1; `dead_letter_limit` bounds it.",
    );
    level(
        RUNNING,
        Unit::Count,
        "1 while the pipeline is running, otherwise 0.",
    );
    level(
        LAST_SUCCESS,
        Unit::Seconds,
        "Time at which a run of the pipeline last succeeded, in seconds since 1970.",
    );
    level(
        NEXT_RUN,
        Unit::Seconds,
        "Time of the next scheduled run of the pipeline, in seconds since 1970.",
    );
    level(
        PLUGIN_MEMORY,
        Unit::Bytes,
        "Linear memory of the largest instance of a plugin so far.",
    );
    level(BUILD, Unit::Count, "Version of this host.");
}

fn describe_histograms() {
    let time = |name, help| describe_histogram!(name, Unit::Seconds, help);
    time(RUN_SECONDS, "Duration of ended runs, by status.");
    time(
        STAGES,
        "Duration of the stages of a chunk. Stages of different chunks run side by side.",
    );
    time(
        CALL_SECONDS,
        "Duration of plugin calls, including the copying of arguments and answers.",
    );
}

/// Initialises the counters of a pipeline: a counter that appears with its first event hides that
/// event from `rate` and `increase`.
pub(crate) fn known(pipeline: &str) {
    for fate in [
        "inserted",
        "updated",
        "unchanged",
        "dropped",
        "dead_lettered",
    ] {
        rows(pipeline, fate, 0);
    }
    for status in STATUSES {
        counter!(RUNS, "pipeline" => pipeline.to_owned(), "status" => status.as_str()).absolute(0);
    }
    for name in [CHUNKS, BYTES, SKIPPED, LOST_CHUNKS] {
        counter!(name, "pipeline" => pipeline.to_owned()).absolute(0);
    }
    running(pipeline, false);
}

/// Records a committed chunk.
pub(crate) fn committed(
    pipeline: &str,
    totals: &Totals,
    prepared: &Prepared,
    remaining: Option<u64>,
) {
    let counts = totals.rows;
    rows(pipeline, "inserted", counts.inserted);
    rows(pipeline, "updated", counts.updated);
    rows(pipeline, "unchanged", counts.unchanged);
    rows(pipeline, "dropped", counts.dropped);
    rows(pipeline, "dead_lettered", counts.dead_lettered);
    counter!(CHUNKS, "pipeline" => pipeline.to_owned()).increment(1);
    counter!(BYTES, "pipeline" => pipeline.to_owned()).increment(prepared.bytes as u64);
    gauge!(DEAD_LETTERS, "pipeline" => pipeline.to_owned()).set(totals.dead_letter_share);
    if let Some(remaining) = remaining {
        gauge!(REMAINING, "pipeline" => pipeline.to_owned()).set(remaining as f64);
    }
    stage(pipeline, "decode", prepared.times.decode);
    stage(pipeline, "plugins", prepared.times.plugins);
    stage(pipeline, "route", prepared.times.route);
    stage(pipeline, "write", totals.writing);
    stage(pipeline, "commit", totals.committing);
}

fn rows(pipeline: &str, fate: &'static str, count: u64) {
    counter!(ROWS, "pipeline" => pipeline.to_owned(), "fate" => fate).increment(count);
}

/// Records the share of dead letters that has halted a pipeline.
pub(crate) fn dead_letters(pipeline: &str, excess: &TooManyDeadLetters) {
    gauge!(DEAD_LETTERS, "pipeline" => pipeline.to_owned()).set(excess.excess.tally.share());
}

/// Records a stage of a chunk.
pub(crate) fn stage(pipeline: &str, stage: &'static str, took: Duration) {
    histogram!(STAGES, "pipeline" => pipeline.to_owned(), "stage" => stage).record(took);
}

/// Records that a pipeline begins or ends a run.
pub(crate) fn running(pipeline: &str, running: bool) {
    gauge!(RUNNING, "pipeline" => pipeline.to_owned()).set(f64::from(u8::from(running)));
}

/// Records an ended run.
pub(crate) fn ended(pipeline: &str, status: Status, took: Duration) {
    let status = status.as_str();
    counter!(RUNS, "pipeline" => pipeline.to_owned(), "status" => status).increment(1);
    histogram!(RUN_SECONDS, "pipeline" => pipeline.to_owned(), "status" => status).record(took);
}

/// Records the time of a successful run.
pub(crate) fn last_success(pipeline: &str, time: DateTime<Local>) {
    gauge!(LAST_SUCCESS, "pipeline" => pipeline.to_owned()).set(time.timestamp() as f64);
}

/// Records the next scheduled time.
pub(crate) fn next_run(pipeline: &str, time: DateTime<Local>) {
    gauge!(NEXT_RUN, "pipeline" => pipeline.to_owned()).set(time.timestamp() as f64);
}

/// Records committed chunks that the database has lost.
pub(crate) fn lost_chunks(pipeline: &str, chunks: i64) {
    counter!(LOST_CHUNKS, "pipeline" => pipeline.to_owned()).increment(chunks.unsigned_abs());
}

/// Records a scheduled time that was skipped.
pub(crate) fn skipped(pipeline: &str) {
    counter!(SKIPPED, "pipeline" => pipeline.to_owned()).increment(1);
}
