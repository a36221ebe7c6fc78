//! `forebay migrate`

use super::exit::{Exit, Interrupted};
use super::global::Global;
use super::output::print_json;
use super::{session, stop};

#[derive(Debug, clap::Args)]
pub(super) struct Migrate {}

impl Migrate {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let stop = stop::quietly()?;
        let database = session::Database::open(global, config.as_ref(), &stop).await?;
        let migrations = tokio::select! {
            migrations = database.store.migrate() => migrations.map_err(anyhow::Error::from),
            () = stop.cancelled() => Err(Interrupted.into()),
        };
        let url = database.url.to_string();
        database.close_after(&stop).await?;
        let migrations = migrations?;
        if global.json {
            print_json(&serde_json::json!({ "database": url, "migrations": migrations }))?;
        } else {
            println!("{url}: schema forebay is up to date ({migrations} migrations)");
        }
        Ok(Exit::Done)
    }
}
