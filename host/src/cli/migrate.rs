//! `forebay migrate`

use super::exit::Exit;
use super::global::Global;
use super::output::print_json;
use super::session;

#[derive(Debug, clap::Args)]
pub(super) struct Migrate {}

impl Migrate {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let database = session::Database::open(global, config.as_ref()).await?;
        let migrations = database.store.migrate().await;
        let url = database.url.to_string();
        database.close().await?;
        let migrations = migrations?;
        if global.json {
            print_json(&serde_json::json!({ "database": url, "migrations": migrations }))?;
        } else {
            println!("{url}: schema forebay is up to date ({migrations} migrations)");
        }
        Ok(Exit::Done)
    }
}
