//! `forebay migrate`

use super::exit::{Exit, Interrupted};
use super::global::Global;
use super::output::print_json;
use super::{session, stop};
use crate::config::Config;
use crate::store::StoreError;

#[derive(Debug, clap::Args)]
pub(super) struct Migrate {
    /// Also print the statements that let this role run the configured pipelines
    #[arg(long, value_name = "ROLE")]
    grants: Option<String>,
}

impl Migrate {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let stop = stop::quietly()?;
        let database = session::Database::open(global, config.as_ref(), &stop).await?;
        let done = tokio::select! {
            done = self.migrate(&database, config.as_ref()) => done.map_err(anyhow::Error::from),
            () = stop.cancelled() => Err(Interrupted.into()),
        };
        let url = database.url.to_string();
        database.close_after(&stop).await?;
        let (migrations, grants) = done?;
        if global.json {
            let mut result = serde_json::json!({ "database": url, "migrations": migrations });
            if let (Some(grants), Some(result)) = (grants, result.as_object_mut()) {
                result.insert("grants".to_owned(), grants.into());
            }
            print_json(&result)?;
        } else if let Some(grants) = grants {
            println!("-- {url}: schema forebay is up to date ({migrations} migrations)");
            println!("{}", grants.join("\n"));
        } else {
            println!("{url}: schema forebay is up to date ({migrations} migrations)");
        }
        Ok(Exit::Done)
    }

    async fn migrate(
        &self,
        database: &session::Database,
        config: Option<&Config>,
    ) -> Result<(usize, Option<Vec<String>>), StoreError> {
        let migrations = database.store.migrate().await?;
        let Some(role) = &self.grants else {
            return Ok((migrations, None));
        };
        let pipelines = config.into_iter().flat_map(|config| &config.pipelines);
        let tables: Vec<String> = pipelines.flat_map(|it| it.tables.clone()).collect();
        let grants = database.store.grants(role, &tables).await?;
        Ok((migrations, Some(grants)))
    }
}
