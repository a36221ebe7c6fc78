//! The plugins of a pipeline, in order, with their settings.

use std::sync::Arc;

use super::component::Plugin;
use super::engine::apart;
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

/// A plugin and what it is configured with.
pub(super) struct Link {
    pub(super) plugin: Arc<Plugin>,
    pub(super) settings: Settings,
}

/// The plugins of one pipeline. Immutable and shared between threads; to change a plugin is to
/// make another chain.
pub struct Chain {
    pub(super) links: Vec<Link>,
}

impl Chain {
    /// Makes a chain of these plugins, after each has accepted its settings in an instance
    /// made for that.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn new(plugins: Vec<(Arc<Plugin>, Settings)>) -> Result<Arc<Self>, Vec<ChainError>> {
        let mut errors = Vec::new();
        for (plugin, settings) in &plugins {
            if let Err(fault) = apart(|| plugin.open(settings).map(drop)) {
                let plugin = plugin.id().name.clone();
                errors.push(ChainError::Settings {
                    plugin,
                    message: fault.message,
                });
            }
        }
        let policies: Vec<_> = plugins
            .iter()
            .filter(|(plugin, _)| plugin.roles().policy)
            .map(|(plugin, _)| plugin.id().name.clone())
            .collect();
        if policies.len() > 1 {
            errors.push(ChainError::Policies { plugins: policies });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let links = plugins
            .into_iter()
            .map(|(plugin, settings)| Link { plugin, settings })
            .collect();
        Ok(Arc::new(Self { links }))
    }

    /// What a worker thread runs batches of this schema with.
    #[must_use]
    pub fn runner(self: &Arc<Self>, schema: &Arc<Schema>) -> Runner {
        Runner::new(self, schema)
    }

    /// The plugins, in order.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.links.iter().map(|link| &link.plugin)
    }

    /// The plugins' names, versions and digests, in order.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<PluginId>> {
        self.plugins().map(|plugin| plugin.id())
    }
}
