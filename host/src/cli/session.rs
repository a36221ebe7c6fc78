//! Opens what commands work with: configuration, database, plugins.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::compile;
use super::exit::{Interrupted, UsageError};
use super::global::{DEFAULT_CONFIG, Global};
use super::stop;
use crate::config::{Config, DatabaseUrl, Sessions, database_url_from_environment};
use crate::embedded::Embedded;
use crate::error::PipelineError;
use crate::pipeline::Host;
use crate::plugin::{Directory, Engine, Setup};
use crate::retry::Patience;
use crate::rollout::PluginWatcher;
use crate::store::Store;
use crate::{cases, embedded};

/// Maximum wait of commands that a user waits for: short, but long enough for a server that is
/// starting.
const PATIENCE: Duration = Duration::from_secs(2);

/// Maximum time for the connections to be closed.
const CLOSE_POOL: Duration = Duration::from_secs(2);
/// Maximum time for everything to be closed after a stop.
const CLOSE_SOON: Duration = Duration::from_secs(5);

/// A database, with the embedded server if that is used.
pub(super) struct Database {
    pub store: Store,
    pub url: DatabaseUrl,
    embedded: Option<Embedded>,
}

impl Database {
    /// Opens the configured database, or that of `DATABASE_URL`, or the embedded one.
    ///
    /// # Errors
    /// Also [`Interrupted`] after `stop`; then the embedded server has been stopped.
    pub(super) async fn open(
        global: &Global,
        config: Option<&Config>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let configured = config.map_or_else(database_url_from_environment, Config::database_url);
        let settings = embedded_settings(global, config.map(|config| config.directory.as_path()));
        let sessions = config.map(|config| config.sessions.clone());
        let sessions = sessions.unwrap_or_default();
        Self::open_url(configured, &sessions, settings, None, stop).await
    }

    /// As [`Self::open`], but waits for an unreachable server as long as the configuration says.
    pub(super) async fn wait_for(
        global: &Global,
        config: &Config,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let settings = embedded_settings(global, Some(&config.directory));
        let patience = Some(Patience::new(config.give_up_after));
        Self::open_url(
            config.database_url(),
            &config.sessions,
            settings,
            patience,
            stop,
        )
        .await
    }

    pub(super) async fn open_url(
        url: Option<DatabaseUrl>,
        sessions: &Sessions,
        settings: embedded::Settings,
        patience: Option<Patience>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (url, embedded) = match url {
            Some(url) => (url, None),
            None => {
                // A server that is just starting is waited for, and stopped below.
                let embedded = tokio::select! {
                    embedded = embedded::start(&settings) => embedded?,
                    () = async { stop.cancelled().await; sleep(CLOSE_SOON).await } => {
                        return Err(Interrupted.into());
                    }
                };
                (DatabaseUrl::new(embedded.url().to_owned()), Some(embedded))
            }
        };
        let connected = tokio::select! {
            connected = connect(&url, sessions, patience) => connected.map_err(anyhow::Error::from),
            () = stop.cancelled() => Err(Interrupted.into()),
        };
        let store = match connected {
            Ok(store) => store,
            Err(error) => {
                if let Some(embedded) = embedded {
                    embedded.stop().await?;
                }
                return Err(error);
            }
        };
        Ok(Self {
            store,
            url,
            embedded,
        })
    }

    /// Starts the embedded server again if it has ended; false if it is at work, or not used.
    pub(super) async fn revive(&self) -> anyhow::Result<bool> {
        match &self.embedded {
            Some(embedded) if !embedded.is_running() => {
                tracing::warn!("the embedded PostgreSQL has ended unexpectedly; starting it again");
                Ok(embedded.revive().await?)
            }
            _ => Ok(false),
        }
    }

    /// True if the embedded server is used.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// As [`Self::close`], but waits only shortly after a stop: the embedded server has been told to
    /// end by then.
    pub(super) async fn close_after(self, stop: &CancellationToken) -> anyhow::Result<()> {
        if !stop.is_cancelled() {
            return self.close().await;
        }
        if let Ok(closed) = timeout(CLOSE_SOON, self.close()).await {
            return closed;
        }
        tracing::warn!("the database is not closed yet, and is left to itself");
        Ok(())
    }

    /// Closes the connections, and stops the embedded server unless another process uses it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        // A connection whose server does not answer stays in use.
        if timeout(CLOSE_POOL, self.store.close()).await.is_err() {
            tracing::debug!("connections to the database are still in use");
        }
        if let Some(embedded) = self.embedded {
            embedded.stop().await?;
        }
        Ok(())
    }
}

/// Opens and migrates the database, runs `work`, and closes the database even if `work` fails, or a
/// signal ends it.
pub(super) async fn with_database<T>(
    global: &Global,
    config: Option<&Config>,
    work: impl AsyncFnOnce(&Database) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let stop = stop::quietly()?;
    let database = Database::open(global, config, &stop).await?;
    let work = async {
        database.store.migrate().await?;
        work(&database).await
    };
    let result = tokio::select! {
        result = work => result,
        () = stop.cancelled() => Err(Interrupted.into()),
    };
    database.close_after(&stop).await?;
    result
}

