//! The commands that build a plugin, by language.
//!
//! All commands run in the project's directory. Their intermediate files are in `build/`.

use std::fs;
use std::path::{Path, PathBuf};

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;

use super::tools::Tool;
use super::{Language, Project, ProjectError, World, io};

mod plan;
mod typescript;

pub use self::plan::Kind;
pub(super) use self::plan::{Plan, SCRATCH, Step, built};

/// Answers every call of WASI preview 1 inside the component, so that it imports nothing.
const STUB: &str = include_str!("../../../examples/plugins/wasi-stub.wat");
const STUB_PATH: &str = "build/wasi-stub.wat";
/// Maps these calls to WASI preview 2, which the host must then provide.
const ADAPTER_PATH: &str = "build/wasi_snapshot_preview1.reactor.wasm";

/// Finds or builds a standard library for the target, and runs a command with it.
const TOOLCHAIN: &str = include_str!("../../../plugins/toolchain.sh");

/// Stack size of C and Zig in bytes, the same as Rust's. Zig's default of 16 MiB would be a quarter
/// of a plugin's memory limit.
const STACK: &str = "1048576";

/// Returns the commands for a project in a language that is known here.
pub(super) fn plan(
    project: &Project,
    (language, world): (Language, World),
    kind: Kind,
) -> Result<Plan, ProjectError> {
    match language {
        Language::Rust => Ok(rust(kind)),
        Language::TypeScript => Ok(typescript::plan(project, world, kind)),
        Language::Python => Ok(python(project, world, kind)),
        Language::Go => Ok(go(project, world, kind)),
        Language::C => c(project, world, kind),
        Language::Zig => zig(project, world, kind),
    }
}

/// Returns the commands that make a component of a core module, whose exports are those of a world.
pub(super) fn componentized(project: &Project, world: World, kind: Kind, module: &Path) -> Plan {
    let embedded = format!("{SCRATCH}/embedded.wasm");
    let step = embed(project, world).and([module]).and(["-o", &embedded]);
    adapted(project, kind, vec![step], &embedded)
}

/// Adds the type of a world to a core module: `-o` and paths follow.
fn embed(project: &Project, world: World) -> Step {
    Step::new(Tool::WasmTools, ["component", "embed", "-w"])
        .and([world.name()])
        .and([project.wit.as_os_str()])
}

fn rust(kind: Kind) -> Plan {
    let target = match kind {
        Kind::Heard | Kind::Stubbed => "wasm32-unknown-unknown",
        Kind::Wasi => "wasm32-wasip2",
    };
    let build = ["build", "--release", "--target", target];
    let mut step =
        Step::new(Tool::Cargo, build).and(["--message-format", "json-render-diagnostics"]);
    let mut also: &[Tool] = &[];
    if kind != Kind::Wasi {
        step.wrapper = Some(TOOLCHAIN);
        also = &[Tool::Bash];
    }
    Plan {
        files: Vec::new(),
        steps: vec![step],
        also,
        result: None,
    }
}

fn python(project: &Project, world: World, kind: Kind) -> Plan {
    let result = built(project);
    let stub = (kind == Kind::Stubbed).then_some("--stub-wasi");
    let step = Step::new(Tool::ComponentizePy, ["-q", "-d"])
        .and([project.wit.as_os_str()])
        .and(["-w", world.name(), "componentize"])
        .and(stub)
        .and(["-p", "src", "plugin", "-o"])
        .and([&result]);
    Plan {
        files: Vec::new(),
        steps: vec![step],
        also: &[],
        result: Some(result),
    }
}

fn go(project: &Project, world: World, kind: Kind) -> Plan {
    let core = format!("{SCRATCH}/core.wasm");
    let embedded = format!("{SCRATCH}/embedded.wasm");
    // Without the check of link names, the generated code may use the runtime's allocator.
    let flags = "-ldflags=-checklinkname=0 -s -w";
    let compile = Step::new(
        Tool::Go,
        ["build", "-trimpath", "-buildmode=c-shared", flags],
    )
    .and(["-o", &core, "."])
    .with(&[
        ("GOOS", "wasip1"),
        ("GOARCH", "wasm"),
        ("GOTOOLCHAIN", "local"),
    ]);
    let embed = embed(project, world).and([&core, "-o", &embedded]);
    adapted(project, kind, vec![compile, embed], &embedded)
}

