//! Which parts run, with how many rows and rounds, and where their results go.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::chart::{Figure, Scale};
use crate::lab::Lab;
use crate::parts::plugins::Bars;
use crate::parts::write::{With, shape};
use crate::parts::{Part, dimensions, dirt, files, index, memory, plugins, transport, write};
use crate::rounds::{Rounds, WarmUp};
use crate::sets::Set;
use crate::source::Source;
use crate::{Arguments, Only, chain, chart, markdown};

/// Where results and working files go, beside the plugins that `make plugins` builds.
const DIRECTORY: &str = "bench";

/// What is used where the part has nothing of its own.
const DIMENSIONS: usize = 1536;
/// With shorter vectors more rows are needed to fill the time.
const SHORT: usize = 384;

/// With which the index is made by hand: as the host does it. The memory is the server's own
/// setting, and enough for the graph of 10,000 rows.
const INDEX_SETTINGS: &str =
    "set maintenance_work_mem = '256MB'; set min_parallel_table_scan_size = 0";

impl Arguments {
    fn wants(&self, part: Only) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    fn rows(&self, usual: usize) -> usize {
        self.rows.unwrap_or(usual)
    }

    fn rounds(&self, usual: usize) -> Rounds {
        Rounds {
            count: self.rounds.unwrap_or(usual),
            warm_up: WarmUp::Round,
        }
    }

    /// Both sizes of vectors with the rows that take as long, or the one that is asked for.
    fn sizes(&self, long_rows: usize) -> Vec<(usize, usize)> {
        match self.dimensions {
            Some(dimensions) => vec![(self.rows(long_rows), dimensions)],
            None => vec![
                (self.rows(long_rows), DIMENSIONS),
                (self.rows(long_rows * 2), SHORT),
            ],
        }
    }
}

/// Runs what is wanted.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let target = arguments
        .target
        .canonicalize()
        .with_context(|| format!("{} is not there", arguments.target.display()))?;
    let directory = target.join(DIRECTORY);
    fs::create_dir_all(&directory)?;
    let rust = Set::recruit(&target)?;
    let lab = Lab::start(&target, &directory, arguments.pg_dir.clone()).await?;
    let result = parts(arguments, &lab, &rust, &target).await;
    lab.stop().await?;
    result
}

async fn parts(arguments: &Arguments, lab: &Lab, rust: &Set, target: &Path) -> anyhow::Result<()> {
    let dimensions = arguments.dimensions.unwrap_or(DIMENSIONS);
    if arguments.wants(Only::Write) || arguments.only == Some(Only::Ceiling) {
        write_path(arguments, lab, rust).await?;
    }
    if arguments.wants(Only::Dimensions) {
        let mut parts = Vec::new();
        for (rows, dimensions) in arguments.sizes(30_000) {
            let shape = shape(rows, dimensions);
            parts.push(dimensions::measure(lab, shape, rust, arguments.rounds(4)).await?);
        }
        publish(
            lab,
            "dimensions",
            "Single and half precision",
            markdown::LEGEND,
            parts,
        )?;
    }
    if arguments.wants(Only::Transport) {
        let shape = shape(arguments.rows(30_000), dimensions);
        let part = transport::measure(lab, shape, rust, arguments.rounds(5)).await?;
        publish(
            lab,
            "transport",
            "Unix sockets, TCP, TLS and a network of 1 ms",
            markdown::LEGEND,
            vec![part],
        )?;
    }
    if arguments.wants(Only::Files) {
        let shape = shape(arguments.rows(30_000), dimensions);
        let part = files::measure(lab, shape, rust, arguments.rounds(5)).await?;
        publish(lab, "files", "Files", markdown::LEGEND, vec![part])?;
    }
    if arguments.wants(Only::Dirt) {
        let dimensions = arguments.dimensions.unwrap_or(SHORT);
        let shape = shape(arguments.rows(40_000), dimensions);
        let parts =
            dirt::measure(lab, shape, arguments.about.as_deref(), arguments.rounds(3)).await?;
        publish(lab, "dirt", "The price of dirt", dirt::LEGEND, parts)?;
    }
    if arguments.wants(Only::Index) {
        let rounds = Rounds {
            warm_up: WarmUp::None,
            ..arguments.rounds(1)
        };
        let shape = shape(arguments.rows(10_000), dimensions);
        let part = index::measure(lab, shape, rust, INDEX_SETTINGS, rounds).await?;
        publish(lab, "index", "Index modes", "", vec![part])?;
    }
    if arguments.wants(Only::Memory) {
        let dimensions = arguments.dimensions.unwrap_or(SHORT);
        let shape = shape(arguments.rows(1_000_000), dimensions);
        let part = memory::measure(lab, shape, rust).await?;
        publish(lab, "memory", "Memory", "", vec![part])?;
    }
    plugin_parts(arguments, lab, rust, &Set::examples(target)?).await
}

