//! A build as commands, whatever the language.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::project::Project;
use crate::project::tools::Tool;

/// Directory of intermediate files.
pub(in crate::project) const SCRATCH: &str = "build";

/// Imports of a plugin besides the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whatever it takes for the host to hear what the plugin prints: `wasi:*`, but for Rust, whose
    /// crate prints through the interface.
    Heard,
    /// None: calls of WASI are answered inside the component, and prints are lost.
    Stubbed,
    /// `wasi:*` in every language, as in its standard build.
    Wasi,
}

/// A command.
#[derive(Debug)]
pub(in crate::project) struct Step {
    pub(in crate::project) tool: Tool,
    pub(in crate::project) arguments: Vec<OsString>,
    pub(in crate::project) environment: Vec<(&'static str, OsString)>,
    /// A script that runs the command.
    pub(in crate::project) wrapper: Option<&'static str>,
}

/// The commands of a build, in order.
#[derive(Debug)]
pub(in crate::project) struct Plan {
    /// Files needed by the commands: path in the project, and content.
    pub(in crate::project) files: Vec<(&'static str, Cow<'static, [u8]>)>,
    pub(in crate::project) steps: Vec<Step>,
    /// Further tools that the commands need.
    pub(in crate::project) also: &'static [Tool],
    /// Path of the built plugin in the project; `None` if cargo reports it.
    pub(in crate::project) result: Option<PathBuf>,
}

impl Step {
    pub(in crate::project) fn new(
        tool: Tool,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            tool,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            wrapper: None,
        }
    }

    pub(in crate::project) fn and(
        mut self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(super) fn with(mut self, environment: &[(&'static str, &str)]) -> Self {
        let owned = environment.iter().map(|(key, value)| (*key, value.into()));
        self.environment.extend(owned);
        self
    }
}

/// Path to which the last command writes the plugin.
pub(in crate::project) fn built(project: &Project) -> PathBuf {
    Path::new(SCRATCH).join(format!("{}.wasm", project.name))
}
