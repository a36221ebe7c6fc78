//! Creates a new project, which builds and whose first cases pass.
//!
//! The files are embedded from `templates/`: those of all projects, those of a language, and those
//! of a role. A project is complete: building it needs the tools of its language and nothing from
//! this repository.

use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::lock::{cargo_lock, has_package};
use super::pins::install;
use super::{Language, ProjectError, World, io, pins};
use crate::plugin::is_name;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
/// Bindings for all three roles: those of the examples.
static BINDINGS: [(Language, Dir<'_>); 5] = [
    (
        Language::TypeScript,
        include_dir!("$CARGO_MANIFEST_DIR/../examples/plugins/typescript/bindings"),
    ),
    (
        Language::Python,
        include_dir!("$CARGO_MANIFEST_DIR/../examples/plugins/python/bindings"),
    ),
    (
        Language::Go,
        include_dir!("$CARGO_MANIFEST_DIR/../examples/plugins/go/bindings"),
    ),
    (
        Language::C,
        include_dir!("$CARGO_MANIFEST_DIR/../examples/plugins/c/bindings"),
    ),
    (
        Language::Zig,
        include_dir!("$CARGO_MANIFEST_DIR/../examples/plugins/zig/bindings"),
    ),
];
/// The guest crate, with the interface.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../plugins/sdk");
const INTERFACE: &str = include_str!("../../../wit/plugin.wit");

/// Role of a new plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Changes rows or drops them.
    Transform,
    /// Rejects rows that must not be written.
    Validate,
    /// Decides about failed rows.
    Policy,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Validate => "validate",
            Self::Policy => "policy",
        }
    }

    /// Purpose of the first version.
    fn purpose(self) -> &'static str {
        match self {
            Self::Transform => "it trims the white space around texts.",
            Self::Validate => "it rejects rows that lack a required column.",
            Self::Policy => "it sorts failed rows into a queue for each stage.",
        }
    }

    /// Example line for the configuration.
    fn setting(self) -> &'static str {
        match self {
            Self::Transform => NO_SETTING,
            Self::Validate => "required = \"title, city\"",
            Self::Policy => "retries = \"3\"",
        }
    }
}

const NO_SETTING: &str = "# none yet";

/// The world of these roles, which are sorted. It has all of them if they are none.
fn world_of(roles: &[Role]) -> World {
    match roles {
        [Role::Transform] => World::Transformer,
        [Role::Validate] => World::Validator,
        [Role::Policy] => World::Router,
        [Role::Transform, Role::Validate] => World::TransformValidate,
        [Role::Transform, Role::Policy] => World::TransformPolicy,
        [Role::Validate, Role::Policy] => World::ValidatePolicy,
        _ => World::Plugin,
    }
}

/// The worlds of two roles.
fn roles_wit(world: World) -> Option<String> {
    let (one, other) = match world {
        World::TransformValidate => ("transformer", "validator"),
        World::TransformPolicy => ("transformer", "router"),
        World::ValidatePolicy => ("validator", "router"),
        World::Transformer | World::Validator | World::Router | World::Plugin => return None,
    };
    let name = world.name();
    Some(format!(
        "package forebay:plugin@0.1.0;\n\n/// Two roles in one plugin.\n\
         world {name} {{ include {one}; include {other}; }}\n"
    ))
}

/// A project to create.
#[derive(Clone, Debug)]
pub struct New {
    /// Name of the plugin.
    pub name: String,
    /// Language of the plugin.
    pub language: Language,
    /// Roles of the plugin. With several, the project begins with all of them, and no rules.
    pub roles: Vec<Role>,
}

impl New {
    /// Creates the project in a directory that is empty or does not exist yet. Returns the files,
    /// relative to it.
    ///
    /// # Errors
    /// If the name is invalid, or the directory cannot be used.
    pub fn write(&self, directory: &Path) -> Result<Vec<PathBuf>, ProjectError> {
        self.check(directory)?;
        let mut files = self.files();
        files.sort();
        for (name, bytes) in &files {
            let path = directory.join(name);
            let write = || {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(&path, bytes)
            };
            write().map_err(io(format!("write {}", path.display())))?;
        }
        Ok(files.into_iter().map(|(name, _)| name.into()).collect())
    }

