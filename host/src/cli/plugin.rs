//! `forebay plugin`: commands to write, test and manage plugins.

mod bench;
mod build;
mod diff;
mod inputs;
mod inspect;
mod list;
mod new;
mod promote;
mod put;
mod record;
mod test;
mod which;

use super::exit::Exit;
use super::global::Global;

/// Commands for plugins, each in the file of its name.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {
    /// Create a project for a new plugin, with test cases that pass
    New(new::New),
    /// Build a plugin project with the tools of its language
    Build(build::Build),
    /// Copy a component and its cases into the plugin directory, if they pass there
    Put(put::Put),
    /// Compare two builds of a plugin on the same rows
    Bench(bench::Bench),
    /// Record test cases from dead letters or from rows of the source
    Record(record::Record),
    /// List the versions that each pipeline has used, with their states
    List(list::List),
    /// Show how the results of a shadow version differ from those of the active one
    Diff(diff::Diff),
    /// Activate a shadow version, or lift the bar on a version
    Promote(promote::Promote),
    /// Show a component's roles, imports, grants and limits, and why it is refused
    Inspect(inspect::Inspect),
    /// Test a plugin with cases, in the production sandbox
    Test(test::Test),
}

impl PluginCommand {
    /// The filter of the log when none is given.
    pub(super) fn default_log(&self) -> &'static str {
        match self {
            // What a plugin prints in its cases is meant for who writes it.
            Self::Test(test) if !test.is_fuzz() => "warn,plugin=info",
            // Plugins that are searched for faults or measured say the same thing many times.
            _ => "warn,plugin=off",
        }
    }

    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        match self {
            Self::New(new) => new.execute(global),
            Self::Build(build) => build.execute(global),
            Self::Put(put) => put.execute(global),
            Self::Bench(bench) => bench.execute(global).await,
            Self::Record(record) => record.execute(global).await,
            Self::List(list) => list.execute(global).await,
            Self::Diff(diff) => diff.execute(global).await,
            Self::Promote(promote) => promote.execute(global).await,
            Self::Inspect(inspect) => inspect.execute(global),
            Self::Test(test) => test.execute(global).await,
        }
    }
}
