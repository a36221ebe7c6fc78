//! Selects versions of plugins for commands.

use crate::cli::exit::UsageError;
use crate::cli::{session, words};
use crate::config::{Config, Pipeline};
use crate::store::ledger::{Known, State};

/// Selects a plugin in one pipeline or in all.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Name of the plugin
    pub(super) name: String,
    /// Only in this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
}

impl Which {
    /// The versions in one of these states, each with its pipeline; an error if there is none.
    pub(super) async fn versions(
        &self,
        config: &Config,
        database: &session::Database,
        states: &[State],
    ) -> anyhow::Result<Vec<(String, Known)>> {
        let names = config.pipelines.iter().map(|it| it.name.as_str());
        if let Some(wanted) = &self.pipeline
            && !names.clone().any(|name| name == wanted)
        {
            return Err(words::unknown("pipeline", wanted, "configured", names).into());
        }
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
                "no version of plugin `{}` is {}\n  hint: `forebay plugin list --all` shows all versions",
                self.name,
                states.join(" or ")
            ))
            .into());
        }
        Ok(found)
    }
}