async fn write_path(arguments: &Arguments, lab: &Lab, rust: &Set) -> anyhow::Result<()> {
    let (name, title, with) = match arguments.only {
        Some(Only::Ceiling) => ("ceiling", "The bare loop", With::CeilingOnly),
        _ => ("write", "The way into the tables", With::Host),
    };
    let mut parts = Vec::new();
    for (rows, dimensions) in arguments.sizes(40_000) {
        let shape = shape(rows, dimensions);
        let part = write::measure(lab, shape, rust, arguments.rounds(7), with).await?;
        if let Some(chart) = &part.chart {
            save(lab, &format!("{name}-{dimensions}.svg"), chart)?;
        }
        parts.push(part);
    }
    publish(lab, name, title, markdown::LEGEND, parts)
}

async fn plugin_parts(
    arguments: &Arguments,
    lab: &Lab,
    rust: &Set,
    languages: &[Set],
) -> anyhow::Result<()> {
    let wanted = [Only::Chain, Only::Rust, Only::Languages];
    if !wanted.iter().any(|part| arguments.wants(*part)) {
        return Ok(());
    }
    let dimensions = arguments.dimensions.unwrap_or(DIMENSIONS);
    let rows = arguments.rows(10_000);
    let source = Source::start(shape(rows, dimensions)).await?;
    let mut parts = Vec::new();
    if arguments.wants(Only::Chain) {
        let sets: Vec<&Set> = std::iter::once(rust).chain(languages).collect();
        let rounds = arguments.rounds.unwrap_or(7);
        let costs = chain::measure(&sets, &source, rounds).await?;
        save(lab, "plugins.svg", &draw(&costs))?;
        let text = chain::table(&costs);
        parts.push(Part { text, chart: None });
    }
    if arguments.wants(Only::Rust) {
        // What is looked for is small: longer runs than for the others, that it is not the noise.
        let rows = arguments.rows(40_000);
        let source = Source::start(shape(rows, dimensions)).await?;
        let title = format!("the three Rust plugins, {rows} rows");
        let rounds = arguments.rounds(10);
        let part = plugins::measure(lab, &source, &title, &[rust], rounds, Bars::Shown).await?;
        parts.push(part);
    }
    if arguments.wants(Only::Languages) && !languages.is_empty() {
        let sets: Vec<&Set> = languages.iter().collect();
        let title = format!("one plugin that does the work of the three, {rows} rows");
        let rounds = arguments.rounds(3);
        let part = plugins::measure(lab, &source, &title, &sets, rounds, Bars::None).await?;
        parts.push(part);
    }
    let what = format!("Clean rows with {dimensions} dimensions and 8 fields, in chunks of 300.\n");
    publish(lab, "plugins", "What plugins cost", &what, parts)
}

fn draw(costs: &[chain::Cost]) -> String {
    let figures = costs.iter().map(|cost| Figure {
        label: cost.label.clone(),
        value: cost.row.median,
        digits: 2,
    });
    let title = "What the chain costs, µs a row (logarithmic)";
    chart::draw(title, Scale::Logarithmic, &figures.collect::<Vec<_>>())
}

/// Prints a page, and keeps it.
fn publish(lab: &Lab, name: &str, title: &str, what: &str, parts: Vec<Part>) -> anyhow::Result<()> {
    let mut page = format!("# {title}\n\n{}{what}", markdown::machine());
    page.extend(parts.into_iter().map(|part| part.text));
    println!("{page}");
    save(lab, &format!("{name}.md"), &page)
}

fn save(lab: &Lab, name: &str, text: &str) -> anyhow::Result<()> {
    let path = lab.directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
