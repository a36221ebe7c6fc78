//! Plugin projects: created by `forebay plugin new`, built by `forebay plugin build`.
//!
//! A project is a directory with a `forebay-plugin.toml`, which names the language and the world.
//! Building runs the language's own tools in it, with commands that are shown and can be repeated
//! by hand. The tools run without a sandbox: a project is trusted like any source code that is
//! built. The result replaces the old component atomically.

mod build;
mod cargo;
mod lock;
mod manifest;
mod own;
mod pins;
mod process;
mod scaffold;
mod steps;
mod tools;

use std::path::PathBuf;
use std::process::ExitStatus;

pub use build::{Built, place};
pub use manifest::{Language, OwnBuild, Project, Recipe, World};
pub(crate) use process::quoted;
pub use scaffold::{New, Role};
pub use steps::Kind;

/// Errors of creating or building a project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The directory is not a project that can be built, or a project cannot be created there.
    #[error("{}: {what}\n  hint: {hint}", path.display())]
    Unfit {
        /// The file or directory.
        path: PathBuf,
        /// The problem.
        what: String,
        /// How to fix it.
        hint: String,
    },
    /// Required programs are neither in the project nor on the search path.
    #[error("not found: {}\n  hint: {hint}", tools.join(", "))]
    Missing {
        /// Names of the programs.
        tools: Vec<&'static str>,
        /// The command that installs them.
        hint: String,
    },
    /// A tool failed, after printing its own messages.
    #[error("`{command}` failed: {status}")]
    Failed {
        /// The command as it was shown.
        command: String,
        /// Exit status of the command.
        status: ExitStatus,
    },
    /// Reading, writing or starting something failed.
    #[error("cannot {what}: {error}")]
    Io {
        /// The operation.
        what: String,
        /// The cause.
        error: std::io::Error,
    },
}

impl ProjectError {
    /// True if the user must fix the project or install tools before trying again.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Unfit { .. } | Self::Missing { .. } => true,
            Self::Failed { .. } | Self::Io { .. } => false,
        }
    }
}

/// For `map_err`: adds the operation to an I/O error.
fn io(what: String) -> impl FnOnce(std::io::Error) -> ProjectError {
    move |error| ProjectError::Io { what, error }
}
