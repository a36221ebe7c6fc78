//! `forebay plugin promote`

use std::collections::BTreeSet;

use serde_json::json;

use super::which::Which;
use super::{Exit, Global, session};
use crate::cli::print_json;
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
            // Of each pipeline the one that runs beside, or the one that was barred last.
            versions.sort_by_key(|(_, known)| known.state != State::Shadow);
            let mut seen = BTreeSet::new();
            versions.retain(|(pipeline, _)| seen.insert(pipeline.clone()));
            for (pipeline, known) in &versions {
                let (name, digest) = (&known.name, &known.digest);
                database.store.ask_promotion(pipeline, name, digest).await?;
                if !global.json {
                    let then = match known.state {
                        State::Shadow => "is used from the next chunk on",
                        _ => "is not barred any more: it is tried again if it is in its file",
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
