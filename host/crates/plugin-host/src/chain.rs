//! The plugins of a pipeline, in order, with their settings.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::call_error::CallError;
use super::component::Plugin;
use super::engine::apart;
use super::instance::Instance;
use super::runner::Runner;
use crate::row::{PluginId, Schema};

/// Why plugins cannot work together as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The plugin cannot be configured, in its own words.
    #[error("plugin {plugin} refuses its settings: {message}")]
    Settings {
        /// Its name.
        plugin: String,
        /// What it says.
        message: String,
    },
    /// More than one plugin would decide what becomes of failed rows.
    #[error("plugins {} all export dead-letter-policy; a pipeline has at most one", .plugins.join(", "))]
    Policies {
        /// Their names, in order.
        plugins: Vec<String>,
    },
}

/// What a plugin is configured with: keys and values, in the order of the configuration.
pub type Settings = Vec<(String, String)>;

/// A plugin that has accepted its settings, and can be put into a chain at once.
pub struct ConfiguredPlugin {
    pub(super) plugin: Arc<Plugin>,
    pub(super) settings: Settings,
    /// Instances that are configured and have not been called: whoever takes the plugin up
    /// does not have to wait for one.
    warm: Mutex<Vec<Instance>>,
}

impl ConfiguredPlugin {
    /// Configures `warm` instances, at least one. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// When the plugin refuses its settings, or cannot be started.
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

    /// An instance that has not been called yet.
    pub(super) fn open(&self) -> Result<Instance, CallError> {
        let warm = self
            .warm
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        warm.map_or_else(|| self.plugin.open(&self.settings), Ok)
    }
}

/// A place in a chain.
#[derive(Clone)]
pub struct ChainEntry {
    /// What does the work.
    pub active: Arc<ConfiguredPlugin>,
    /// What gets the same rows beside it, without effect.
    pub shadow: Option<Arc<ConfiguredPlugin>>,
}

/// The plugins of one pipeline. Immutable and shared between threads; to change a plugin is to
/// make another chain. A chunk meets one chain from its first plugin to its commit.
pub struct Chain {
    pub(super) members: Vec<ChainEntry>,
}

impl Chain {
    /// Makes a chain of these plugins, after each has accepted its settings.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn new(plugins: Vec<(Arc<Plugin>, Settings)>) -> Result<Arc<Self>, Vec<ChainError>> {
        let (mut members, mut errors) = (Vec::new(), Vec::new());
        let policies = policies(plugins.iter().map(|(plugin, _)| plugin));
        for (plugin, settings) in plugins {
            match ConfiguredPlugin::new(plugin, settings, 1) {
                Ok(active) => members.push(ChainEntry {
                    active,
                    shadow: None,
                }),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(policies.err());
        if errors.is_empty() {
            Ok(Arc::new(Self { members }))
        } else {
            Err(errors)
        }
    }

    /// Makes a chain of links. Cheap: nothing is instantiated.
    ///
    /// # Errors
    ///
    /// When more than one of them has a policy.
    pub fn of(members: Vec<ChainEntry>) -> Result<Arc<Self>, ChainError> {
        policies(members.iter().map(|member| &member.active.plugin))?;
        Ok(Arc::new(Self { members }))
    }

    /// What a worker thread runs batches of this schema with.
    #[must_use]
    pub fn runner(self: &Arc<Self>, schema: &Arc<Schema>) -> Runner {
        Runner::new(self, schema)
    }

    /// The plugins, in order.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.members.iter().map(|member| &member.active.plugin)
    }

    /// The plugins' names, versions and digests, in order.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<PluginId>> {
        self.plugins().map(|plugin| plugin.id())
    }
}

impl fmt::Debug for ConfiguredPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.plugin).finish()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.plugins()).finish()
    }
}

/// A pipeline has one policy.
fn policies<'p>(plugins: impl Iterator<Item = &'p Arc<Plugin>>) -> Result<(), ChainError> {
    let plugins: Vec<String> = plugins
        .filter(|plugin| plugin.roles().policy)
        .map(|plugin| plugin.id().name.clone())
        .collect();
    if plugins.len() > 1 {
        return Err(ChainError::Policies { plugins });
    }
    Ok(())
}
