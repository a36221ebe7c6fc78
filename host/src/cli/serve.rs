//! `forebay serve`

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Interrupted, UsageError};
use super::global::Global;
use super::{run, session, stop, words};
use crate::config::Config;
use crate::error::{PipelineError, with_causes};
use crate::pipeline::Host;
use crate::serve::endpoint::Endpoint;
use crate::serve::health::HealthState;
use crate::{config, metrics, serve};

/// Time between two looks at the database.
const WATCH: Duration = Duration::from_secs(1);
/// The same after the embedded server could not be started.
const WATCH_AGAIN: Duration = Duration::from_secs(10);
/// Maximum time for the database to answer.
const ANSWER: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Names of the pipelines [default: all]
    pipelines: Vec<String>,
    /// Address of /metrics, /livez, /readyz and /health, such as 127.0.0.1:9464; overrides serve.listen
    #[arg(long, value_name = "ADDRESS", value_parser = words::address)]
    listen: Option<SocketAddr>,
}

impl Serve {
    /// Returns `Exit::Done` when stopped by a signal: service managers treat any other code as a
    /// failure.
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        let chosen = run::choose(&config, &self.pipelines)?;
        let listen = self.listen.or(config.serve.listen);
        check_schedules(&chosen, listen.is_some())?;
        let stop = stop::on_signal()?;
        let names = chosen.iter().map(|pipeline| pipeline.name.as_str());
        let health = Arc::new(HealthState::new(names));
        let _endpoint = match listen {
            Some(address) => Some(start_endpoint(address, &chosen, &health).await?),
            None => None,
        };
        let (database, host) = match open(global, &config, &stop).await {
            Err(error) if error.is::<Interrupted>() => return Ok(Exit::Done),
            opened => opened?,
        };
        let served = {
            let _watching = host.plugins.watch(&host.store);
            tokio::select! {
                served = serve::serve(&host, &chosen, &health, &stop) => served,
                never = watch(&database, &health) => match never {},
            }
        };
        database.close_after(&stop).await?;
        served?;
        tracing::info!("stopped");
        Ok(Exit::Done)
    }
}

/// Refuses to serve what would do nothing after its first runs, and that unseen.
fn check_schedules(chosen: &[config::Pipeline], is_seen: bool) -> anyhow::Result<()> {
    let Some(first) = chosen.first() else {
        return Ok(());
    };
    if chosen.iter().any(|pipeline| pipeline.schedule.is_some()) {
        return Ok(());
    }
    let name = &first.name;
    let message = "no pipeline has a schedule: each would run once, now, and nothing after that";
    let hint = format!(
        "set a schedule, such as pipelines.{name}.schedule = \"0 0 2 * * ?\" for 2 o'clock each \
         night; or use `forebay run` to run them once"
    );
    if !is_seen {
        return Err(UsageError(format!("{message}\n  hint: {hint}")).into());
    }
    tracing::warn!(hint, "{message}");
    Ok(())
}

/// Opens the database and loads the plugins. Waits for the database without limit, because a
/// service may be started before it.
async fn open(
    global: &Global,
    config: &Arc<Config>,
    stop: &CancellationToken,
) -> anyhow::Result<(session::Database, Host)> {
    loop {
        let database = match session::Database::wait_for(global, config, stop).await {
            Ok(database) => database,
            Err(error) if is_away(&error) => {
                tracing::warn!(
                    "the database is unreachable: no pipeline runs until it is available"
                );
                // A refusal takes no time, and the endpoint has to be answered too.
                tokio::time::sleep(WATCH).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let host = tokio::select! {
            host = session::host(config, &database) => host,
            () = stop.cancelled() => Err(Interrupted.into()),
        };
        match host {
            Ok(host) => return Ok((database, host)),
            Err(error) => {
                database.close_after(stop).await?;
                return Err(error);
            }
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(PipelineError::GaveUp { .. }))
}

/// Looks at the database all the time: for `/readyz` and `/health`, and to start the embedded server
/// again if it has ended.
async fn watch(database: &session::Database, health: &HealthState) -> Infallible {
    let mut patience = WATCH;
    loop {
        tokio::time::sleep(patience).await;
        patience = WATCH;
        match database.revive().await {
            Ok(false) => {}
            Ok(true) => health.restarted(),
            Err(error) => {
                let error = with_causes(error.as_ref());
                tracing::error!(
                    error,
                    "the embedded PostgreSQL has ended, and cannot be started"
                );
                health.database(Some(error));
                patience = WATCH_AGAIN;
                continue;
            }
        }
        let answered = timeout(ANSWER, database.store.answers()).await;
        health.database(match answered {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("database: no answer within {} s", ANSWER.as_secs())),
        });
    }
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
    tracing::info!("listening: {url}/metrics, {url}/livez, {url}/readyz and {url}/health");
    Ok(endpoint)
}
