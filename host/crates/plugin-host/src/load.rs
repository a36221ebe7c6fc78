//! Loads a file into a plugin: reads, compiles, links and describes it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use wasmtime::component::Component;

use super::bindings::describe::Descriptor;
use super::call_error::{CallError, Kind};
use super::compiler::{Compiler, compile};
use super::component::{Plugin, Roles, Said};
use super::engine::{Engine, attempt};
use super::file::PluginFile;
use super::grants::{Grants, Wasi};
use super::inspect::{Found, Inspection};
use super::instance::{Instance, Prepared};
use super::limits::{MAX_CODE, MAX_FIELD, MAX_NAME, MAX_READS};
use super::load_error::{LoadError, Problem};
use super::sanitize::{is_name, line, shortened};
use super::{complexity, file, http, imports};
use crate::row::PluginId;

impl Engine {
    /// Loads a plugin: compiles it or takes it from the cache, links it, and calls its `describe`
    /// under the limits that apply to every call.
    ///
    /// Blocks while the plugin is compiled: usually 10 ms to 20 s. A process of its own may take ten
    /// times [`compile_time`](super::Limits::compile_time) of wall-clock time.
    ///
    /// # Errors
    /// When the file cannot be read or is not a plugin.
    pub fn load(self: &Arc<Self>, path: &Path) -> Result<Arc<Plugin>, LoadError> {
        self.inspect(path).plugin
    }

    /// Loads a plugin as [`Engine::load`] does, and keeps what was found out on the way. For a
    /// file that is refused, that is everything up to the refusal.
    pub fn inspect(self: &Arc<Self>, path: &Path) -> Inspection {
        let mut found = Found::default();
        // A panic of the compiler is a fault of the file and must not end the host.
        let loaded = attempt(|| self.try_load(path, &mut found)).unwrap_or_else(|_panic| {
            Err(Problem::new(
                "not a valid component: the compiler gave up on it",
                "build it with current tools",
            ))
        });
        Inspection {
            path: path.to_owned(),
            found,
            plugin: loaded.map(Arc::new).map_err(|problem| problem.at(path)),
        }
    }

    /// Returns the `*.wasm` paths in a directory, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn files_of(directory: &Path) -> Result<Vec<PathBuf>, LoadError> {
        file::wasm_files(directory).map_err(|error| LoadError::of_directory(directory, &error))
    }

    fn try_load(self: &Arc<Self>, path: &Path, found: &mut Found) -> Result<Plugin, Problem> {
        let bytes = read(path, found)?;
        check_header(&bytes)?;
        let digest = file::digest(&bytes);
        found.digest = Some(digest.clone());

        let began = Instant::now();
        let cached = self
            .cache()
            .and_then(|cache| cache.get(self.wasmtime(), &digest));
        let was_cached = cached.is_some();
        let component = match cached {
            Some(component) => component,
            None => self.compile(&bytes, &digest)?,
        };
        let compile_time = began.elapsed();
        found.compiled = Some((compile_time, was_cached));

        let prepared = self.link(&component, found)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        // Grants and limits are looked up by the name in the descriptor. So `describe` runs without
        // grants, and under limits that no plugin exceeds.
        let limits = self.widest_limits();
        let descriptor = Instance::open(self, &prepared, &stem, &Grants::new(), limits)
            .map_err(|error| does_not_start(&error))?
            .describe()
            .map_err(|error| does_not_describe(&error))?;
        check_descriptor(&descriptor)?;
        let grants = self.permissions().of(&descriptor.name);
        let imports = imports::of(&component, self, self.permissions().wasi, &grants);
        found.imports.clone_from(&imports);
        imports::check(&imports, &format!("plugin {}", descriptor.name))?;
        Ok(Plugin {
            limits: self.limits_of(&descriptor.name),
            id: Arc::new(PluginId {
                name: descriptor.name,
                version: line(descriptor.version, MAX_CODE),
                digest,
            }),
            reads: descriptor.reads,
            path: path.to_owned(),
            size: bytes.len(),
            compile_time,
            was_cached,
            imports,
            grants,
            prepared,
            engine: Arc::clone(self),
            peak_memory: AtomicUsize::new(0),
            said: Said::nothing(),
        })
    }

    fn compile(&self, bytes: &[u8], digest: &str) -> Result<Component, Problem> {
        complexity::check(bytes, self.limits().instances)
            .map_err(|error| Problem::new(error.to_string(), error.hint()))?;
        match self.compiler() {
            Compiler::Here => {
                let component = compile(self.wasmtime(), bytes)?;
                if let Some(cache) = self.cache() {
                    cache.put(&component, digest);
                }
                Ok(component)
            }
            Compiler::Process(process) => process.compile(
                self.wasmtime(),
                &self.limits(),
                self.cache(),
                (bytes, digest),
            ),
        }
    }

    fn link(&self, component: &Component, found: &mut Found) -> Result<Prepared, Problem> {
        let ty = component.component_type();
        let exports = ty.exports(self.wasmtime());
        found.exports = exports.map(|(name, _)| line(name, MAX_NAME)).collect();
        found.imports = imports::of(component, self, Wasi::Empty, &Grants::new());
        imports::check_version(found.exports.iter().map(String::as_str))?;
        imports::check(&found.imports, "it")?;
        let linked = http::linked(self.linker(), component).and_then(|extended| {
            let linker = extended.as_ref().unwrap_or(self.linker());
            linker.instantiate_pre(component)
        });
        let linked = linked.map_err(|error| {
            Problem::new(
                format!("an import does not match what the host provides: {error:#}"),
                "build it against `wit/` of this version",
            )
        })?;
        let Some(prepared) = Prepared::new(linked) else {
            return Err(Problem::new(
                "does not export `forebay:plugin/describe@0.1.0`",
                format!("it exports {}", listed(&found.exports)),
            ));
        };
        if Roles::of(&prepared) == Roles::default() {
            return Err(Problem::new(
                "exports no role of `forebay:plugin@0.1.0`",
                format!(
                    "export `transform`, `validate` or `dead-letter-policy`; it exports {}",
                    listed(&found.exports)
                ),
            ));
        }
        Ok(prepared)
    }
}

