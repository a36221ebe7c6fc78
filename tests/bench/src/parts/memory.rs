//! What memory the host needs, and whether it grows with the rows that went through.

use std::time::Duration;

use anyhow::Context;
use sqlx::{Connection, PgConnection};
use tokio::time::MissedTickBehavior;

use crate::bars::{self, Bar, Bound};
use crate::ceiling::Column;
use crate::lab::{Index, Lab, Tables};
use crate::load::Load;
use crate::process;
use crate::rounds::Work;
use crate::sets::Set;
use crate::source::{Shape, Source};

use super::Part;

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

/// Streams many rows once.
pub(crate) async fn measure(lab: &Lab, shape: Shape, plugins: &Set) -> anyhow::Result<Part> {
    eprintln!("memory: {} rows", shape.rows);
    let source = Source::start(shape).await?;
    let tables = Tables {
        column: Column::Vector,
        dimensions: shape.dimensions,
        index: Index::None,
    };
    // A first run compiles the plugins into the cache, so that none of this is about compiling.
    let few = Source::start(Shape { rows: 300, ..shape }).await?;
    let first = Work::Load(Load::new(plugins, &few));
    first.run(lab, &lab.database(tables).await?).await?;
    let urls = lab.database(tables).await?;
    let load = Load::new(plugins, &source);
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
    let peak = report.peak_memory_bytes.unwrap_or(f64::NAN) / 1_048_576.0;
    let growth = growth(&samples, SETTLED_ROWS.min(shape.rows as f64 / 10.0));
    let text = format!(
        "\n## Memory: {} rows with {} dimensions, three plugins\n\n\
         {:.0} rows/s. Peak of the resident set {peak:.1} MiB. Growth is the largest of {} samples \
         after the first\n{:.0} rows were committed, less the largest before.\n{}",
        shape.rows,
        shape.dimensions,
        report.rows_per_second,
        samples.len(),
        SETTLED_ROWS.min(shape.rows as f64 / 10.0),
        bars::list(&[
            Bar::new("peak memory, MiB", Bound::AtMost(MOST), peak),
            Bar::new("growth, MiB", Bound::AtMost(MOST_GROWTH), growth),
        ])
    );
    Ok(Part { text, chart: None })
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
