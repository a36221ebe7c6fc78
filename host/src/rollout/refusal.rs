//! Reasons for which a version of a plugin is not used.

use crate::plugin::ChainError;

/// Reason for which a new version of a plugin is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its settings or its place in the chain are invalid.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It misbehaved before.
    #[error("this file is barred: {0}")]
    Barred(String),
    /// It lacks a role of the active version: rows would go on unchecked.
    #[error(
        "it no longer exports {role}, which {version} does; restart the pipeline to do without"
    )]
    Role {
        /// The missing role.
        role: &'static str,
        /// The active version.
        version: String,
    },
}

/// Reason for which the plugins of a pipeline cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// There is no plugin of this name.
    #[error("no plugin `{0}`")]
    Missing(String),
    /// The plugin misbehaved before, and there is no version to fall back to.
    #[error("plugin {name} {version} is barred: {why}")]
    Barred {
        /// Name of the plugin.
        name: String,
        /// Version, as the plugin describes itself.
        version: String,
        /// Its misbehaviour.
        why: String,
    },
    /// A role is missing: rows would go on unchecked.
    #[error(transparent)]
    Role(Refusal),
    /// Its settings or its place in the chain are invalid.
    #[error(transparent)]
    Chain(#[from] ChainError),
}
