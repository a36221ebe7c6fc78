//! What plugins get beyond the interface: nothing, but for what the configuration grants.
//!
//! Grants are keyed by the name with which a plugin describes itself, as everything about
//! plugins is. `describe` is called before any of them holds, in the empty world; so it cannot
//! depend on what was granted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that is real for a plugin instead of empty. Each gives up that the same rows
/// always get the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Clocks that run. Waiting still ends at once: a guest cannot hold its thread.
    Clock,
    /// Random numbers that nobody can foresee.
    Random,
    /// What it prints goes to the host's standard error as it is, within
    /// [`Limits::output`](super::Limits::output).
    Stdio,
}

impl Grant {
    /// As the configuration names it.
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

/// What a plugin has been granted.
pub type Grants = BTreeSet<Grant>;

/// What becomes of imports of `wasi:*` that are not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wasi {
    /// They find an empty world that stands still: ordinary builds of any language load.
    #[default]
    Empty,
    /// The plugin is refused.
    Refuse,
}

/// What plugins may import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// About `wasi:*`.
    pub wasi: Wasi,
    /// By the plugin's name.
    pub grants: BTreeMap<String, Grants>,
}

impl Permissions {
    /// What the plugin of this name has been granted.
    #[must_use]
    pub fn of(&self, plugin: &str) -> Grants {
        self.grants.get(plugin).cloned().unwrap_or_default()
    }
}
