//! The commands that build a plugin, by language.
//!
//! All commands run in the project's directory. Their intermediate files are in `build/`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;

use super::tools::Tool;
use super::{Language, Project, ProjectError, io};

/// Directory of intermediate files.
pub(super) const SCRATCH: &str = "build";

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

/// Imports of a plugin besides the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None: calls of WASI are answered inside the component.
    Stubbed,
    /// `wasi:*`, as in the language's standard build.
    Wasi,
}

/// A command.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) tool: Tool,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// A script that runs the command.
    pub(super) wrapper: Option<&'static str>,
}

/// The commands of a build, in order.
#[derive(Debug)]
pub(super) struct Plan {
    /// Files needed by the commands: path in the project, and content.
    pub(super) files: Vec<(&'static str, &'static [u8])>,
    pub(super) steps: Vec<Step>,
    /// Further tools that the commands need.
    pub(super) also: &'static [Tool],
    /// Path of the built plugin in the project; `None` if cargo reports it.
    pub(super) result: Option<PathBuf>,
}

impl Step {
    fn new(tool: Tool, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            tool,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            wrapper: None,
        }
    }

    fn and(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    fn with(mut self, environment: &[(&'static str, &str)]) -> Self {
        let owned = environment.iter().map(|(key, value)| (*key, value.into()));
        self.environment.extend(owned);
        self
    }
}

/// Returns the commands for a project.
pub(super) fn plan(project: &Project, kind: Kind) -> Result<Plan, ProjectError> {
    match project.language {
        Language::Rust => Ok(rust(kind)),
        Language::TypeScript => Ok(typescript(project, kind)),
        Language::Python => Ok(python(project, kind)),
        Language::Go => Ok(go(project, kind)),
        Language::C => c(project, kind),
        Language::Zig => zig(project, kind),
    }
}

fn rust(kind: Kind) -> Plan {
    let target = match kind {
        Kind::Stubbed => "wasm32-unknown-unknown",
        Kind::Wasi => "wasm32-wasip2",
    };
    let build = ["build", "--release", "--target", target];
    let mut step =
        Step::new(Tool::Cargo, build).and(["--message-format", "json-render-diagnostics"]);
    let mut also: &[Tool] = &[];
    if kind == Kind::Stubbed {
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

/// Type-checks the sources, bundles them into one module, and combines it with an engine.
fn typescript(project: &Project, kind: Kind) -> Plan {
    let result = built(project);
    let bundle = format!("{SCRATCH}/plugin.mjs");
    let stub = (kind == Kind::Stubbed).then_some("--stub-wasi");
    let component = Step::new(Tool::ComponentizeQjs, ["-w"])
        .and([project.wit.as_os_str()])
        .and(["-n", project.world.name(), "-j", &bundle, "--sync"])
        .and(stub)
        .and(["-o"]);
    let bundled = [
        "src/plugin.ts",
        "--bundle",
        "--format=esm",
        "--target=es2022",
        "--log-level=warning",
    ];
    Plan {
        files: Vec::new(),
        steps: vec![
            Step::new(Tool::Tsc, ["-p", "."]),
            Step::new(Tool::Esbuild, bundled).and([format!("--outfile={bundle}")]),
            component.and([&result]),
        ],
        also: &[Tool::Node],
        result: Some(result),
    }
}

fn python(project: &Project, kind: Kind) -> Plan {
    let result = built(project);
    let stub = (kind == Kind::Stubbed).then_some("--stub-wasi");
    let step = Step::new(Tool::ComponentizePy, ["-q", "-d"])
        .and([project.wit.as_os_str()])
        .and(["-w", project.world.name(), "componentize"])
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

fn go(project: &Project, kind: Kind) -> Plan {
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
    let embed = Step::new(Tool::WasmTools, ["component", "embed", "-w"])
        .and([project.world.name()])
        .and([project.wit.as_os_str()])
        .and([&core, "-o", &embedded]);
    adapted(project, kind, vec![compile, embed], &embedded)
}

fn c(project: &Project, kind: Kind) -> Result<Plan, ProjectError> {
    let core = format!("{SCRATCH}/core.wasm");
    let compile = Step::new(Tool::Zig, ["cc", "-target", "wasm32-wasi"])
        .and([
            "-mexec-model=reactor",
            "-O2",
            "-s",
            "-Wall",
            "-Wextra",
            "-Ibindings",
        ])
        .and([format!("-Wl,-z,stack-size={STACK}")])
        .and(["-o", &core])
        .and(sources(project, "src", &["c"])?)
        .and(sources(project, "bindings", &["c", "o"])?);
    Ok(adapted(project, kind, vec![compile], &core))
}

fn zig(project: &Project, kind: Kind) -> Result<Plan, ProjectError> {
    let core = format!("{SCRATCH}/core.wasm");
    let compile = Step::new(Tool::Zig, ["build-exe", "-target", "wasm32-wasi"])
        .and(["-mexec-model=reactor", "-OReleaseSmall", "-fstrip", "-lc"])
        .and(["--stack", STACK])
        .and([format!("-femit-bin={core}")])
        .and(["--dep", "bindings"])
        .and(sources(project, "bindings", &["c", "o"])?)
        .and(["-Mroot=src/plugin.zig", "-Mbindings=bindings/plugin.zig"]);
    Ok(adapted(project, kind, vec![compile], &core))
}

/// Turns the core module into a component, with an adapter for WASI preview 1.
fn adapted(project: &Project, kind: Kind, mut steps: Vec<Step>, module: &str) -> Plan {
    let result = built(project);
    let (path, adapter): (_, &[u8]) = match kind {
        Kind::Stubbed => (STUB_PATH, STUB.as_bytes()),
        Kind::Wasi => (ADAPTER_PATH, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
    };
    let adapt = format!("wasi_snapshot_preview1={path}");
    let step = Step::new(Tool::WasmTools, ["component", "new", module, "--adapt"])
        .and([&adapt, "-o"])
        .and([&result]);
    steps.push(step);
    Plan {
        files: vec![(path, adapter)],
        steps,
        also: &[],
        result: Some(result),
    }
}

/// Path to which the last command writes the plugin.
fn built(project: &Project) -> PathBuf {
    Path::new(SCRATCH).join(format!("{}.wasm", project.name))
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
