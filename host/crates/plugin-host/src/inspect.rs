//! Facts about a file, plugin or not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::component::{Plugin, Roles};
use super::imports::{INTERFACE, Import, PACKED, interface_version};
use super::load_error::LoadError;

/// Facts about a file, gathered while it is loaded, up to the point where it is refused.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) size: Option<u64>,
    pub(super) digest: Option<String>,
    pub(super) compiled: Option<(Duration, bool)>,
    pub(super) imports: Vec<Import>,
    pub(super) exports: Vec<String>,
}

/// Result of inspecting a file.
#[derive(Debug)]
pub struct Inspection {
    /// Path of the file.
    pub path: PathBuf,
    pub(super) found: Found,
    /// The plugin, or the reason why the file was refused.
    pub plugin: Result<Arc<Plugin>, LoadError>,
}

impl Inspection {
    /// Bytes of the file, if it is a regular one.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.found.size
    }

    /// SHA-256 in lower-case hexadecimal, if the file was read and has the header of a component.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.found.digest.as_deref()
    }

    /// Time to compile the component or to load it from the cache, and true if it was cached.
    #[must_use]
    pub fn compiled(&self) -> Option<(Duration, bool)> {
        self.found.compiled
    }

    /// Imports of the component; empty if it was not compiled.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.found.imports
    }

    /// Names that the component exports; empty if it was not compiled.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.found.exports
    }

    /// Roles that the component exports, judged by name.
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

    /// Version of the plugin interface that the component was built for.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        let exports = self.found.exports.iter().map(String::as_str);
        let imports = self.found.imports.iter().map(|it| it.name.as_str());
        let mut versions = exports.chain(imports).filter_map(interface_version);
        versions.find_map(|(package, version)| (package == INTERFACE).then_some(version))
    }

    /// Version of the packed form of its roles, if it exports that form.
    #[must_use]
    pub fn packed(&self) -> Option<&str> {
        let mut versions = self.exports().iter().filter_map(|it| interface_version(it));
        versions.find_map(|(package, version)| (package == PACKED).then_some(version))
    }
}
