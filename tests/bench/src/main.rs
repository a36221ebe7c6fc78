//! `make bench`: what plugins cost.
//!
//! Two measurements. *The chain alone*: batches as the decoder makes them, through the sandbox,
//! on one thread of this process; little noise, so it shows what a change to the host is worth.
//! *End to end*: the program that is shipped, with a source in a process of its own and an
//! embedded server, into fresh tables; much noise, so variants take turns in each round, are
//! compared within it, and the variant without plugins runs twice to show what noise there is.
//!
//! Rows are those of the example's dataset in which nothing is wrong: then the tables take the
//! same rows with and without plugins, and what differs is the plugins. They are not idle: they
//! bring half of the rows into another spelling.

mod chain;
mod chart;
mod end_to_end;
mod figures;
mod markdown;
mod sets;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};

use end_to_end::Comparison;
use sets::Set;

/// Where results and working files go, beside the plugins that `make plugins` builds.
const DIRECTORY: &str = "bench";

#[derive(Parser)]
#[command(about = "Measures what plugins cost")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Rows of a run
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
    /// Elements of each embedding
    #[arg(long, default_value_t = 1536)]
    dimensions: usize,
    /// Rounds in which the three Rust plugins are compared; a third as many for the others
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Only this measurement
    #[arg(long)]
    only: Option<Part>,
    /// The build's directory
    #[arg(long, default_value = "target")]
    target: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The chain alone
    Chain,
    /// End to end, the three Rust plugins
    Rust,
    /// End to end, the plugins in other languages
    Languages,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the dataset until standard input ends
    #[command(hide = true)]
    Source { rows: usize, dimensions: usize },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Source { rows, dimensions }) = arguments.command {
        return source::serve(rows, dimensions);
    }
    let target = arguments
        .target
        .canonicalize()
        .with_context(|| format!("{} is not there", arguments.target.display()))?;
    let rust = Set::recruit(&target)?;
    let languages = Set::examples(&target)?;
    let wants = |part| arguments.only.is_none_or(|only| only == part);

    let mut text = markdown::head(arguments.rows, arguments.dimensions);
    let mut say = |part: String| {
        println!("{part}");
        text.push_str(&part);
    };
    let source = source::Child::start(arguments.rows, arguments.dimensions).await?;
    let directory = target.join(DIRECTORY);
    fs::create_dir_all(&directory)?;
    if wants(Part::Chain) {
        let sets: Vec<&Set> = std::iter::once(&rust).chain(&languages).collect();
        let costs = chain::measure(&sets, &arguments, source.url()).await?;
        say(markdown::chain(&costs));
        write(&directory.join("plugins.svg"), &chart::draw(&costs))?;
    }
    if wants(Part::Rust) || wants(Part::Languages) {
        let comparison = Comparison::start(
            &target,
            &directory,
            &source,
            (arguments.rows, arguments.dimensions),
        )
        .await?;
        if wants(Part::Rust) {
            let rows = comparison.rounds(&[&rust], arguments.rounds).await?;
            say(markdown::end_to_end(
                "the three Rust plugins",
                &rows,
                markdown::Bars::Shown,
            ));
        }
        if wants(Part::Languages) && !languages.is_empty() {
            let sets: Vec<&Set> = languages.iter().collect();
            let rounds = arguments.rounds.div_ceil(3);
            let rows = comparison.rounds(&sets, rounds).await?;
            say(markdown::end_to_end(
                "one plugin that does the work of the three",
                &rows,
                markdown::Bars::None,
            ));
        }
        comparison.stop().await?;
    }
    write(&directory.join("plugins.md"), &text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
