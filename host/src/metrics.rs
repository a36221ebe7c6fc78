//! Figures for Prometheus: names, help texts, and when they are raised.
//!
//! Chunks and plugin calls raise them, never single rows. Without [`install`] nobody collects
//! them, and raising one comes to nothing. Names follow Prometheus' conventions: base units,
//! `_total` for what only grows. Labels are the names of pipelines, plugins and digests, so
//! there are as many series as the configuration has parts.

use std::time::Duration;

use chrono::{DateTime, Local};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::chunk::Prepared;
use crate::config::VERSION;
use crate::plugin::call_metrics::{CALL_SECONDS, FAILED_CALLS, PLUGIN_ROWS};
use crate::store::Totals;
use crate::store::run::Status;

const ROWS: &str = "forebay_rows_total";
const CHUNKS: &str = "forebay_chunks_total";
const BYTES: &str = "forebay_received_bytes_total";
const STAGES: &str = "forebay_stage_duration_seconds";
const REMAINING: &str = "forebay_remaining_rows";
const RUNS: &str = "forebay_runs_total";
const RUN_SECONDS: &str = "forebay_run_duration_seconds";
const RUNNING: &str = "forebay_pipeline_running";
const SKIPPED: &str = "forebay_skipped_times_total";
const LAST_SUCCESS: &str = "forebay_last_success_timestamp_seconds";
const NEXT_RUN: &str = "forebay_next_run_timestamp_seconds";
const BUILD: &str = "forebay_build_info";

/// Seconds of a run: from a look at unchanged rows to a day.
const RUN_BUCKETS: [f64; 9] = [
    1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0,
];

/// Seconds of a plugin call or of a chunk's stage: from a compiled plugin on a few rows to
/// more than a call may take by default.
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

/// Begins to collect, for this process. What is collected is read through the handle.
///
/// # Errors
/// If something in this process collects already.
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
    let count = |name, unit, help| describe_counter!(name, unit, help);
    count(ROWS, Unit::Count, "Rows committed, by what became of them.");
    count(CHUNKS, Unit::Count, "Chunks committed.");
    count(BYTES, Unit::Bytes, "Encoded rows of committed chunks.");
    count(RUNS, Unit::Count, "Ended runs, by how they ended.");
    count(
        SKIPPED,
        Unit::Count,
        "Scheduled times that came while the pipeline was still running.",
    );
    count(
        FAILED_CALLS,
        Unit::Count,
        "Plugin calls that trapped, took too long or answered wrongly.",
    );
    count(
        PLUGIN_ROWS,
        Unit::Count,
        "Rows settled by a plugin, once for each of its roles.",
    );
    // Raised by the living directory of plugins.
    count(
        "forebay_plugin_swaps_total",
        Unit::Count,
        "Changes to another version of a plugin.",
    );
    count(
        "forebay_plugin_refused_total",
        Unit::Count,
        "Versions of a plugin that were not taken up.",
    );
    count(
        "forebay_plugin_rollbacks_total",
        Unit::Count,
        "Returns to the version before, because the new one misbehaved.",
    );

    let level = |name, unit, help| describe_gauge!(name, unit, help);
    level(
        REMAINING,
        Unit::Count,
        "Rows of the dataset that the run has not committed yet, where the source knows how many there are.",
    );
    level(RUNNING, Unit::Count, "Whether the pipeline is running.");
    level(
        LAST_SUCCESS,
        Unit::Seconds,
        "When a run of the pipeline last came to its end, as seconds since 1970.",
    );
    level(
        NEXT_RUN,
        Unit::Seconds,
        "When the schedule starts the pipeline next, as seconds since 1970.",
    );
    level(BUILD, Unit::Count, "The version of this host.");

    let time = |name, help| describe_histogram!(name, Unit::Seconds, help);
    time(RUN_SECONDS, "Duration of ended runs, by how they ended.");
    time(
        STAGES,
        "Duration of a chunk's stages. Stages of different chunks run side by side.",
    );
    time(
        CALL_SECONDS,
        "Duration of plugin calls, with copying arguments in and answers out.",
    );
}

/// Shows a pipeline before anything has happened to it: a counter that appears with its first
/// event hides that event from `rate` and `increase`.
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
    for name in [CHUNKS, BYTES, SKIPPED] {
        counter!(name, "pipeline" => pipeline.to_owned()).absolute(0);
    }
    running(pipeline, false);
}

/// A chunk is committed.
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

/// A stage of a chunk is over.
pub(crate) fn stage(pipeline: &str, stage: &'static str, took: Duration) {
    histogram!(STAGES, "pipeline" => pipeline.to_owned(), "stage" => stage).record(took);
}

/// A pipeline has begun or ended to run.
pub(crate) fn running(pipeline: &str, running: bool) {
    gauge!(RUNNING, "pipeline" => pipeline.to_owned()).set(f64::from(u8::from(running)));
}

/// A run has ended.
pub(crate) fn ended(pipeline: &str, status: Status, took: Duration) {
    let status = status.as_str();
    counter!(RUNS, "pipeline" => pipeline.to_owned(), "status" => status).increment(1);
    histogram!(RUN_SECONDS, "pipeline" => pipeline.to_owned(), "status" => status).record(took);
}

/// A run came to its end at that time.
pub(crate) fn last_success(pipeline: &str, time: DateTime<Local>) {
    gauge!(LAST_SUCCESS, "pipeline" => pipeline.to_owned()).set(time.timestamp() as f64);
}

/// The schedule's next time.
pub(crate) fn next_run(pipeline: &str, time: DateTime<Local>) {
    gauge!(NEXT_RUN, "pipeline" => pipeline.to_owned()).set(time.timestamp() as f64);
}

/// A time came too early.
pub(crate) fn skipped(pipeline: &str) {
    counter!(SKIPPED, "pipeline" => pipeline.to_owned()).increment(1);
}
