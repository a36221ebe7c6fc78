//! The programs that build plugins: how they are found and installed.
//!
//! A project's own tools take precedence over the search path. Nothing is downloaded here.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::pins::install;
use super::{Language, ProjectError};

/// Directories of a project in which its own tools are installed.
const OWN: [&str; 2] = [".venv/bin", "node_modules/.bin"];

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Bash,
    Cargo,
    ComponentizePy,
    ComponentizeQjs,
    Esbuild,
    Go,
    Node,
    Tsc,
    WasmTools,
    Zig,
}

impl Tool {
    /// Possible names of the program.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Bash => &["bash"],
            Self::Cargo => &["cargo"],
            Self::ComponentizePy => &["componentize-py"],
            Self::ComponentizeQjs => &["componentize-qjs"],
            Self::Esbuild => &["esbuild"],
            Self::Go => &["go"],
            Self::Node => &["node"],
            Self::Tsc => &["tsc"],
            Self::WasmTools => &["wasm-tools"],
            // Name in the Python package.
            Self::Zig => &["zig", "python-zig"],
        }
    }

    /// Preferred name of the program.
    pub(super) fn name(self) -> &'static str {
        self.names().first().copied().unwrap_or_default()
    }
}

/// Directories in which tools are looked up.
#[derive(Debug)]
pub(super) struct Tools {
    project: PathBuf,
    directories: Vec<PathBuf>,
}

impl Tools {
    /// Combines the directories of a project with the search path.
    pub(super) fn of(project: &Path, search: impl IntoIterator<Item = PathBuf>) -> Self {
        // Commands run in the project, so the paths of its tools must not be relative.
        let project = std::path::absolute(project).unwrap_or_else(|_| project.to_owned());
        let own = OWN.map(|directory| project.join(directory));
        Self {
            directories: own.into_iter().chain(search).collect(),
            project,
        }
    }

    /// Finds all of `tools`, in that order. Those of `also` only have to exist.
    pub(super) fn find(
        &self,
        tools: &[Tool],
        also: &[Tool],
        language: Option<Language>,
    ) -> Result<Vec<PathBuf>, ProjectError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for tool in tools.iter().chain(also) {
            match self.path_of(*tool) {
                Some(path) => found.push(path),
                None if missing.contains(&tool.name()) => {}
                None => missing.push(tool.name()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        Err(ProjectError::Missing {
            hint: language.map_or_else(hint_of_tools, |it| hint(&self.project, it, &missing)),
            tools: missing,
        })
    }

    fn path_of(&self, tool: Tool) -> Option<PathBuf> {
        let mut paths = tool.names().iter().flat_map(|name| {
            self.directories
                .iter()
                .map(move |directory| directory.join(name))
        });
        paths.find(|path| is_program(path))
    }

    /// Search path for the tools, which call each other.
    pub(super) fn search_path(&self) -> OsString {
        // A directory with a colon in its name cannot be on a search path.
        let listed = self.directories.iter();
        let usable = listed.filter(|path| !path.as_os_str().as_encoded_bytes().contains(&b':'));
        std::env::join_paths(usable).unwrap_or_default()
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// For projects that have a command of their own.
fn hint_of_tools() -> String {
    let what = super::pins::versions(Language::Go);
    let wanted = what
        .iter()
        .filter(|version| version.starts_with("wasm-tools"));
    let wanted: Vec<&str> = wanted.map(String::as_str).collect();
    format!(
        "in the project: python3 -m venv .venv && .venv/bin/pip install {}",
        wanted.join(" ")
    )
}

fn hint(project: &Path, language: Language, missing: &[&str]) -> String {
    let install = install(language, |file| project.join(file).is_file());
    match language {
        Language::Rust => {
            let ways = [
                (Tool::Cargo, "install Rust with rustup: https://rustup.rs"),
                (
                    Tool::Bash,
                    "install bash with your system's package manager",
                ),
            ];
            let ways = ways
                .iter()
                .filter(|(tool, _)| missing.contains(&tool.name()));
            ways.map(|(_, way)| *way).collect::<Vec<_>>().join("; ")
        }
        Language::TypeScript if missing.contains(&Tool::Node.name()) => {
            format!(
                "install Node.js 20 or newer, https://nodejs.org; then in the project: {install}"
            )
        }
        _ => format!("in the project: {install}"),
    }
}
