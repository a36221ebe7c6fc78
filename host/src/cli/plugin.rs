//! `forebay plugin`: everything about plugins that is done by hand.

mod bench;
mod build;
mod diff;
mod inputs;
mod inspect;
mod list;
mod new;
mod promote;
mod record;
mod test;
mod which;

use super::{Exit, Global, session};

/// What to do with plugins. Each is in the file of its name.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {
    /// Write a project for a new plugin, which builds and whose first cases pass
    New(new::New),
    /// Build a plugin's project with the tools of its language
    Build(build::Build),
    /// Compare two builds of a plugin on the same rows
    Bench(bench::Bench),
    /// Make cases from dead letters, or from rows of the source
    Record(record::Record),
    /// Show which versions each pipeline has met, and what became of them
    List(list::List),
    /// Show what a version that runs beside the one in use would have done otherwise
    Diff(diff::Diff),
    /// Have the version that runs beside be used, or one that is barred be tried again
    Promote(promote::Promote),
    /// Show what a component is, what it imports and what it gets, and why it is refused
    Inspect(inspect::Inspect),
    /// Have a plugin answer cases, in the sandbox of production
    Test(test::Test),
}

impl PluginCommand {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        match self {
            Self::New(new) => new.execute(global),
            Self::Build(build) => build.execute(global),
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
