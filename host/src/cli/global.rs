//! Options that all commands have.

use std::path::PathBuf;

use super::logs;

/// Read from the current directory. Commands that do not need a configuration also run without it.
pub(super) const DEFAULT_CONFIG: &str = "forebay.toml";

#[derive(Debug, clap::Args)]
pub(super) struct Global {
    /// Configuration file
    // Without a short form: `db psql -c` is psql's.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = DEFAULT_CONFIG
    )]
    pub(super) config: PathBuf,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Format of the log
    #[arg(long, global = true, value_enum, default_value_t = logs::Format::Text, value_name = "FORMAT")]
    pub(super) log_format: logs::Format,
    /// Filter of the log, such as `info` or `forebay=debug,plugin=info`
    #[arg(long, global = true, env = "FOREBAY_LOG", value_name = "FILTER")]
    pub(super) log: Option<String>,
    /// PostgreSQL installation with pgvector to use for the embedded server
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) pg_dir: Option<PathBuf>,
}
