//! What memory the host needs, and whether it grows with the rows that went through.

use std::time::Duration;

use anyhow::Context;
use sqlx::{Connection, PgConnection};
use tokio::time::MissedTickBehavior;

use super::Part;
use crate::bars::{Bar, Bound};
use crate::ceiling::Column;
use crate::lab::{Index, Lab, Tables};
use crate::load::Load;
use crate::markdown::line;
use crate::rounds::Work;
use crate::sets::Set;
use crate::source::{Shape, Source};
use crate::{bars, process};

/// How often the resident set is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Growth is counted from here on: rows committed, or a tenth of all if that is less.
const SETTLED_ROWS: f64 = 100_000.0;

/// What is asked of the host, in MiB.
const MOST: f64 = 96.0;
/// More than what the resident set goes up and down by; of 900,000 rows not even five bytes each.
const MOST_GROWTH: f64 = 4.0;

/// The resident set at a moment.
struct Sample {
    committed: f64,
    mebibytes: f64,
}

/// What was seen of a run.
struct Seen {
    rows_per_second: f64,
    /// In MiB.
    peak: f64,
    /// In MiB.
    growth: f64,
    samples: usize,
}

/// Streams many rows, twice: the second run shows what is chance.
pub(crate) async fn measure(lab: &Lab, shape: Shape, plugins: &Set) -> anyhow::Result<Part> {
    let source = Source::start(shape).await?;
    // A first run compiles the plugins into the cache, so that none of this is about compiling.
    let few = Source::start(Shape { rows: 300, ..shape }).await?;
    let first = Work::Load(Load::new(plugins, &few));
    first.run(lab, &lab.database(tables(shape)).await?).await?;

    let settled = SETTLED_ROWS.min(shape.rows as f64 / 10.0);
    let mut text = format!(
        "\n## Memory: {} rows with {} dimensions, three plugins\n\n\
         The resident set in MiB. Growth is the largest of the samples after the first {settled:.0} \
         rows were\ncommitted, less the largest before.\n\n\
         | run | rows/s | peak | growth | samples |\n| --- | ---: | ---: | ---: | ---: |\n",
        shape.rows, shape.dimensions,
    );
    let (mut peak, mut growth) = (f64::NAN, f64::NAN);
    for run in ["one", "again"] {
        eprintln!("memory, {} rows: {run}", shape.rows);
        let seen = watch(lab, &source, plugins, settled).await?;
        line(
            &mut text,
            format_args!(
                "| {run} | {:.0} | {:.1} | {:.1} | {} |",
                seen.rows_per_second, seen.peak, seen.growth, seen.samples
            ),
        );
        (peak, growth) = (peak.max(seen.peak), growth.max(seen.growth));
    }
    text.push_str(&bars::list(&[
        Bar::new("peak memory, MiB", Bound::AtMost(MOST), peak),
        Bar::new("growth, MiB", Bound::AtMost(MOST_GROWTH), growth),
    ]));
    Ok(Part { text, chart: None })
}

fn tables(shape: Shape) -> Tables {
    Tables {
        column: Column::Vector,
        dimensions: shape.dimensions,
        index: Index::None,
    }
}

async fn watch(lab: &Lab, source: &Source, plugins: &Set, settled: f64) -> anyhow::Result<Seen> {
    let urls = lab.database(tables(source.shape)).await?;
    let load = Load::new(plugins, source);
    let config = load.prepare(lab, &urls).await?;
    let mut connection = PgConnection::connect(&urls.unix).await?;
    let child = load.spawn(lab, &config)?;
    let pid = child.id().context("the host has ended")?;
    let mut end = std::pin::pin!(child.wait_with_output());
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut samples = Vec::new();
    let output = loop {
        tokio::select! {
            output = &mut end => break output?,
            _ = ticks.tick() => samples.extend(sample(&mut connection, pid).await?),
        }
    };
    connection.close().await?;
    let report = load.report(&config, &output)?;
    Ok(Seen {
        rows_per_second: report.rows_per_second,
        peak: report.peak_memory_bytes.unwrap_or(f64::NAN) / 1_048_576.0,
        growth: growth(&samples, settled),
        samples: samples.len(),
    })
}

/// None when the host has just ended.
async fn sample(connection: &mut PgConnection, pid: u32) -> anyhow::Result<Option<Sample>> {
    let committed = "select coalesce(sum(rows), 0)::float8 from forebay.checkpoint";
    let committed = sqlx::query_scalar(committed).fetch_one(connection).await?;
    let sample = process::resident_mebibytes(pid).map(|mebibytes| Sample {
        committed,
        mebibytes,
    });
    Ok(sample)
}

/// NaN without samples on both sides.
fn growth(samples: &[Sample], settled: f64) -> f64 {
    let largest = |after: bool| {
        let side = samples
            .iter()
            .filter(|sample| (sample.committed >= settled) == after);
        side.map(|sample| sample.mebibytes).fold(f64::NAN, f64::max)
    };
    largest(true) - largest(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_came_after_the_start() {
        let samples = [(0.0, 10.0), (5.0, 30.0), (10.0, 25.0), (20.0, 32.0)];
        let samples = samples.map(|(committed, mebibytes)| Sample {
            committed,
            mebibytes,
        });
        assert_eq!(growth(&samples, 10.0), 2.0);
        assert!(growth(&samples, 50.0).is_nan());
    }
}
