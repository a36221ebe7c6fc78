//! `forebay db`: manages the embedded server.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::embedded;
use crate::embedded::{Settings, Stopped};

/// Commands for the embedded server.
#[derive(clap::Subcommand, Debug)]
pub(super) enum Db {
    /// Start the server and keep it running until `db stop`.
    Start,
    /// Stop the server: at once, or when the last process that uses it ends.
    Stop,
    /// Print the connection URL for clients that use libpq or sqlx.
    Url,
    /// Open psql on the embedded database; starts the server if it is not running.
    Psql {
        /// Arguments of psql, such as `-c 'SELECT 1'`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

impl Db {
    /// Runs the command and prints the result.
    ///
    /// # Errors
    /// If the embedded server fails, or psql is not installed.
    pub(super) async fn execute(self, settings: &Settings) -> anyhow::Result<ExitCode> {
        match self {
            Self::Start => {
                let status = embedded::keep(settings).await?;
                println!("running until `forebay db stop`\n{}", status.url);
            }
            Self::Stop => println!("{}", describe(embedded::shut_down(settings).await?)),
            Self::Url => {
                let status = embedded::status(settings)?;
                println!("{}", status.url);
                if !status.running {
                    eprintln!("the server is not running: `forebay db start` starts it");
                }
            }
            Self::Psql { args } => return psql(settings, &args).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::Stopped => "stopped",
        Stopped::InUse => "in use: it stops when the last process that uses it ends",
        Stopped::Kept => "kept running",
        Stopped::NotRunning => "not running",
    }
}

/// Runs psql as a child process, because the lease has to be released afterwards.
async fn psql(settings: &Settings, args: &[String]) -> anyhow::Result<ExitCode> {
    let server = embedded::start(settings).await?;
    let finished = match embedded::psql_path(settings).await {
        Some(program) => {
            // psql handles Ctrl-C in the terminal: it cancels the statement.
            let _ignored = signal(SignalKind::interrupt())?;
            tokio::process::Command::new(&program)
                .arg(server.url())
                .args(args)
                .status()
                .await
                .with_context(|| format!("cannot run {}", program.display()))
        }
        None => Err(anyhow::anyhow!(
            "psql is not installed: connect to {}",
            server.url()
        )),
    };
    server.stop().await?;
    let code = finished?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
