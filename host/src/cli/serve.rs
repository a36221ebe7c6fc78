//! `forebay serve`

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;

use super::exit::Exit;
use super::global::Global;
use super::{run, session, stop};
use crate::config::Config;
use crate::error::PipelineError;
use crate::pipeline::Host;
use crate::serve::endpoint::Endpoint;
use crate::serve::health::HealthState;
use crate::{config, metrics, serve};

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Names of the pipelines [default: all]
    pipelines: Vec<String>,
    /// Address of /metrics and /health, such as 127.0.0.1:9464; overrides serve.listen
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Serve {
    /// Returns `Exit::Done` when stopped by a signal: service managers treat any other code as a
    /// failure.
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        let chosen = run::choose(&config, &self.pipelines)?;
        let stop = stop::on_signal()?;
        let names = chosen.iter().map(|pipeline| pipeline.name.as_str());
        let health = Arc::new(HealthState::new(names));
        let listen = self.listen.or(config.serve.listen);
        let _endpoint = match listen {
            Some(address) => Some(start_endpoint(address, &chosen, &health).await?),
            None => None,
        };
        let opened = tokio::select! {
            opened = open(global, &config) => opened?,
            () = stop.cancelled() => return Ok(Exit::Done),
        };
        let (database, host) = opened;
        let served = {
            let _watching = host.plugins.watch(&host.store);
            serve::serve(&host, &chosen, &health, &stop).await
        };
        database.close().await?;
        served?;
        tracing::info!("stopped");
        Ok(Exit::Done)
    }
}

/// Opens the database and loads the plugins. Waits for the database without limit, because a
/// service may be started before it.
async fn open(global: &Global, config: &Arc<Config>) -> anyhow::Result<(session::Database, Host)> {
    loop {
        let database = match session::Database::wait_for(global, config).await {
            Ok(database) => database,
            Err(error) if is_away(&error) => {
                tracing::warn!(
                    "the database is unreachable: no pipeline runs until it is available"
                );
                continue;
            }
            Err(error) => return Err(error),
        };
        match session::host(config, &database).await {
            Ok(host) => return Ok((database, host)),
            Err(error) => {
                database.close().await?;
                return Err(error);
            }
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(PipelineError::GaveUp { .. }))
}

async fn start_endpoint(
    address: SocketAddr,
    pipelines: &[config::Pipeline],
    health: &Arc<HealthState>,
) -> anyhow::Result<Endpoint> {
    let handle = metrics::install()?;
    for pipeline in pipelines {
        metrics::known(&pipeline.name);
    }
    let endpoint = Endpoint::start(address, handle, Arc::clone(health))
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let url = format!("http://{}", endpoint.address());
    tracing::info!("listening: {url}/metrics and {url}/health");
    Ok(endpoint)
}
