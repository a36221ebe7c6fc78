//! `forebay plugin promote`

use serde_json::json;

use super::{
    super::print_json,
    Exit, Global, session,
    which::{Which, short},
};
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
            let versions = self.which.versions(&config, database, &states).await?;
            for (pipeline, known) in &versions {
                let (name, digest) = (&known.name, &known.digest);
                database.store.ask_promotion(pipeline, name, digest).await?;
                if !global.json {
                    println!(
                        "{pipeline}: {name} {} (sha256 {}…) is used from the next chunk on",
                        known.version,
                        short(digest)
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