fn c(project: &Project, world: World, kind: Kind) -> Result<Plan, ProjectError> {
    let core = format!("{SCRATCH}/core.wasm");
    let in_cpp = sources(project, "src", &["cpp", "cc", "cxx"])?;
    let compiler = if in_cpp.is_empty() { "cc" } else { "c++" };
    let mut compile = Step::new(Tool::Zig, [compiler, "-target", "wasm32-wasi"])
        .and(["-mexec-model=reactor", "-O2"])
        // Zig turns assertions off when it optimises.
        .and(["-UNDEBUG", "-s", "-Wall", "-Wextra", "-Ibindings"])
        .and([format!("-Wl,-z,stack-size={STACK}")])
        .and(["-o", &core]);
    if !in_cpp.is_empty() {
        // Exceptions of WebAssembly are off in the host. Otherwise C would be compiled as C++.
        compile = compile.and(["-fno-exceptions", "-x", "c"]);
    }
    compile =
        compile
            .and(sources(project, "src", &["c"])?)
            .and(sources(project, "bindings", &["c"])?);
    if !in_cpp.is_empty() {
        compile = compile.and(["-x", "c++"]).and(in_cpp).and(["-x", "none"]);
    }
    let compile = compile.and(sources(project, "bindings", &["o"])?);
    linked(project, world, kind, compile, &core)
}

fn zig(project: &Project, world: World, kind: Kind) -> Result<Plan, ProjectError> {
    let core = format!("{SCRATCH}/core.wasm");
    let compile = Step::new(Tool::Zig, ["build-exe", "-target", "wasm32-wasi"])
        .and(["-mexec-model=reactor", "-OReleaseSafe", "-fstrip", "-lc"])
        .and(["--stack", STACK])
        .and([format!("-femit-bin={core}")])
        .and(["--dep", "bindings"])
        .and(sources(project, "bindings", &["c", "o"])?)
        .and(["-Mroot=src/plugin.zig", "-Mbindings=bindings/plugin.zig"]);
    linked(project, world, kind, compile, &core)
}

/// What follows the compiler of C or Zig. A project whose bindings have no object with the type of its
/// world has several roles, and the type is added.
fn linked(
    project: &Project,
    world: World,
    kind: Kind,
    compile: Step,
    core: &str,
) -> Result<Plan, ProjectError> {
    let objects = sources(project, "bindings", &["o"])?;
    if objects.iter().any(|path| has_type(path)) {
        return Ok(adapted(project, kind, vec![compile], core));
    }
    let mut plan = componentized(project, world, kind, Path::new(core));
    plan.steps.insert(0, compile);
    Ok(plan)
}

/// True if wit-bindgen wrote this object, whose only content is the type of a world.
fn has_type(object: &Path) -> bool {
    object.to_string_lossy().ends_with("_component_type.o")
}

/// Turns the core module into a component, with an adapter for WASI preview 1.
fn adapted(project: &Project, kind: Kind, mut steps: Vec<Step>, module: &str) -> Plan {
    let result = built(project);
    let (path, adapter): (_, &'static [u8]) = match kind {
        Kind::Stubbed => (STUB_PATH, STUB.as_bytes()),
        Kind::Heard | Kind::Wasi => (ADAPTER_PATH, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
    };
    let adapt = format!("wasi_snapshot_preview1={path}");
    let step = Step::new(Tool::WasmTools, ["component", "new", module, "--adapt"])
        .and([&adapt, "-o"])
        .and([&result]);
    steps.push(step);
    Plan {
        files: vec![(path, adapter.into())],
        steps,
        also: &[],
        result: Some(result),
    }
}

/// Lists the files of a directory with one of these extensions, sorted by name.
fn sources(
    project: &Project,
    directory: &str,
    extensions: &[&str],
) -> Result<Vec<PathBuf>, ProjectError> {
    let listed = || {
        let mut found = Vec::new();
        for entry in fs::read_dir(project.directory.join(directory))? {
            let path = Path::new(directory).join(entry?.file_name());
            let extension = path.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| extensions.contains(&extension)) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    };
    let whole = project.directory.join(directory);
    listed().map_err(io(format!("list {}", whole.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::project::Recipe;

    #[test]
    fn only_the_object_with_the_type_replaces_its_embedding() {
        let check = |object: &str, expected: &[Tool]| {
            let directory = tempfile::tempdir().unwrap();
            for name in ["src", "bindings"] {
                fs::create_dir(directory.path().join(name)).unwrap();
            }
            fs::write(directory.path().join("bindings").join(object), "").unwrap();
            for language in [Language::C, Language::Zig] {
                let world = World::Validator;
                let project = Project {
                    directory: directory.path().to_owned(),
                    name: "rules".to_owned(),
                    recipe: Recipe::Known { language, world },
                    wit: PathBuf::from("wit"),
                };
                let plan = plan(&project, (language, world), Kind::Heard).unwrap();
                let tools: Vec<Tool> = plan.steps.iter().map(|step| step.tool).collect();
                assert_eq!(tools, expected, "{object}");
            }
        };
        let embedded = [Tool::Zig, Tool::WasmTools, Tool::WasmTools];
        check("plugin_component_type.o", &[Tool::Zig, Tool::WasmTools]);
        check("sqlite.o", &embedded);
        check("component_type.c", &embedded);
    }
}
