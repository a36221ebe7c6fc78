//! `forebay-plugin.toml`: the manifest of a project.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ProjectError;
use crate::plugin::is_name;

const MANIFEST: &str = "forebay-plugin.toml";

/// Language of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Language {
    /// Built with cargo, on the guest crate.
    Rust,
    /// Runs on QuickJS.
    TypeScript,
    /// Runs on CPython.
    Python,
    /// Built with the standard compiler and runtime.
    Go,
    /// Built with Zig as the compiler, and wasi-libc.
    C,
    /// Uses the bindings for C.
    Zig,
}

/// A world of `wit/plugin.wit`: the roles of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// `transform`.
    Transformer,
    /// `validate`.
    Validator,
    /// `dead-letter-policy`.
    Router,
    /// All three roles.
    Plugin,
}

impl World {
    /// Name of the world in `wit/plugin.wit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transformer => "transformer",
            Self::Validator => "validator",
            Self::Router => "router",
            Self::Plugin => "plugin",
        }
    }
}

/// A directory in which a plugin can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Path of the directory, as given.
    pub directory: PathBuf,
    /// Name of the plugin and of the built file.
    pub name: String,
    /// Language, which determines the tools.
    pub language: Language,
    /// World, which determines the exports.
    pub world: World,
    /// Directory of the interface, relative to the project.
    pub wit: PathBuf,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    language: Language,
    world: World,
    #[serde(default = "wit")]
    wit: PathBuf,
}

fn wit() -> PathBuf {
    PathBuf::from("wit")
}

impl Project {
    /// Reads a project's manifest.
    ///
    /// # Errors
    /// If the manifest does not exist or is invalid.
    pub fn open(directory: &Path) -> Result<Self, ProjectError> {
        let path = directory.join(MANIFEST);
        let unfit = |what: String, hint: &str| ProjectError::Unfit {
            path: path.clone(),
            what,
            hint: hint.to_owned(),
        };
        let text = fs::read_to_string(&path).map_err(|error| {
            let hint =
                "name the directory of a plugin's project, or write one with `forebay plugin new`";
            unfit(format!("cannot be read: {error}"), hint)
        })?;
        let keys = "its keys are `name`, `language` (rust, typescript, python, go, c, zig), `world` (transformer, validator, router, plugin), and `wit` if that is not \"wit\"";
        let file: File = toml::from_str(&text)
            .map_err(|error| unfit(error.to_string().trim_end().to_owned(), keys))?;
        if !is_name(&file.name) {
            let hint = "use lower-case words joined by hyphens, 1 to 64 characters";
            return Err(unfit(
                format!("`{}` is not a valid plugin name", file.name),
                hint,
            ));
        }
        if !directory.join(&file.wit).is_dir() {
            let hint = "`wit` names the directory of the interface, relative to this file";
            return Err(unfit(
                format!("there is no directory {}", file.wit.display()),
                hint,
            ));
        }
        Ok(Self {
            directory: directory.to_owned(),
            name: file.name,
            language: file.language,
            world: file.world,
            wit: file.wit,
        })
    }
}
