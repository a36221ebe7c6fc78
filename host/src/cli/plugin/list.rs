//! `forebay plugin list`

use serde::Serialize;

use super::{Exit, Global, session};
use crate::cli::output::table;
use crate::cli::print_json;
use crate::row::short_digest;
use crate::store::ledger::{Known, State};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Show versions that were replaced as well
    #[arg(long)]
    all: bool,
}

/// A version and where it was met.
#[derive(Debug, Serialize)]
struct Version {
    pipeline: String,
    #[serde(flatten)]
    known: Known,
}

impl List {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        let versions = session::with_database(global, Some(&config), async |database| {
            self.versions(&config, database).await
        })
        .await?;
        if global.json {
            print_json(&versions)?;
        } else if versions.is_empty() {
            println!(
                "no pipeline of {} has met a plugin yet",
                global.config.display()
            );
        } else {
            println!("{}", shown(&versions));
        }
        Ok(Exit::Done)
    }

    async fn versions(
        &self,
        config: &crate::config::Config,
        database: &session::Database,
    ) -> anyhow::Result<Vec<Version>> {
        let mut versions = Vec::new();
        for pipeline in &config.pipelines {
            let known = database.store.plugin_versions(&pipeline.name).await?;
            let shown = known
                .into_iter()
                .filter(|known| self.all || known.state != State::Retired);
            versions.extend(shown.map(|known| Version {
                pipeline: pipeline.name.clone(),
                known,
            }));
        }
        Ok(versions)
    }
}

fn shown(versions: &[Version]) -> comfy_table::Table {
    let mut table = table([
        "pipeline", "plugin", "state", "version", "sha256", "since", "why",
    ]);
    for Version { pipeline, known } in versions {
        let state = if known.promoted {
            format!("{}, promoted", known.state.as_str())
        } else {
            known.state.as_str().into()
        };
        table.add_row([
            pipeline.as_str(),
            &known.name,
            &state,
            &known.version,
            short_digest(&known.digest),
            &known.since,
            &known.message,
        ]);
    }
    table
}
