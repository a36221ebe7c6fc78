//! `forebay plugin bench`: compares two builds on the same rows, in turn, with a control.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::cases::bench::{Comparison, Ratio, Side, Work, compare};
use crate::cli::exit::{Exit, UsageError};
use crate::cli::global::Global;
use crate::cli::output::{print_json, thousands};
use crate::cli::session;
use crate::cli::table::{Column, Table};
use crate::plugin::{Engine, Plugin};
use crate::row::PluginId;

/// Maximum number of rows of a batch; chunks are no larger.
const MAX_ROWS: u32 = 10_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Bench {
    /// Component
    a: PathBuf,
    /// Another build of it, then files of cases [default: the cases beside the component]
    #[arg(value_name = "B.wasm | CASES")]
    rest: Vec<PathBuf>,
    /// Number of rows per batch
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ROWS)))]
    rows: u32,
    /// Number of batches for each build
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Setting of the plugin
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::inputs::setting)]
    settings: Vec<(String, String)>,
}

impl Bench {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let engine = session::engine(config.as_ref())?;
        let load = |path: &PathBuf| -> Result<Arc<Plugin>, UsageError> {
            Engine::load(&engine, path).map_err(|error| UsageError(error.to_string()))
        };
        let is_component = |path: &&PathBuf| path.extension().is_some_and(|it| it == "wasm");
        let (components, cases): (Vec<&PathBuf>, Vec<&PathBuf>) =
            self.rest.iter().partition(is_component);
        if components.len() > 1 {
            let message = "at most two builds can be compared";
            return Err(UsageError(message.to_owned()).into());
        }
        let (a, again) = (load(&self.a)?, load(&self.a)?);
        let b = components.first().map(|path| load(path)).transpose()?;
        let cases: Vec<PathBuf> = cases.into_iter().cloned().collect();
        let suites = super::inputs::suites(&self.a, &cases)?;
        let rows = usize::try_from(self.rows)?;
        let work = Work::of(&a, &suites, &self.settings, rows)
            .map_err(|message| UsageError(format!("{}: {message}", a.id().name)))?;
        let comparison = compare(&a, &again, b.as_ref(), &work, usize::try_from(self.rounds)?)
            .map_err(|message| anyhow::anyhow!(message))?;
        if global.json {
            print_json(&json!({
                "a": a.id(),
                "b": b.as_ref().map(|b| b.id()),
                "comparison": comparison,
                "differs": comparison.differs(),
            }))?;
        } else {
            print(&a, b.as_deref(), &comparison);
        }
        Ok(Exit::Done)
    }
}

fn print(a: &Plugin, b: Option<&Plugin>, comparison: &Comparison) {
    println!("A  {}", named(a.id()));
    if let Some(b) = b {
        println!("B  {}", named(b.id()));
    }
    println!("\n{}", table(comparison));
    let Comparison {
        rows,
        rounds,
        control,
        ..
    } = comparison;
    println!("{rounds} rounds of {rows} rows, in turn");
    for side in &comparison.sides {
        println!("{}", memory(side));
    }
    if let Some(ratio) = comparison.ratio {
        let (low, high) = (control.low, control.high);
        if comparison.differs() {
            println!(
                "B takes {:.2} times as long as A; A again takes {low:.2} to {high:.2} times",
                ratio.median
            );
        } else {
            println!(
                "no difference: B takes {:.2} times as long as A, A again {low:.2} to {high:.2} times",
                ratio.median
            );
        }
    }
}

fn table(comparison: &Comparison) -> Table<5> {
    let mut table = Table::new([
        Column::name("build"),
        Column::number("ns/row"),
        Column::number("80% of rounds"),
        Column::number("ratio to A"),
        Column::number("peak memory"),
    ]);
    for side in &comparison.sides {
        let ratio = match side.name.as_str() {
            "A" => None,
            "B" => comparison.ratio,
            _ => Some(comparison.control),
        };
        let memory = bytesize::ByteSize(side.peak_memory as u64).display().iec();
        table.row([
            side.name.clone(),
            whole(side.median),
            format!("{} to {}", whole(side.low), whole(side.high)),
            ratio.map(shown).unwrap_or_default(),
            memory.to_string(),
        ]);
    }
    table
}

/// Memory of a build after the last round, and whether it grows.
fn memory(side: &Side) -> String {
    let size = |bytes| bytesize::ByteSize(bytes).display().iec();
    let (name, after, growth) = (&side.name, size(side.memory as u64), side.growth_per_call);
    match (growth, side.retired) {
        (0, _) => format!("{name}: memory {after} after the last round, no growth"),
        (_, 0) => format!(
            "{name}: memory {after} after the last round, growing by {} per call",
            size(growth)
        ),
        (_, retired) => format!(
            "{name}: memory {after} after the last round, growing by {} per call; instances replaced before they were full: {retired}",
            size(growth)
        ),
    }
}

fn named(id: &PluginId) -> String {
    let digest = id.short_digest();
    format!("{} {} (sha256 {digest}…)", id.name, id.version)
}

fn shown(ratio: Ratio) -> String {
    format!(
        "{:.2} ({:.2} to {:.2})",
        ratio.median, ratio.low, ratio.high
    )
}

/// Nanoseconds without a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time of some nanoseconds"
)]
fn whole(nanoseconds: f64) -> String {
    thousands(nanoseconds.round() as u64)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn builds_fit_the_screen() {
        let ratio = |median, low, high| Ratio { median, low, high };
        let side = |name: &str, median: f64| Side {
            name: name.into(),
            median,
            low: median * 0.9,
            high: median * 1.25,
            peak_memory: 1_300_000,
            memory: 1_300_000,
            growth_per_call: 0,
            retired: 0,
        };
        let comparison = Comparison {
            rows: 300,
            rounds: 50,
            sides: vec![
                side("A", 1_234.0),
                side("A again", 1_240.0),
                side("B", 1_234_567.0),
            ],
            control: ratio(1.004_8, 0.98, 1.02),
            ratio: Some(ratio(1_000.46, 990.0, 1_010.0)),
        };
        assert_snapshot!(table(&comparison).within(80), @"
        build       ns/row           80% of rounds                   ratio to A  peak memory
        A            1,234          1,111 to 1,543                                   1.2 MiB
        A again      1,240          1,116 to 1,550          1.00 (0.98 to 1.02)      1.2 MiB
        B        1,234,567  1,111,110 to 1,543,209  1000.46 (990.00 to 1010.00)      1.2 MiB
        ");
    }

    #[test]
    fn h5_memory_that_grows_is_said() {
        let side = |growth_per_call, retired| Side {
            name: "B".into(),
            median: 1.0,
            low: 1.0,
            high: 1.0,
            peak_memory: 3 << 20,
            memory: 2 << 20,
            growth_per_call,
            retired,
        };
        assert_snapshot!(memory(&side(0, 0)), @"B: memory 2.0 MiB after the last round, no growth");
        assert_snapshot!(memory(&side(9_600, 0)), @"B: memory 2.0 MiB after the last round, growing by 9.4 KiB per call");
        assert_snapshot!(memory(&side(9_600, 2)), @"B: memory 2.0 MiB after the last round, growing by 9.4 KiB per call; instances replaced before they were full: 2");
    }
}