    /// The command that installs the tools into the project; `None` for tools of the system.
    #[must_use]
    pub fn install(&self) -> Option<String> {
        let own = self.language != Language::Rust;
        own.then(|| install(self.language, |_| true))
    }

    fn check(&self, directory: &Path) -> Result<(), ProjectError> {
        let unfit = |what: String, hint: &str| ProjectError::Unfit {
            path: directory.to_owned(),
            what,
            hint: hint.to_owned(),
        };
        let letter = |c: char| c.is_ascii_lowercase();
        if !is_name(&self.name) || !self.name.starts_with(letter) {
            let hint = "use lower-case words joined by hyphens, 1 to 64 characters, the first of them a letter";
            return Err(unfit(
                format!("`{}` is not a valid plugin name", self.name),
                hint,
            ));
        }
        if self.language == Language::Rust && has_package(&self.name) {
            let what = format!(
                "`{}` is the name of a package that plugins in Rust depend on",
                self.name
            );
            return Err(unfit(what, "choose another name"));
        }
        let used = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
        if used || directory.is_file() {
            let hint = "choose another directory with --directory";
            return Err(unfit("already exists and is not empty".to_owned(), hint));
        }
        Ok(())
    }

    /// The roles, in order and once each.
    fn roles(&self) -> Vec<Role> {
        let mut roles = self.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    /// The only role, or else the name of what stands for several.
    fn kind(&self) -> &'static str {
        match self.roles().as_slice() {
            [role] => role.name(),
            _ => "several",
        }
    }

    /// All files by path.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let (language, kind) = (self.language.name(), self.kind());
        let mut files = Vec::new();
        for layer in [
            "every".to_owned(),
            format!("{language}/every"),
            format!("{language}/{kind}"),
        ] {
            self.add(&TEMPLATES, &layer, "", &mut files);
        }
        if self.language == Language::Zig {
            let bindings = format!("c/{kind}/bindings");
            self.add(&TEMPLATES, &bindings, "bindings/", &mut files);
        }
        if kind == "several" {
            self.add_bindings(&mut files);
        }
        if let Some(cases) = TEMPLATES.get_file(format!("roles/{kind}.cases.toml")) {
            let bytes = self.filled(cases.contents());
            files.push((format!("{}.cases.toml", self.name), bytes));
        }
        self.add_dependencies(&mut files);
        files
    }

    /// Adds the bindings for all roles that are not there yet. Which of them a component has is said
    /// by its world.
    fn add_bindings(&self, files: &mut Vec<(String, Vec<u8>)>) {
        let found = BINDINGS
            .iter()
            .find(|(language, _)| *language == self.language);
        let Some((_, bindings)) = found else {
            return;
        };
        let mut all = Vec::new();
        self.add(bindings, "", "bindings/", &mut all);
        for (name, bytes) in all {
            let is_there = files.iter().any(|(present, _)| *present == name);
            // The example collects Go's garbage by itself, and an object of C has its world.
            if is_there || name.ends_with("/collect.go") || name.ends_with(".o") {
                continue;
            }
            let bytes = match String::from_utf8(bytes) {
                Ok(text) => text
                    .replace("row-rules-go", "example.com/plugin")
                    .into_bytes(),
                Err(binary) => binary.into_bytes(),
            };
            files.push((name, bytes));
        }
    }

    /// Adds the files of a directory. Lines of a second `.gitignore` are appended to the first.
    fn add(&self, from: &Dir<'_>, path: &str, to: &str, files: &mut Vec<(String, Vec<u8>)>) {
        let Some(directory) = (if path.is_empty() {
            Some(from)
        } else {
            from.get_dir(path)
        }) else {
            return;
        };
        let mut waiting = vec![directory];
        while let Some(directory) = waiting.pop() {
            waiting.extend(directory.dirs());
            for file in directory.files() {
                let below = file.path().strip_prefix(path).unwrap_or(file.path());
                // With a dot, the file would hide files of this repository.
                let name = below.to_string_lossy().replace("gitignore", ".gitignore");
                let name = format!("{to}{name}");
                let bytes = self.filled(file.contents());
                match files.iter_mut().find(|(present, _)| *present == name) {
                    Some((_, present)) => present.extend(bytes),
                    None => files.push((name, bytes)),
                }
            }
        }
    }

    fn add_dependencies(&self, files: &mut Vec<(String, Vec<u8>)>) {
        let mut put = |name: &str, text: &str| files.push((name.to_owned(), text.into()));
        match self.language {
            Language::Rust => {
                put("Cargo.lock", &cargo_lock(&self.name));
                self.add(&SDK, "", "forebay-plugin/", files);
                return;
            }
            Language::TypeScript => {
                put("package.json", pins::PACKAGE);
                put("package-lock.json", pins::PACKAGE_LOCK);
            }
            Language::Python | Language::Go | Language::C | Language::Zig => {
                put("requirements.txt", &pins::requirements(self.language));
            }
        }
        put("wit/plugin.wit", INTERFACE);
        if let Some(worlds) = roles_wit(world_of(&self.roles())) {
            put("wit/roles.wit", &worlds);
        }
    }

    /// Fills in the placeholders of a template. Other files stay as they are.
    fn filled(&self, template: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(template) else {
            return template.to_owned();
        };
        if !text.contains("{{") {
            return template.to_owned();
        }
        let words = self.language.words();
        let roles = self.roles();
        let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let mut text = chosen(text, &names);
        let (purpose, setting) = match roles.as_slice() {
            [role] => (role.purpose(), role.setting()),
            _ => ("it has several roles, and changes nothing yet.", NO_SETTING),
        };
        for (placeholder, with) in [
            ("name", self.name.as_str()),
            ("language", self.language.name()),
            ("Language", words.name),
            ("world", world_of(&roles).name()),
            ("roles", &names.join(", ")),
            ("wit", words.wit),
            ("purpose", purpose),
            ("setting", setting),
            ("tools", words.tools),
            ("install", &install(self.language, |_| true)),
            ("entry", words.entry),
            ("described", words.described),
            ("bindings", words.bindings),
        ] {
            text = text.replace(&format!("{{{{{placeholder}}}}}"), with);
        }
        text.into_bytes()
    }
}

