//! `forebay plugin`: everything about plugins that is done by hand.

mod diff;
mod list;
mod promote;

use super::{Exit, Global, UsageError, session};
use crate::{
    config::{Config, Pipeline},
    store::ledger::{Known, State},
};

/// What to do with plugins. Each is in the file of its name.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {
    /// Show which versions each pipeline has met, and what became of them
    List(list::List),
    /// Show what a version that runs beside the one in use would have done otherwise
    Diff(diff::Diff),
    /// Have the version that runs beside be used, or one that is barred be tried again
    Promote(promote::Promote),
}

impl PluginCommand {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.execute(global).await,
            Self::Diff(diff) => diff.execute(global).await,
            Self::Promote(promote) => promote.execute(global).await,
        }
    }
}

/// Which plugin of which pipeline.
#[derive(Debug, clap::Args)]
struct Which {
    /// Name of the plugin
    name: String,
    /// Only of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
}

impl Which {
    /// The versions that are in one of these states, each with its pipeline. At least one.
    async fn versions(
        &self,
        config: &Config,
        database: &session::Database,
        states: &[State],
    ) -> anyhow::Result<Vec<(String, Known)>> {
        let mut found = Vec::new();
        let pipelines = config.pipelines.iter();
        for Pipeline { name, .. } in pipelines.filter(|it| {
            let wanted = self.pipeline.as_ref();
            wanted.is_none_or(|wanted| *wanted == it.name)
        }) {
            let versions = database.store.plugin_versions(name).await?;
            let mine = versions
                .into_iter()
                .filter(|known| known.name == self.name && states.contains(&known.state));
            found.extend(mine.map(|known| (name.clone(), known)));
        }
        if found.is_empty() {
            let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            return Err(UsageError(format!(
                "no version of plugin `{}` is {}\n  hint: `forebay plugin list` shows all versions",
                self.name,
                states.join(" or ")
            ))
            .into());
        }
        Ok(found)
    }
}

/// Enough of a digest to recognise it.
fn short(digest: &str) -> &str {
    crate::rollout::short(digest)
}
