//! `forebay plugin`: everything about plugins that is done by hand.

mod bench;
mod record;
mod test;

use std::path::{Path, PathBuf};

use super::{Exit, Global, UsageError};
use crate::cases::{self, Suite};

/// What to do with plugins. Each is in the file of its name.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {
    /// Compare two builds of a plugin on the same rows
    Bench(bench::Bench),
    /// Make cases from dead letters, or from rows of the source
    Record(record::Record),
    /// Have a plugin answer cases, in the sandbox of production
    Test(test::Test),
}

impl PluginCommand {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        match self {
            Self::Bench(bench) => bench.execute(global).await,
            Self::Record(record) => record.execute(global).await,
            Self::Test(test) => test.execute(global).await,
        }
    }
}

/// Parses `KEY=VALUE`.
fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a setting is KEY=VALUE".to_owned()),
    }
}

/// The cases in these files and directories; with none, those beside the component.
fn suites(component: &Path, paths: &[PathBuf]) -> anyhow::Result<Vec<Suite>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let within = cases::within(path)?;
            if within.is_empty() {
                return Err(UsageError(format!("no *.cases.toml in {}", path.display())).into());
            }
            files.extend(within);
        } else {
            files.push(path.clone());
        }
    }
    if paths.is_empty() {
        files = cases::beside(component)?;
    }
    let (mut suites, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match Suite::load(&file) {
            Ok(suite) => suites.push(suite),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if wrong.is_empty() {
        Ok(suites)
    } else {
        Err(UsageError(wrong.join("\n")).into())
    }
}
