//! `forebay plugin`: everything about plugins that is done by hand.

use super::{Exit, Global};

/// What to do with plugins. Each is in the file of its name.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {}

impl PluginCommand {
    pub(super) async fn execute(&self, _global: &Global) -> anyhow::Result<Exit> {
        match *self {}
    }
}