/// Leaves out what belongs to other roles: the lines between `{{#role}}` and `{{/role}}`, or from
/// `{{^role}}` on what belongs to a role that is there.
fn chosen(template: &str, roles: &[&str]) -> String {
    let mut text = String::new();
    let mut is_kept = true;
    for line in template.split_inclusive('\n') {
        let mark = line
            .trim()
            .strip_prefix("{{")
            .and_then(|it| it.strip_suffix("}}"));
        match mark.map(|mark| mark.split_at_checked(1).unwrap_or_default()) {
            Some(("#", role)) => is_kept = roles.contains(&role),
            Some(("^", role)) => is_kept = !roles.contains(&role),
            Some(("/", _)) => is_kept = true,
            _ if is_kept => text.push_str(line),
            _ => {}
        }
    }
    text
}

/// Parts of the README that differ by language.
struct Words {
    name: &'static str,
    tools: &'static str,
    entry: &'static str,
    described: &'static str,
    wit: &'static str,
    bindings: &'static str,
}

impl Language {
    /// Name of the language in `forebay-plugin.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::TypeScript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
            Self::Zig => "zig",
        }
    }

    fn words(self) -> Words {
        let in_describe = "in its `describe`";
        let generated = "\n- `bindings/` is generated from it; do not edit its files.";
        let (name, tools, entry) = match self {
            Self::Rust => ("Rust", "Rust, installed with rustup", "src/lib.rs"),
            Self::TypeScript => ("TypeScript", "Node.js 20 or newer, and", "src/plugin.ts"),
            Self::Python => (
                "Python",
                "componentize-py, which includes Python",
                "src/plugin.py",
            ),
            Self::Go => ("Go", "Go and wasm-tools", "plugin.go"),
            Self::C => (
                "C",
                "Zig, which includes a C compiler, and wasm-tools",
                "src/plugin.c",
            ),
            Self::Zig => ("Zig", "Zig and wasm-tools", "src/plugin.zig"),
        };
        let is_rust = self == Self::Rust;
        Words {
            name,
            tools,
            entry,
            described: if is_rust {
                "in `Cargo.toml`"
            } else {
                in_describe
            },
            wit: if is_rust { "forebay-plugin/wit" } else { "wit" },
            bindings: if is_rust {
                "\n- `forebay-plugin/` is the guest crate for plugins in Rust."
            } else {
                generated
            },
        }
    }
}
