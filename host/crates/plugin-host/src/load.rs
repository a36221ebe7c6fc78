//! From a file to a plugin that can be called.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::answer::Form;
use super::bindings::{dead_letter_policy, describe, packed, transform, validate};
use super::call_error::{CallError, Kind};
use super::component::{Plugin, Roles};
use super::engine::{Engine, attempt};
use super::grants::{Grants, Wasi};
use super::inspect::{Found, Inspection};
use super::instance::{Instance, Prepared};
use super::limits::{MAX_CODE, MAX_FIELD, MAX_FILE, MAX_MESSAGE, MAX_NAME, MAX_READS};
use super::sanitize::{is_name, line, shortened};
use super::{complexity, imports};
use crate::row::PluginId;

/// Why a file is not a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}; {hint}", line(path.display().to_string(), MAX_MESSAGE))]
pub struct LoadError {
    /// The file, or the directory.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// What is wrong and what to do about it.
type Wrong = (String, String);

impl Engine {
    /// Loads one plugin: compiles it or takes it from the cache, links it, and has it describe
    /// itself under the limits that hold for every call.
    ///
    /// Blocks for as long as compiling takes, 10 ms to 10 s.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not a plugin.
    pub fn load(self: &Arc<Self>, path: &Path) -> Result<Arc<Plugin>, LoadError> {
        self.inspect(path).plugin
    }

    /// Loads one plugin as [`Engine::load`] does, and keeps what was found out on the way:
    /// about a file that is refused, as far as that came.
    pub fn inspect(self: &Arc<Self>, path: &Path) -> Inspection {
        let mut found = Found::default();
        // What the compiler did not expect is a file's fault, and no reason to end the host.
        let loaded = attempt(|| self.try_load(path, &mut found)).unwrap_or_else(|_panic| {
            let what = "not a valid component: the compiler gave up on it";
            Err((what.to_owned(), "build it with current tools".to_owned()))
        });
        // Names of the file's and words of the guest's are among it.
        let plugin = loaded.map(Arc::new).map_err(|(what, hint)| LoadError {
            path: path.to_owned(),
            what: line(what, MAX_MESSAGE),
            hint: line(hint, MAX_MESSAGE),
        });
        Inspection {
            path: path.to_owned(),
            found,
            plugin,
        }
    }

    /// Every `*.wasm` of a directory, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn files_of(directory: &Path) -> Result<Vec<PathBuf>, LoadError> {
        wasm_files(directory).map_err(|error| LoadError {
            path: directory.to_owned(),
            what: format!("cannot read the plugin directory: {error}"),
            hint: "check `directory` under `[plugins]`".to_owned(),
        })
    }

    fn try_load(self: &Arc<Self>, path: &Path, found: &mut Found) -> Result<Plugin, Wrong> {
        let bytes = read(path, found)?;
        check_header(&bytes)?;
        let digest = hex(&Sha256::digest(&bytes));
        found.digest = Some(digest.clone());

        let began = Instant::now();
        let cached = self
            .cache()
            .and_then(|cache| cache.get(self.wasmtime(), &digest));
        let was_cached = cached.is_some();
        let component = match cached {
            Some(component) => component,
            None => {
                complexity::check(&bytes, self.limits().instances).map_err(|unfit| {
                    let hint = "build it again, as a plain component";
                    (unfit.to_string(), hint.to_owned())
                })?;
                self.compile(&bytes, &digest)?
            }
        };
        let compile_time = began.elapsed();
        found.compiled = Some((compile_time, was_cached));

        let prepared = self.link(&component, found)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        // What a plugin is called decides what it is granted, so nothing is granted yet.
        let descriptor = Instance::open(self, &prepared, &stem, &Grants::new())
            .map_err(|fault| does_not_start(&fault))?
            .describe()
            .map_err(|fault| {
                let hint = "`describe` must return what is fixed, without computing anything";
                (
                    format!("`describe` failed: {}", fault.message),
                    hint.to_owned(),
                )
            })?;
        let (name, version, reads) = checked(descriptor)?;
        let grants = self.permissions().of(&name);
        let imports = imports::of(&component, self, self.permissions().wasi, &grants);
        found.imports.clone_from(&imports);
        imports::check(&imports, &format!("plugin {name}"))?;
        Ok(Plugin {
            id: Arc::new(PluginId {
                name,
                version,
                digest,
            }),
            reads,
            path: path.to_owned(),
            size: bytes.len(),
            compile_time,
            was_cached,
            imports,
            grants,
            prepared,
            engine: Arc::clone(self),
        })
    }

    fn compile(&self, bytes: &[u8], digest: &str) -> Result<Component, Wrong> {
        let component = Component::new(self.wasmtime(), bytes).map_err(|error| {
            let what = format!("not a valid component: {}", error.root_cause());
            (
                what,
                "the file is truncated or damaged: build it again".to_owned(),
            )
        })?;
        if let Some(cache) = self.cache() {
            cache.put(&component, digest);
        }
        Ok(component)
    }

