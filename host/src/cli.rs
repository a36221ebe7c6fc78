//! The command line.
//!
//! Results go to standard output, as text or with `--json` as JSON; logs and progress go to
//! standard error. Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 halted, 4 too many dead
//! letters, 5 the tables differ from the source (`verify`), 130 interrupted.

/// Like `std::print!`, but does not panic when the reader is gone; see [`output::write`].
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}

/// Like `std::println!`, but does not panic when the reader is gone.
macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}

mod check;
mod checkpoint;
mod compile;
mod db;
mod demo;
mod dlq;
mod exit;
mod global;
mod load;
mod logs;
mod mapping;
mod migrate;
mod nearest;
mod output;
mod plugin;
mod progress;
mod rehearsal;
mod report_file;
mod run;
mod screen;
mod serve;
mod session;
mod stop;
mod summary;
mod table;
mod verify;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::{Exit, Interrupted};
use self::global::Global;

/// Streams embedding rows from AI servers through WASM plugins into PostgreSQL + pgvector.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an example pipeline: embedded database, sample servers, 10,000 rows
    Demo(demo::Demo),
    /// Load files into a table, without a configuration
    Load(load::Load),
    /// Show the rows nearest to one of them
    Nearest(nearest::Nearest),
    /// Run pipelines to the end of their datasets
    Run(run::Run),
    /// Run pipelines on their schedules until stopped
    Serve(serve::Serve),
    /// Check configuration, plugins, source and tables without moving data
    Check(check::Check),
    /// Compare the tables of a pipeline with its source, and repair them
    Verify(verify::Verify),
    /// Bring the schema `forebay` in the database up to date
    Migrate(migrate::Migrate),
    /// Write, test, inspect and promote plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// List and show dead letters
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// Show or reset the progress of a pipeline
    #[command(subcommand)]
    Checkpoint(checkpoint::Checkpoint),
    /// Manage the embedded PostgreSQL
    #[command(subcommand)]
    Db(db::Db),
    /// Compile a component from standard input
    #[command(name = "compile-plugin", hide = true)]
    Compile(compile::Compile),
}

/// Parses the command line, runs the command, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Does nothing unless the feature that tests enable is on.
    let _failpoints = fail::FailScenario::setup();
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
        // Whoever sent the signal knows.
        Err(error) if error.is::<Interrupted>() => Exit::Interrupted.into(),
        Err(error) => {
            let text = crate::error::with_causes(error.as_ref());
            eprintln!("error: {}", crate::printable::lines(&text));
            Exit::of(&error).into()
        }
    }
}

impl Command {
    /// The filter of the log when none is given.
    fn default_log(&self) -> &'static str {
        match self {
            // The demo prints its own progress.
            // The tables of the demo are meant to leave fields out.
            Self::Demo(_) => "warn,progress=info,forebay::pipeline::run=error",
            Self::Plugin(plugin) => plugin.default_log(),
            // The server's notices report that what `migrate` creates already exists.
            _ => "info,sqlx::postgres::notice=warn",
        }
    }

    async fn execute(self, global: &Global) -> anyhow::Result<ExitCode> {
        let exit = match self {
            Self::Demo(demo) => demo.execute(global).await?,
            Self::Load(load) => load.execute(global).await?,
            Self::Nearest(nearest) => nearest.execute(global).await?,
            Self::Run(run) => run.execute(global).await?,
            Self::Serve(serve) => serve.execute(global).await?,
            Self::Check(check) => check.execute(global).await?,
            Self::Verify(verify) => verify.execute(global).await?,
            Self::Migrate(migrate) => migrate.execute(global).await?,
            Self::Plugin(plugin) => plugin.execute(global).await?,
            Self::Dlq(dlq) => dlq.execute(global).await?,
            Self::Checkpoint(checkpoint) => checkpoint.execute(global).await?,
            Self::Compile(compile) => compile.execute(),
            Self::Db(db) => return db.execute(&session::embedded_settings(global, None)).await,
        };
        Ok(exit.into())
    }
}
