//! The build of a plugin in TypeScript: its sources become one module, which a runtime of ours stands
//! before, and both are combined with an engine.

use super::plan::{Kind, Plan, SCRATCH, Step, built};
use crate::project::tools::Tool;
use crate::project::{Project, World};

/// Gives the plugin a console, its errors a place, and its answers a check.
const RUNTIME: &str = include_str!("runtime.mjs");

pub(super) fn plan(project: &Project, world: World, kind: Kind) -> Plan {
    let result = built(project);
    let (entry, bundle) = (
        format!("{SCRATCH}/entry.mjs"),
        format!("{SCRATCH}/plugin.mjs"),
    );
    let stub = (kind == Kind::Stubbed).then_some("--stub-wasi");
    let esbuild = |input: &str, output: &str| {
        Step::new(Tool::Esbuild, [input, "--bundle", "--format=esm"]).and([
            "--log-level=warning".to_owned(),
            format!("--outfile={output}"),
        ])
    };
    let bundled = esbuild("src/plugin.ts", &bundle).and([
        "--target=es2022",
        // Interfaces of the host.
        "--external:forebay:*",
        "--sourcemap=external",
        "--sources-content=false",
    ]);
    let mapped = esbuild(&format!("{bundle}.map"), &format!("{SCRATCH}/map.mjs"));
    let component = Step::new(Tool::ComponentizeQjs, ["-w"])
        .and([project.wit.as_os_str()])
        .and(["-n", world.name(), "-j", &entry, "--sync"])
        .and(stub)
        .and(["-o"])
        .and([&result]);
    Plan {
        files: vec![
            ("build/runtime.mjs", RUNTIME.as_bytes().into()),
            ("build/entry.mjs", entry_of(world).into_bytes().into()),
        ],
        steps: vec![
            Step::new(Tool::Tsc, ["-p", "."]),
            bundled,
            mapped.and(["--loader:.map=text"]),
            component,
        ],
        also: &[Tool::Node],
        result: Some(result),
    }
}

/// The module that exports what a world has.
fn entry_of(world: World) -> String {
    let roles: &[&str] = match world {
        World::Transformer => &["transform"],
        World::Validator => &["validate"],
        World::Router => &["deadLetterPolicy"],
        World::TransformValidate => &["transform", "validate"],
        World::TransformPolicy => &["transform", "deadLetterPolicy"],
        World::ValidatePolicy => &["validate", "deadLetterPolicy"],
        World::Plugin => &["transform", "validate", "deadLetterPolicy"],
    };
    let exports = ["describe"]
        .iter()
        .chain(roles)
        .map(|interface| format!("export const {interface} = runtime.{interface}(plugin);\n"));
    let imports = "import * as runtime from \"./runtime.mjs\";\n\
                   import * as plugin from \"./plugin.mjs\";\n\
                   import map from \"./map.mjs\";\n\n\
                   runtime.use(map);\n";
    imports.to_owned() + &exports.collect::<String>()
}
