//! `forebay plugin bench`: two builds on the same rows, in turn, with a control.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::cases::bench::{Comparison, Ratio, Work, compare};
use crate::cli::output::{table, thousands};
use crate::cli::{Exit, Global, UsageError, print_json, session};
use crate::plugin::{Engine, Plugin};

/// Rows of a batch: what makes sense of a chunk.
const MAX_ROWS: u32 = 10_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Bench {
    /// The component
    a: PathBuf,
    /// Another build of it, then files of cases; by default the cases beside the component
    #[arg(value_name = "B.wasm | CASES")]
    rest: Vec<PathBuf>,
    /// Rows of a batch
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ROWS)))]
    rows: u32,
    /// Batches that each build gets
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// A setting
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
            let message = "two builds are compared, not more";
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
    let mut table = table([
        "",
        "build",
        "ns/row",
        "of 10 rounds 8 took",
        "to A",
        "peak memory",
    ]);
    for side in &comparison.sides {
        let (build, ratio) = match side.name.as_str() {
            "A" => (named(a), String::new()),
            "B" => (
                b.map(named).unwrap_or_default(),
                comparison.ratio.map(shown).unwrap_or_default(),
            ),
            _ => (named(a), shown(comparison.control)),
        };
        let spread = format!("{} to {}", whole(side.low), whole(side.high));
        let memory = bytesize::ByteSize(side.peak_memory as u64).display().iec();
        table.add_row([
            side.name.clone(),
            build,
            whole(side.median),
            spread,
            ratio,
            memory.to_string(),
        ]);
    }
    println!("{table}");
    let Comparison {
        rows,
        rounds,
        control,
        ..
    } = comparison;
    println!("{rounds} rounds of {rows} rows, in turn");
    if let Some(ratio) = comparison.ratio {
        let (low, high) = (control.low, control.high);
        if comparison.differs() {
            println!(
                "B takes {:.2} times as long as A; A again takes {low:.2} to {high:.2} times",
                ratio.median
            );
        } else {
            println!(
                "no difference: B takes {:.2} times as long as A, and A again {low:.2} to {high:.2} times",
                ratio.median
            );
        }
    }
}

fn named(plugin: &Plugin) -> String {
    let id = plugin.id();
    let digest = id.digest.get(..8).unwrap_or_default();
    format!("{} {} ({digest})", id.name, id.version)
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
