//! `make bench`: what the way into the tables and plugins cost.
//!
//! *The chain alone*: batches as the decoder makes them, through the sandbox, on one thread of
//! this process; little noise, so it shows what a change to the host is worth. *Everything else*:
//! the program that is shipped, with a source in a process of its own and an embedded server with
//! its usual durability, into fresh tables; much noise, so variants take turns in each round, are
//! compared within it, and one of them runs twice to show what noise there is.
//!
//! Rows are those of the example's dataset in which nothing is wrong: then the tables take the
//! same rows with and without plugins, and from a bare loop that copies them. Plugins are not
//! idle: they bring half of the rows into another spelling.

mod bars;
mod ceiling;
mod chain;
mod chart;
mod figures;
mod lab;
mod load;
mod markdown;
mod parts;
mod plan;
mod process;
mod relay;
mod rounds;
mod sets;
mod source;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use ceiling::Copy;
use source::Shape;

#[derive(Parser)]
#[command(about = "Measures what the way into the tables and plugins cost")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only this
    #[arg(long)]
    only: Option<Only>,
    /// Rows of a run; each part has its own default
    #[arg(long)]
    rows: Option<usize>,
    /// Elements of each embedding; otherwise 1536, in some parts also 384
    #[arg(long)]
    dimensions: Option<usize>,
    /// Of the part with refused rows, only tables whose titles contain this
    #[arg(long)]
    about: Option<String>,
    /// Rounds; each part has its own default
    #[arg(long)]
    rounds: Option<usize>,
    /// A PostgreSQL with pgvector instead of the embedded one: a directory with `bin/postgres`
    #[arg(long)]
    pg_dir: Option<PathBuf>,
    /// The build's directory
    #[arg(long, default_value = "target")]
    target: PathBuf,
}

#[derive(Clone, std::marker::Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The bare loop that the others are compared with
    Ceiling,
    /// New, unchanged and changed rows
    Write,
    /// Single and half precision
    Dimensions,
    /// Unix sockets, TCP, TLS and a network of 1 ms
    Transport,
    /// Files, beside the own protocol
    Files,
    /// With rows that the database refuses
    Dirt,
    /// With an HNSW index
    Index,
    /// Memory over a million rows
    Memory,
    /// The plugins alone, without a database
    Chain,
    /// The three Rust plugins, end to end
    Rust,
    /// Plugins in other languages, end to end
    Languages,
}

#[derive(Subcommand)]
enum Command {
    /// Serves rows until standard input ends
    #[command(hide = true)]
    Source {
        #[command(flatten)]
        shape: Shape,
        #[arg(long)]
        socket: PathBuf,
        /// With datasets of rows that the database refuses
        #[arg(long)]
        dirt: bool,
    },
    /// Copies rows, and says how long that took
    #[command(hide = true)]
    Copy {
        #[arg(long)]
        url: String,
        #[command(flatten)]
        copy: Copy,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Copy { url, copy }) => ceiling::copy(url, copy),
        Some(Command::Source {
            shape,
            socket,
            dirt,
        }) => {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build()?;
            runtime.block_on(source::serve(*shape, *dirt, socket))
        }
        None => tokio::runtime::Runtime::new()?.block_on(plan::run(&arguments)),
    }
}
