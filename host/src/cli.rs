//! The command line.
//!
//! Results go to standard output, as text or with `--json` as JSON; logs and progress go to
//! standard error. Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 halted by policy,
//! 130 interrupted after everything received was committed.

/// As that of `std`, which panics when nobody reads any more; see [`output::write`].
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}

/// Likewise.
macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}

mod check;
mod checkpoint;
mod db;
mod demo;
mod dlq;
mod logs;
mod migrate;
mod output;
mod plugin;
mod progress;
mod run;
mod serve;
mod session;
mod stop;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use output::print_json;

/// Brings embedding rows from AI servers into PostgreSQL + pgvector, through WASM plugins.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Looked for in the current directory; commands that can do without may find none.
const DEFAULT_CONFIG: &str = "forebay.toml";

/// Options of every command.
#[derive(Debug, clap::Args)]
struct Global {
    /// The configuration
    // Without a short form: `db psql -c` is psql's.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = DEFAULT_CONFIG
    )]
    config: PathBuf,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// How logs are written; by default as text
    #[arg(long, global = true, value_enum, default_value_t = logs::Format::Text, value_name = "FORMAT")]
    log_format: logs::Format,
    /// What is logged, such as `info` or `forebay=debug,plugin=info`
    #[arg(long, global = true, env = "FOREBAY_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// A PostgreSQL installation with pgvector, for the embedded server
    #[arg(long, global = true, value_name = "DIR")]
    pg_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a pipeline at work: embedded database, sample servers, 10,000 rows
    Demo(demo::Demo),
    /// Run pipelines to the end of their datasets
    Run(run::Run),
    /// Run pipelines at the times of their schedules, until stopped
    Serve(serve::Serve),
    /// Check configuration, plugins, source and tables; no data is moved
    Check(check::Check),
    /// Bring the schema `forebay` in the database up to date
    Migrate(migrate::Migrate),
    /// Write, test, look at and switch plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Read the dead letters
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// Read or reset how far a pipeline has come
    #[command(subcommand)]
    Checkpoint(checkpoint::Checkpoint),
    /// The embedded PostgreSQL
    #[command(subcommand)]
    Db(db::Db),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Halted = 3,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that is the user's to mend: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub String);

/// Parses the command line, runs the command, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    // Does nothing without the feature that tests switch on.
    let _faults = fail::FailScenario::setup();
    let cli = Cli::parse();
    logs::start(
        cli.global.log_format,
        cli.global.log.as_deref(),
        cli.command.default_log(),
    );
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    let ended = runtime.block_on(cli.command.execute(&cli.global));
    runtime.shutdown_background();
    let ended = ended.and_then(|exit| match output::unwritten() {
        Some(error) if exit == ExitCode::SUCCESS => {
            Err(anyhow::anyhow!("cannot write the results: {error}"))
        }
        _ => Ok(exit),
    });
    match ended {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {}", crate::error::with_causes(error.as_ref()));
            exit_of(&error).into()
        }
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    use crate::error::PipelineError;
    let usage = error.is::<UsageError>() || error.is::<crate::config::ConfigError>();
    match error.downcast_ref::<PipelineError>() {
        Some(PipelineError::Unfit(_)) => Exit::Usage,
        Some(PipelineError::Halted(_)) => Exit::Halted,
        _ if usage => Exit::Usage,
        _ => Exit::Failed,
    }
}

impl Command {
    /// The demo says itself what it does; the others log it.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Demo(_) => "warn,progress=info",
            // Plugins under test trap on purpose; what they said is in the result.
            Self::Plugin(_) => "warn,plugin=off",
            // The server's notices are that what `migrate` makes is there already.
            _ => "info,sqlx::postgres::notice=warn",
        }
    }

    async fn execute(self, global: &Global) -> anyhow::Result<ExitCode> {
        let exit = match self {
            Self::Demo(demo) => demo.execute(global).await?,
            Self::Run(run) => run.execute(global).await?,
            Self::Serve(serve) => serve.execute(global).await?,
            Self::Check(check) => check.execute(global).await?,
            Self::Migrate(migrate) => migrate.execute(global).await?,
            Self::Plugin(plugin) => plugin.execute(global).await?,
            Self::Dlq(dlq) => dlq.execute(global).await?,
            Self::Checkpoint(checkpoint) => checkpoint.execute(global).await?,
            Self::Db(db) => return db.execute(&session::embedded_settings(global, None)).await,
        };
        Ok(exit.into())
    }
}
