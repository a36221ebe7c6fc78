//! A plugin that has been loaded.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use super::call_error::CallError;
use super::engine::Engine;
use super::grants::Grants;
use super::imports::Import;
use super::instance::{Instance, Prepared};
use super::limits::Limits;
use crate::row::PluginId;

/// Roles that a component exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Roles {
    /// Changes rows or drops them.
    pub transform: bool,
    /// Finds reasons why rows must not be written.
    pub validate: bool,
    /// Decides the outcome of rows that failed.
    pub policy: bool,
}

impl Roles {
    pub(super) fn of(prepared: &Prepared) -> Self {
        Self {
            transform: prepared.transform.is_some(),
            validate: prepared.validate.is_some(),
            policy: prepared.policy.is_some(),
        }
    }

    /// Names of the interfaces of these roles.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [
            (self.transform, "transform"),
            (self.validate, "validate"),
            (self.policy, "dead-letter-policy"),
        ]
        .into_iter()
        .filter(|(has, _)| *has)
        .map(|(_, name)| name)
        .collect()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(", "))
    }
}

/// A plugin: compiled, linked, and checked against the interface.
pub struct Plugin {
    pub(super) id: Arc<PluginId>,
    pub(super) reads: Option<Vec<String>>,
    pub(super) path: PathBuf,
    pub(super) size: usize,
    pub(super) compile_time: Duration,
    pub(super) was_cached: bool,
    pub(super) imports: Vec<Import>,
    pub(super) grants: Grants,
    pub(super) prepared: Prepared,
    pub(super) engine: Arc<Engine>,
    pub(super) limits: Limits,
    /// Maximum linear memory of an instance so far, in bytes.
    pub(super) peak_memory: AtomicUsize,
    pub(super) said: Said,
}

/// What is said about a plugin once, and not at each of its calls.
#[derive(Debug)]
pub(super) struct Said {
    /// Its memory grows.
    pub(super) leak: Once,
    /// A call came near its deadline.
    pub(super) slow: Once,
    /// It reads a clock that stands still.
    pub(super) clock: Once,
    /// It reads a monotonic clock that stands still.
    pub(super) monotonic: Once,
    /// It reads random numbers that repeat.
    pub(super) random: Once,
}

impl Said {
    pub(super) fn nothing() -> Self {
        Self {
            leak: Once::new(),
            slow: Once::new(),
            clock: Once::new(),
            monotonic: Once::new(),
            random: Once::new(),
        }
    }
}

impl Plugin {
    /// Name, version and digest.
    #[must_use]
    pub fn id(&self) -> &Arc<PluginId> {
        &self.id
    }

    /// Roles that it exports.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles::of(&self.prepared)
    }

    /// Columns that it reads; `None` for all.
    #[must_use]
    pub fn reads(&self) -> Option<&[String]> {
        self.reads.as_deref()
    }

    /// File that it was loaded from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Time to compile it, or to load it from the cache.
    #[must_use]
    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }

    /// True if its compiled form was in the cache.
    #[must_use]
    pub fn was_cached(&self) -> bool {
        self.was_cached
    }

    /// Its imports, and how the host treats them.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// Its grants from the configuration.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Its limits: those of every plugin, or its own.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Opens a fresh instance and configures it.
    pub(super) fn open(&self, settings: &[(String, String)]) -> Result<Instance, CallError> {
        let name = &self.id.name;
        let instance = Instance::open(
            &self.engine,
            &self.prepared,
            name,
            &self.grants,
            self.limits,
        );
        let configured = instance.and_then(|mut instance| {
            instance.configure(settings)?;
            Ok(instance)
        });
        configured.map_err(|error| self.named(error))
    }

    /// Has a message name the plugin's own limits, where it has some.
    pub(super) fn named(&self, error: CallError) -> CallError {
        CallError {
            message: self.naming_limits(error.message),
            ..error
        }
    }

    /// The same for the text of a message.
    pub(super) fn naming_limits(&self, mut message: String) -> String {
        for key in self.limits.own_keys(&self.engine.limits()) {
            let own = format!("`plugins.limits.{}.{key}`", self.id.name);
            message = message.replace(&format!("`plugins.limits.{key}`"), &own);
        }
        message
    }

    /// Notes the memory of an instance; returns the maximum if this raises it.
    pub(super) fn raised(&self, memory: usize) -> Option<usize> {
        let before = self.peak_memory.fetch_max(memory, Ordering::Relaxed);
        (memory > before).then_some(memory)
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("id", &self.id)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