async fn connect(
    url: &DatabaseUrl,
    sessions: &Sessions,
    mut patience: Option<Patience>,
) -> Result<Store, PipelineError> {
    loop {
        match (Store::connect(url, sessions).await, &mut patience) {
            (Ok(store), _) => return Ok(store),
            (Err(error), Some(patience)) => patience.wait(PipelineError::from(error)).await?,
            (Err(error), None) => return Err(error.into()),
        }
    }
}

/// Settings of the embedded server, which lives in `.forebay/` beside the configuration.
pub(super) fn embedded_settings(global: &Global, directory: Option<&Path>) -> embedded::Settings {
    let beside = || {
        global
            .config
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
    };
    let directory = directory.or_else(beside).unwrap_or(Path::new("."));
    embedded::Settings {
        directory: directory.join(".forebay"),
        pg_dir: global.pg_dir.clone(),
        cache_directory: None,
        listen: None,
    }
}

/// Loads the configuration, which must exist.
pub(super) fn config(global: &Global) -> anyhow::Result<Arc<Config>> {
    Ok(Arc::new(Config::load(&global.config)?))
}

/// Loads the configuration, for commands that do not need one. A file that is named must exist.
pub(super) fn config_if_any(global: &Global) -> anyhow::Result<Option<Config>> {
    if global.config == Path::new(DEFAULT_CONFIG) && !global.config.exists() {
        Ok(None)
    } else {
        Ok(Some(Config::load(&global.config)?))
    }
}

/// Loads the configuration for commands that a user waits for: they give up after 2 s.
pub(super) fn config_with_little_patience(global: &Global) -> anyhow::Result<Arc<Config>> {
    let mut config = Config::load(&global.config)?;
    config.give_up_after = config.give_up_after.min(PATIENCE);
    Ok(Arc::new(config))
}

/// Directory of the compiled plugins.
fn plugin_cache() -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("forebay").join("plugins"))
}

/// An engine with the limits and permissions of the configuration, or else the defaults. It compiles
/// in processes of this program.
pub(super) fn engine(config: Option<&Config>) -> anyhow::Result<Arc<Engine>> {
    let mut setup = Setup {
        cache_directory: plugin_cache(),
        compiler: compile::compiler(),
        ..Setup::default()
    };
    if let Some(config) = config {
        setup.limits = config.plugins.limits;
        setup.own_limits.clone_from(&config.plugins.own_limits);
        setup.permissions = config.plugins.permissions.clone();
    }
    Ok(Engine::with(setup)?)
}

/// Loads every plugin of the directory. A file that is refused is an error, unless a copy of its
/// last good version was kept.
fn load_plugins(config: &Config) -> anyhow::Result<Arc<PluginWatcher>> {
    let engine = engine(Some(config))?;
    let path = &config.plugins.directory;
    let wants_none = config
        .pipelines
        .iter()
        .all(|pipeline| pipeline.plugins.as_ref().is_some_and(Vec::is_empty));
    if !path.is_dir() && !wants_none {
        let hint = "create it, name another one in plugins.directory, or set `plugins = []` in the pipelines";
        return Err(UsageError(format!(
            "plugin directory {} does not exist\n  hint: {hint}",
            path.display()
        ))
        .into());
    }
    let kept = config.directory.join(".forebay").join("plugins");
    let directory = Directory::open(engine, path, &kept, Box::new(cases::pass))?;
    let mut broken = Vec::new();
    let plugins = directory.plugins();
    for refused in directory.refused() {
        let is_there = plugins.iter().any(|it| it.id().name == refused.name);
        if !is_there && directory.has_kept(&refused.name) {
            let (plugin, error) = (refused.name, refused.error);
            tracing::error!(plugin, %error, "plugin file refused; the copy of the last good version is used");
        } else {
            broken.push(refused.error.to_string());
        }
    }
    if !broken.is_empty() {
        return Err(UsageError(broken.join("\n")).into());
    }
    for name in directory.engine().permissions().grants.keys() {
        if !plugins.iter().any(|plugin| plugin.id().name == *name) {
            tracing::warn!(plugin = name, "grants name a plugin that does not exist");
        }
    }
    for name in directory.engine().with_own_limits() {
        if !plugins.iter().any(|plugin| plugin.id().name == name) {
            tracing::warn!(
                plugin = name,
                "plugins.limits has a table for a plugin that does not exist"
            );
        }
    }
    Ok(PluginWatcher::new(directory))
}

/// Loads the plugins and migrates the database: all that pipelines need. A server that takes no writes
/// is waited for.
pub(super) async fn host(config: &Arc<Config>, database: &Database) -> anyhow::Result<Host> {
    let plugins = load_plugins(config)?;
    let mut patience = Patience::new(config.give_up_after);
    while let Err(error) = database.store.migrate().await {
        let waited = patience.wait(PipelineError::from(error)).await;
        waited.context("cannot migrate the database")?;
    }
    Ok(Host {
        config: Arc::clone(config),
        store: database.store.clone(),
        plugins,
    })
}