fn does_not_start(error: &CallError) -> Problem {
    debug_assert_eq!(error.kind, Kind::Unusable);
    Problem::new(
        format!("cannot be started: {}", error.message),
        "its exports must have the types in `wit/`, and it must start within the limits of \
         `[plugins]`",
    )
}

fn does_not_describe(error: &CallError) -> Problem {
    Problem::new(
        format!("`describe` failed: {}", error.message),
        "`describe` must return constants and compute nothing",
    )
}

fn read(path: &Path, found: &mut Found) -> Result<Vec<u8>, Problem> {
    let bytes = PluginFile::open(path).and_then(|file| {
        found.size = Some(file.size());
        file.read()
    });
    bytes.map_err(|error| Problem::new(error.to_string(), error.hint()))
}

/// Checks the first eight bytes, which tell a component from a core module
/// (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>).
fn check_header(bytes: &[u8]) -> Result<(), Problem> {
    Err(match bytes.first_chunk::<8>() {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => return Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Problem::new(
            "a core module, not a component",
            "link with `wasm-component-ld`, or convert it with `wasm-tools component new`",
        ),
        Some([0, b'a', b's', b'm', ..]) => Problem::new(
            "a WebAssembly binary of a version unknown to this host",
            "build it with current tools",
        ),
        _ => Problem::new(
            "not a WebAssembly component",
            "build the plugin and pass the `.wasm` file",
        ),
    })
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

fn check_descriptor(descriptor: &Descriptor) -> Result<(), Problem> {
    let name = &descriptor.name;
    if !is_name(name) {
        return Err(Problem::new(
            format!(
                "describes itself as {:?}, which is not a valid name",
                shortened(name, 80)
            ),
            "a name consists of lower-case words joined by hyphens, 1 to 64 characters",
        ));
    }
    check_reads(descriptor.reads.as_deref().unwrap_or_default())
}

fn check_reads(reads: &[String]) -> Result<(), Problem> {
    if reads.len() > MAX_READS {
        return Err(Problem::new(
            format!("reads {} columns", reads.len()),
            format!("name at most {MAX_READS}; `none` reads all columns"),
        ));
    }
    let is_column = |name: &&String| line(name.as_str(), MAX_FIELD) == **name;
    if let Some(other) = reads.iter().find(|name| !is_column(name)) {
        return Err(Problem::new(
            format!(
                "reads {:?}, which is not a valid column name",
                shortened(other, 80)
            ),
            format!("a column name has at most {MAX_FIELD} characters, all of them printable"),
        ));
    }
    let mut seen = HashSet::new();
    match reads.iter().find(|column| !seen.insert(column.as_str())) {
        Some(twice) => Err(Problem::new(
            format!("reads the column {:?} twice", shortened(twice, 80)),
            "name each column once in `reads`",
        )),
        None => Ok(()),
    }
}
