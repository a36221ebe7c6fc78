//! What can be known about a file, whether it is a plugin or not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::component::{Plugin, Roles};
use super::imports::{INTERFACE, Import, PACKED, interface_version};
use super::load::LoadError;

/// What was found out about a file while it was loaded, up to where it was refused.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) size: Option<u64>,
    pub(super) digest: Option<String>,
    pub(super) compiled: Option<(Duration, bool)>,
    pub(super) imports: Vec<Import>,
    pub(super) exports: Vec<String>,
}

/// A file that has been looked at.
#[derive(Debug)]
pub struct Inspection {
    /// Which.
    pub path: PathBuf,
    pub(super) found: Found,
    /// The plugin, or why it is none.
    pub plugin: Result<Arc<Plugin>, LoadError>,
}

impl Inspection {
    /// Bytes of the file, if it is one.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.found.size
    }

    /// SHA-256 in hexadecimal, if it was read and begins as a component does.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.found.digest.as_deref()
    }

    /// How long it took to have it compiled, and whether that was in the cache.
    #[must_use]
    pub fn compiled(&self) -> Option<(Duration, bool)> {
        self.found.compiled
    }

    /// What it imports; empty too where it could not be compiled.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.found.imports
    }

    /// The names that it exports; empty too where it could not be compiled.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.found.exports
    }

    /// The roles that it exports by name.
    #[must_use]
    pub fn roles(&self) -> Roles {
        let exports = |role: &str| {
            let names = self.exports().iter().map(String::as_str);
            let mut interfaces = names.filter(|name| interface_version(name).is_some());
            interfaces.any(|name| name.split(['/', '@']).nth(1) == Some(role))
        };
        Roles {
            transform: exports("transform"),
            validate: exports("validate"),
            policy: exports("dead-letter-policy"),
        }
    }

    /// The version of the plugin interface that it is made for.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        let exports = self.found.exports.iter().map(String::as_str);
        let imports = self.found.imports.iter().map(|it| it.name.as_str());
        let mut versions = exports.chain(imports).filter_map(interface_version);
        versions.find_map(|(package, version)| (package == INTERFACE).then_some(version))
    }

    /// The version of the packed form of its roles, if it has that.
    #[must_use]
    pub fn packed(&self) -> Option<&str> {
        let mut versions = self.exports().iter().filter_map(|it| interface_version(it));
        versions.find_map(|(package, version)| (package == PACKED).then_some(version))
    }
}
