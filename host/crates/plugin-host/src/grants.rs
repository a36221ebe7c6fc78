//! Grants: plugins get nothing beyond the interface, except what the configuration grants.
//!
//! Grants are keyed by a plugin's name in its descriptor. `describe` is called without any grant,
//! so its answer cannot depend on them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of WASI that is real for a plugin instead of empty. With any grant, the same rows no
/// longer always get the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Clocks that run. Waiting still returns at once: a guest cannot block its thread.
    Clock,
    /// Random numbers that are unpredictable.
    Random,
    /// Output that goes to the host's standard error unchanged, up to
    /// [`Limits::output`](super::Limits::output).
    Stdio,
}

impl Grant {
    /// Name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Stdio => "stdio",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Grants of a plugin.
pub type Grants = BTreeSet<Grant>;

/// Treatment of `wasi:*` imports that are not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wasi {
    /// They get an empty stand-in, so that ordinary builds of any language load.
    #[default]
    Empty,
    /// The plugin is refused.
    Refuse,
}

/// Permissions of all plugins: what they may import beyond the interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Treatment of `wasi:*` imports.
    pub wasi: Wasi,
    /// Grants by plugin name.
    pub grants: BTreeMap<String, Grants>,
}

impl Permissions {
    /// Grants of the plugin with this name.
    #[must_use]
    pub fn of(&self, plugin: &str) -> Grants {
        self.grants.get(plugin).cloned().unwrap_or_default()
    }
}
