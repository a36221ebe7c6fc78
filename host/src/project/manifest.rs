//! `forebay-plugin.toml`: the manifest of a project.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ProjectError;
use crate::plugin::is_name;

/// Name of the file.
pub(super) const MANIFEST: &str = "forebay-plugin.toml";

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

/// A world: the roles of a plugin. Those of two roles are in a file of the project, `wit/roles.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// `transform`.
    Transformer,
    /// `validate`.
    Validator,
    /// `dead-letter-policy`.
    Router,
    /// `transform` and `validate`.
    TransformValidate,
    /// `transform` and `dead-letter-policy`.
    TransformPolicy,
    /// `validate` and `dead-letter-policy`.
    ValidatePolicy,
    /// All three roles.
    Plugin,
}

impl World {
    /// Its name in the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transformer => "transformer",
            Self::Validator => "validator",
            Self::Router => "router",
            Self::TransformValidate => "transform-validate",
            Self::TransformPolicy => "transform-policy",
            Self::ValidatePolicy => "validate-policy",
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
    /// How it is built.
    pub recipe: Recipe,
    /// Directory of the interface, relative to the project.
    pub wit: PathBuf,
}

/// How a plugin is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// With the tools of a language that is known here.
    Known {
        /// Language, which determines the tools.
        language: Language,
        /// World, which determines the exports.
        world: World,
    },
    /// With a command of the project's own.
    Own(OwnBuild),
}

/// A command of a project that builds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnBuild {
    /// Program and arguments; not empty.
    pub command: Vec<String>,
    /// File that it writes, relative to the project: a component, or a core module.
    pub output: PathBuf,
    /// World of the core module, if it is one.
    pub world: Option<World>,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    language: Option<Language>,
    world: Option<World>,
    #[serde(default = "wit")]
    wit: PathBuf,
    build: Option<Vec<String>>,
    output: Option<PathBuf>,
}

fn wit() -> PathBuf {
    PathBuf::from("wit")
}

const KEYS: &str = "its keys are `name`, `language` (rust, typescript, python, go, c, zig), `world` (transformer, validator, router, transform-validate, transform-policy, validate-policy, plugin), and `wit` if that is not \"wit\"; for another language `build`, a command, and `output`, the file that it writes";

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
        let file: File = toml::from_str(&text)
            .map_err(|error| unfit(error.to_string().trim_end().to_owned(), KEYS))?;
        if !is_name(&file.name) {
            let hint = "use lower-case words joined by hyphens, 1 to 64 characters";
            return Err(unfit(
                format!("`{}` is not a valid plugin name", file.name),
                hint,
            ));
        }
        let recipe = recipe(file.language, file.world, file.build, file.output)
            .map_err(|what| unfit(what.to_owned(), KEYS))?;
        let needs_wit = !matches!(&recipe, Recipe::Own(own) if own.world.is_none());
        if needs_wit && !directory.join(&file.wit).is_dir() {
            let hint = "`wit` names the directory of the interface, relative to this file";
            return Err(unfit(
                format!("there is no directory {}", file.wit.display()),
                hint,
            ));
        }
        Ok(Self {
            directory: directory.to_owned(),
            name: file.name,
            recipe,
            wit: file.wit,
        })
    }
}

/// What the keys of a manifest say together.
fn recipe(
    language: Option<Language>,
    world: Option<World>,
    build: Option<Vec<String>>,
    output: Option<PathBuf>,
) -> Result<Recipe, &'static str> {
    match (language, build, output) {
        (Some(language), None, None) => {
            let world = world.ok_or("`world` is missing")?;
            Ok(Recipe::Known { language, world })
        }
        (None, Some(command), _) if command.is_empty() => Err("`build` is empty"),
        (None, Some(command), Some(output)) => Ok(Recipe::Own(OwnBuild {
            command,
            output,
            world,
        })),
        (None, Some(_), None) => Err("`output` is missing"),
        (Some(_), Some(_), _) => Err("has `language` and `build`"),
        (_, None, Some(_)) => Err("has `output` without `build`"),
        (None, None, None) => Err("has neither `language` nor `build`"),
    }
}
