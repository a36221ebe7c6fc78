//! `forebay plugin promote`

use std::collections::BTreeSet;

use serde_json::json;

use super::which::Which;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::print_json;
use crate::cli::session;
use crate::row::short_digest;
use crate::store::ledger::State;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Promote {
    #[command(flatten)]
    which: Which,
}

impl Promote {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        session::with_database(global, Some(&config), async |database| {
            let states = [State::Shadow, State::Barred];
            let mut versions = self.which.versions(&config, database, &states).await?;
            // For each pipeline the shadow, or else the version that was barred last.
            versions.sort_by_key(|(_, known)| known.state != State::Shadow);
            let mut seen = BTreeSet::new();
            versions.retain(|(pipeline, _)| seen.insert(pipeline.clone()));
            for (pipeline, known) in &versions {
                let (name, digest) = (&known.name, &known.digest);
                database.store.ask_promotion(pipeline, name, digest).await?;
                if !global.json {
                    let then = match known.state {
                        State::Shadow => "becomes active with the next chunk",
                        _ => "is no longer barred: it is tried again if its file still contains it",
                    };
                    println!(
                        "{pipeline}: {name} {} (sha256 {}…) {then}",
                        known.version,
                        short_digest(digest)
                    );
                }
            }
            if global.json {
                let promoted: Vec<_> = versions
                    .iter()
                    .map(|(pipeline, known)| json!({ "pipeline": pipeline, "name": known.name, "digest": known.digest }))
                    .collect();
                print_json(&promoted)?;
            }
            Ok(Exit::Done)
        })
        .await
    }
}