    fn link(&self, component: &Component, found: &mut Found) -> Result<Prepared, Wrong> {
        let ty = component.component_type();
        let exports = ty.exports(self.wasmtime());
        found.exports = exports.map(|(name, _)| line(name, MAX_NAME)).collect();
        found.imports = imports::of(component, self, Wasi::Empty, &Grants::new());
        imports::check_version(found.exports.iter().map(String::as_str))?;
        imports::check(&found.imports, "it")?;
        let linked = self.linker().instantiate_pre(component).map_err(|error| {
            let hint = "build it against `wit/` of this version";
            (
                format!("imports what the host has otherwise: {error:#}"),
                hint.to_owned(),
            )
        })?;
        let Ok(describe) = describe::GuestIndices::new(&linked) else {
            let what = "does not export `forebay:plugin/describe@0.1.0`".to_owned();
            return Err((what, format!("it exports {}", listed(&found.exports))));
        };
        let prepared = Prepared {
            describe,
            transform: match packed::transform::GuestIndices::new(&linked) {
                Ok(packed) => Some(Form::Packed(packed)),
                Err(_) => transform::GuestIndices::new(&linked).ok().map(Form::Rows),
            },
            validate: match packed::validate::GuestIndices::new(&linked) {
                Ok(packed) => Some(Form::Packed(packed)),
                Err(_) => validate::GuestIndices::new(&linked).ok().map(Form::Rows),
            },
            policy: dead_letter_policy::GuestIndices::new(&linked).ok(),
            linked,
        };
        if Roles::of(&prepared) == Roles::default() {
            let what = "exports no role of `forebay:plugin@0.1.0`".to_owned();
            let hint = format!(
                "export `transform`, `validate` or `dead-letter-policy`; it exports {}",
                listed(&found.exports)
            );
            return Err((what, hint));
        }
        Ok(prepared)
    }
}

fn does_not_start(fault: &CallError) -> Wrong {
    debug_assert_eq!(fault.kind, Kind::Unusable);
    let hint = "its exports must have the types of those in `wit/`, and it must start within \
                the limits of `[plugins]`";
    (
        format!("cannot be started: {}", fault.message),
        hint.to_owned(),
    )
}

pub(super) fn wasm_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The bytes of a file, which must be one: a pipe could make the host wait for ever.
fn read(path: &Path, found: &mut Found) -> Result<Vec<u8>, Wrong> {
    let unreadable = |error: io::Error| {
        (
            format!("cannot be read: {error}"),
            "check the path and its permissions".to_owned(),
        )
    };
    let (file, metadata) = open(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let what = "cannot be read: it is not a file".to_owned();
        return Err((what, "give the `.wasm` file".to_owned()));
    }
    found.size = Some(metadata.len());
    let mut bytes = Vec::new();
    if metadata.len() <= MAX_FILE {
        let mut file = file.take(MAX_FILE + 1);
        file.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    // It may have grown meanwhile.
    if metadata.len().max(bytes.len() as u64) > MAX_FILE {
        let what = format!("larger than {} MiB", MAX_FILE >> 20);
        return Err((what, "build it in release mode and strip it".to_owned()));
    }
    Ok(bytes)
}

/// Opens what may be no file, without waiting for what is at the other end of it.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let nonblocking = OFlag::O_NONBLOCK.bits();
    let file = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// The first eight bytes tell a component from a core module
/// (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>).
fn check_header(bytes: &[u8]) -> Result<(), Wrong> {
    let wrong = |what: &str, hint: &str| Err((what.to_owned(), hint.to_owned()));
    match bytes.first_chunk::<8>() {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => wrong(
            "a core module, not a component",
            "link with `wasm-component-ld`, or make it one with `wasm-tools component new`",
        ),
        Some([0, b'a', b's', b'm', ..]) => wrong(
            "a WebAssembly binary of a version the host does not know",
            "build it with current tools",
        ),
        _ => wrong(
            "not a WebAssembly component",
            "build the plugin and give the `.wasm` file",
        ),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<_> = names
        .iter()
        .take(20)
        .map(|name| format!("`{name}`"))
        .collect();
    names.join(", ")
}

fn checked(
    descriptor: describe::Descriptor,
) -> Result<(String, String, Option<Vec<String>>), Wrong> {
    let describe::Descriptor {
        name,
        version,
        reads,
    } = descriptor;
    if !is_name(&name) {
        let what = format!(
            "describes itself as {:?}, which is no name",
            shortened(&name, 80)
        );
        let hint = "a name is lower case words joined by hyphens, 1 to 64 characters";
        return Err((what, hint.to_owned()));
    }
    if let Some(reads) = &reads {
        if reads.len() > MAX_READS {
            let what = format!("reads {} columns", reads.len());
            return Err((
                what,
                format!("at most {MAX_READS} can be named; `none` is all"),
            ));
        }
        let is_column = |name: &&String| line(name.as_str(), MAX_FIELD) == **name;
        if let Some(other) = reads.iter().find(|name| !is_column(name)) {
            let what = format!(
                "reads {:?}, which is no column's name",
                shortened(other, 80)
            );
            let hint = format!("a name has at most {MAX_FIELD} characters, which can be seen");
            return Err((what, hint));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = reads.iter().find(|column| !seen.insert(column.as_str())) {
            let what = format!("reads the column {:?} twice", shortened(twice, 80));
            return Err((what, "name each column once in `reads`".to_owned()));
        }
    }
    Ok((name, line(version, MAX_CODE), reads))
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn digest_of(path: &Path) -> io::Result<String> {
    Ok(bytes_and_digest(path)?.1)
}

/// What is in a file, and its SHA-256.
pub(super) fn bytes_and_digest(path: &Path) -> io::Result<(Vec<u8>, String)> {
    let (what, _hint) = match read(path, &mut Found::default()) {
        Ok(bytes) => {
            let digest = hex(&Sha256::digest(&bytes));
            return Ok((bytes, digest));
        }
        Err(wrong) => wrong,
    };
    Err(io::Error::other(what))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
