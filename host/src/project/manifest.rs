//! `forebay-plugin.toml`: what a project says about itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ProjectError;
use crate::plugin::is_name;

const MANIFEST: &str = "forebay-plugin.toml";

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Language {
    /// With cargo, on the guest crate.
    Rust,
    /// On QuickJS.
    TypeScript,
    /// On CPython.
    Python,
    /// The ordinary compiler and runtime.
    Go,
    /// With Zig as the compiler, and wasi-libc.
    C,
    /// Over the bindings for C.
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
    /// All of them.
    Plugin,
}

impl World {
    /// As `wit/plugin.wit` names it.
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
    /// Where it is, as it was named.
    pub directory: PathBuf,
    /// Of the plugin, and of the file that is built.
    pub name: String,
    /// Says which tools build it.
    pub language: Language,
    /// Says what it exports.
    pub world: World,
    /// The directory of the interface, relative to that of the project.
    pub wit: PathBuf,
}

/// The file's own shape.
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
    ///
    /// When there is none, or when it is wrong.
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
        let keys = "it has `name`, `language` (rust, typescript, python, go, c, zig), `world` (transformer, validator, router, plugin), and `wit` where that is not \"wit\"";
        let file: File = toml::from_str(&text)
            .map_err(|error| unfit(error.to_string().trim_end().to_owned(), keys))?;
        if !is_name(&file.name) {
            let hint = "use lower-case words joined by hyphens, 1 to 64 characters";
            return Err(unfit(format!("`{}` is no name", file.name), hint));
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
