//! Projects of plugins: written by `forebay plugin new`, built by `forebay plugin build`.
//!
//! A project is a directory with a `forebay-plugin.toml`, which says the language and the world.
//! Building runs the language's own tools in it, as commands that are shown and can be repeated
//! by hand. They are run as they are: a project is trusted like any source code that is built.
//! What comes out is put into place whole, or not at all.

mod build;
mod lock;
mod manifest;
mod pins;
mod scaffold;
mod steps;
mod tools;

use std::path::PathBuf;
use std::process::ExitStatus;

pub use build::Built;
pub(crate) use build::quoted;
pub use manifest::{Language, Project, World};
pub use scaffold::{New, Role};
pub use steps::Kind;

/// Why a project could not be built or written.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// It is not a project that can be built, or not a place to write one.
    #[error("{}: {what}\n  hint: {hint}", path.display())]
    Unfit {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// Programs that are needed are neither in the project nor on the search path.
    #[error("not found: {}\n  hint: {hint}", tools.join(", "))]
    Missing {
        /// By the name of the program.
        tools: Vec<&'static str>,
        /// The command that installs them.
        hint: String,
    },
    /// A tool did not do its work; it has said why.
    #[error("`{command}` failed: {status}")]
    Failed {
        /// As it was shown.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Reading, writing or starting something failed.
    #[error("cannot {what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
}

impl ProjectError {
    /// Whether it is the user's to mend before trying again.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Unfit { .. } | Self::Missing { .. } => true,
            Self::Failed { .. } | Self::Io { .. } => false,
        }
    }
}

/// For `map_err`: what was tried.
fn io(what: String) -> impl FnOnce(std::io::Error) -> ProjectError {
    move |error| ProjectError::Io { what, error }
}
