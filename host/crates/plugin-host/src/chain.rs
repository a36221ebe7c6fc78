//! The plugins of a pipeline, in order, with their settings.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::call_error::CallError;
use super::component::Plugin;
use super::engine::apart;
use super::instance::Instance;
use crate::row::PluginId;

/// Reasons why plugins cannot form a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The plugin cannot be configured.
    #[error("plugin {plugin} refuses its settings: {message}")]
    Settings {
        /// Name of the plugin.
        plugin: String,
        /// Message of the plugin.
        message: String,
    },
    /// More than one plugin is a policy.
    #[error("plugins {} all export dead-letter-policy; a pipeline may have at most one", .plugins.join(", "))]
    Policies {
        /// Names of these plugins, in order.
        plugins: Vec<String>,
    },
}

/// Settings of a plugin: keys and values, in the order of the configuration.
pub type Settings = Vec<(String, String)>;

/// A plugin that has accepted its settings and can join a chain without delay.
pub struct ConfiguredPlugin {
    pub(super) plugin: Arc<Plugin>,
    pub(super) settings: Settings,
    /// Configured instances that have not been called: a worker that takes up the plugin does
    /// not have to wait for one.
    warm: Mutex<Vec<Instance>>,
}

impl ConfiguredPlugin {
    /// Configures `warm` instances, at least one. Blocks until that is done.
    ///
    /// # Errors
    /// If the plugin refuses its settings or cannot be started.
    pub fn new(
        plugin: Arc<Plugin>,
        settings: Settings,
        warm: usize,
    ) -> Result<Arc<Self>, ChainError> {
        let instances: Result<Vec<_>, CallError> =
            apart(|| (0..warm.max(1)).map(|_| plugin.open(&settings)).collect());
        match instances {
            Ok(instances) => Ok(Arc::new(Self {
                plugin,
                settings,
                warm: Mutex::new(instances),
            })),
            Err(fault) => Err(ChainError::Settings {
                plugin: plugin.id().name.clone(),
                message: fault.message,
            }),
        }
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Returns an instance that has not been called yet.
    pub(super) fn open(&self) -> Result<Instance, CallError> {
        let warm = self
            .warm
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        warm.map_or_else(|| self.plugin.open(&self.settings), Ok)
    }
}

/// Plugins at one position of a chain.
#[derive(Clone)]
pub struct ChainEntry {
    /// Its answers take effect.
    pub active: Arc<ConfiguredPlugin>,
    /// Gets the same rows; its answers are only compared.
    pub shadow: Option<Arc<ConfiguredPlugin>>,
}

/// The plugins of one pipeline. Immutable and shared between threads: changing a plugin means
/// making another chain. A chunk meets one chain from its first plugin to its commit.
pub struct Chain {
    pub(super) entries: Vec<ChainEntry>,
}

impl Chain {
    /// Configures these plugins and makes a chain of them.
    ///
    /// # Errors
    /// All problems together.
    pub fn new(plugins: Vec<(Arc<Plugin>, Settings)>) -> Result<Arc<Self>, Vec<ChainError>> {
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        let has_one_policy = check_policies(plugins.iter().map(|(plugin, _)| plugin));
        for (plugin, settings) in plugins {
            match ConfiguredPlugin::new(plugin, settings, 1) {
                Ok(active) => entries.push(ChainEntry {
                    active,
                    shadow: None,
                }),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(has_one_policy.err());
        if errors.is_empty() {
            Ok(Arc::new(Self { entries }))
        } else {
            Err(errors)
        }
    }

    /// Makes a chain of configured plugins. Cheap: nothing is instantiated.
    ///
    /// # Errors
    /// If more than one of the active plugins is a policy.
    pub fn of(entries: Vec<ChainEntry>) -> Result<Arc<Self>, ChainError> {
        check_policies(entries.iter().map(|entry| &entry.active.plugin))?;
        Ok(Arc::new(Self { entries }))
    }

    /// The active plugins, in order.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.entries.iter().map(|entry| &entry.active.plugin)
    }

    /// Identities of the active plugins, in order.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<PluginId>> {
        self.plugins().map(|plugin| plugin.id())
    }
}

impl fmt::Debug for ConfiguredPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfiguredPlugin")
            .field(&self.plugin)
            .finish()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.plugins()).finish()
    }
}

/// Checks that at most one plugin is a policy.
fn check_policies<'p>(plugins: impl Iterator<Item = &'p Arc<Plugin>>) -> Result<(), ChainError> {
    let plugins: Vec<String> = plugins
        .filter(|plugin| plugin.roles().policy)
        .map(|plugin| plugin.id().name.clone())
        .collect();
    if plugins.len() > 1 {
        return Err(ChainError::Policies { plugins });
    }
    Ok(())
}
