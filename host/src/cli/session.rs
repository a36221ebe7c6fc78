//! Opens what commands work with: configuration, database, plugins.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::compile;
use super::exit::UsageError;
use super::global::{DEFAULT_CONFIG, Global};
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

/// A database, with the embedded server if that is used.
pub(super) struct Database {
    pub store: Store,
    pub url: DatabaseUrl,
    embedded: Option<Embedded>,
}

impl Database {
    /// Opens the configured database, or that of `DATABASE_URL`, or the embedded one.
    pub(super) async fn open(global: &Global, config: Option<&Config>) -> anyhow::Result<Self> {
        let configured = config.map_or_else(database_url_from_environment, Config::database_url);
        let settings = embedded_settings(global, config.map(|config| config.directory.as_path()));
        let sessions = config.map(|config| config.sessions.clone());
        Self::open_url(configured, &sessions.unwrap_or_default(), settings, None).await
    }

    /// As [`Self::open`], but waits for an unreachable server as long as the configuration says.
    pub(super) async fn wait_for(global: &Global, config: &Config) -> anyhow::Result<Self> {
        let settings = embedded_settings(global, Some(&config.directory));
        Self::open_url(
            config.database_url(),
            &config.sessions,
            settings,
            Some(Patience::new(config.give_up_after)),
        )
        .await
    }

    pub(super) async fn open_url(
        url: Option<DatabaseUrl>,
        sessions: &Sessions,
        settings: embedded::Settings,
        patience: Option<Patience>,
    ) -> anyhow::Result<Self> {
        let (url, embedded) = match url {
            Some(url) => (url, None),
            None => {
                let embedded = embedded::start(&settings).await?;
                (DatabaseUrl(embedded.url().to_owned()), Some(embedded))
            }
        };
        let store = match connect(&url, sessions, patience).await {
            Ok(store) => store,
            Err(error) => {
                if let Some(embedded) = embedded {
                    embedded.stop().await?;
                }
                return Err(error.into());
            }
        };
        Ok(Self {
            store,
            url,
            embedded,
        })
    }

    /// True if the embedded server is used.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Closes the connections, and stops the embedded server unless another process uses it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.store.close().await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await?;
        }
        Ok(())
    }
}

/// Opens and migrates the database, runs `work`, and closes the database even if `work` fails.
pub(super) async fn with_database<T>(
    global: &Global,
    config: Option<&Config>,
    work: impl AsyncFnOnce(&Database) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let database = Database::open(global, config).await?;
    let result = async {
        database.store.migrate().await?;
        work(&database).await
    }
    .await;
    database.close().await?;
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

/// Loads the plugins and migrates the database: all that pipelines need.
pub(super) async fn host(config: &Arc<Config>, database: &Database) -> anyhow::Result<Host> {
    let plugins = load_plugins(config)?;
    database
        .store
        .migrate()
        .await
        .context("cannot migrate the database")?;
    Ok(Host {
        config: Arc::clone(config),
        store: database.store.clone(),
        plugins,
    })
}
