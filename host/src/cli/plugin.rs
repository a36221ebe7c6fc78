//! `forebay plugin`: everything about plugins that is done by hand.

mod build;
mod new;

use super::{Exit, Global};

/// What to do with plugins. Each is in the file of its name.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {
    /// Write a project for a new plugin, which builds and whose first cases pass
    New(new::New),
    /// Build a plugin's project with the tools of its language
    Build(build::Build),
}

impl PluginCommand {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        match self {
            Self::New(new) => new.execute(global),
            Self::Build(build) => build.execute(global),
        }
    }
}
