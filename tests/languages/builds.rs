//! What projects may add to what they begin with: C++ beside C, libraries, a command of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::assert_snapshot;

use crate::projects::{done, place, project, run, with_tools};

const BUILD: [&str; 3] = ["plugin", "build", "rules"];
const TEST: [&str; 4] = [
    "plugin",
    "test",
    "rules/dist/rules.wasm",
    "rules/rules.cases.toml",
];

/// A text is missing if it is blank, as C++ says it.
const CPP: &str = r#"
#include <algorithm>
#include <string>

#include "support.h"

extern "C" bool is_blank(text of) {
    std::string copy(reinterpret_cast<const char *>(of.ptr), of.len);
    copy.erase(std::remove(copy.begin(), copy.end(), ' '), copy.end());
    return copy.empty();
}
"#;

/// The C project, with a part in C++.
fn with_cpp(place: &Path, path: &std::ffi::OsString) {
    let edits = [
        (
            "src/plugin.c",
            "static bool is_missing",
            "bool is_blank(text of);\n\nstatic bool is_missing",
        ),
        (
            "src/plugin.c",
            "&& of->val.text.len == 0;",
            "&& is_blank(of->val.text);",
        ),
        ("rules.cases.toml", "title = \"\" }", "title = \"  \" }"),
    ];
    project(place, path, ("c", "validate"), &edits);
    fs::write(place.join("rules/src/blank.cpp"), CPP.trim_start()).unwrap();
}

#[test]
fn h10_cpp_is_built_beside_c() {
    let (place, path) = (place("cpp"), with_tools());
    with_cpp(&place, &path);
    done(&place, &path, &BUILD);
    done(&place, &path, &TEST);
}

#[test]
fn h10_a_project_has_a_command_of_its_own() {
    let (place, path) = (place("own"), with_tools());
    with_cpp(&place, &path);
    let script = "#!/bin/sh\nset -e\nzig c++ -target wasm32-wasi -mexec-model=reactor -O2 -fno-exceptions \
                  -Ibindings -o core.wasm -x c src/*.c bindings/*.c -x c++ src/*.cpp -x none bindings/*.o\n";
    let file = place.join("rules/compile.sh");
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let manifest = |keys: &str| {
        let file = place.join("rules/forebay-plugin.toml");
        fs::write(file, format!("name = \"rules\"\n{keys}\n")).unwrap();
    };
    // A core module becomes a component.
    manifest("build = [\"./compile.sh\"]\noutput = \"core.wasm\"\nworld = \"validator\"");
    done(&place, &path, &BUILD);
    done(&place, &path, &TEST);
    // A component is taken as it is.
    fs::copy(
        place.join("rules/dist/rules.wasm"),
        place.join("rules/made.wasm"),
    )
    .unwrap();
    fs::remove_dir_all(place.join("rules/dist")).unwrap();
    manifest("build = [\"true\"]\noutput = \"made.wasm\"");
    done(&place, &path, &BUILD);
    done(&place, &path, &TEST);

    let refused = |keys: &str| {
        manifest(keys);
        let ended = run(&place, &path, &BUILD);
        assert_ne!(ended.code, Some(0));
        ended.err
    };
    assert_snapshot!(refused("build = [\"./compile.sh\"]\noutput = \"core.wasm\""), @r"
    $ ./compile.sh
    error: rules/core.wasm: a core module, not a component
      hint: give forebay-plugin.toml the `world` whose exports it has, and the interface in `wit`
    ");
    assert_snapshot!(refused("build = [\"true\"]\noutput = \"none.wasm\""), @r"
    $ true
    error: rules/forebay-plugin.toml: `build` has not written none.wasm
      hint: `output` names the file that the command writes, relative to this file
    ");
    assert_snapshot!(refused("build = [\"no-such-compiler\"]\noutput = \"none.wasm\""), @r"
    $ no-such-compiler
    error: rules/forebay-plugin.toml: `no-such-compiler` of `build` cannot be started: No such file or directory (os error 2)
      hint: name a program on the search path, in .venv/bin or in node_modules/.bin, or a path that begins with ./
    ");
    assert_snapshot!(refused("build = [\"false\"]\noutput = \"none.wasm\""), @r"
    $ false
    error: `false` failed: exit status: 1
    ");
    let keys = refused("build = [\"true\"]\noutput = \"a.wasm\"\nlanguage = \"c\"");
    assert!(keys.contains("has `language` and `build`"), "{keys}");
}

/// A dependency that wants a browser: three lines, and not the arguments of the linker.
#[test]
fn h6_javascript_in_rust_is_refused_in_short() {
    let (place, path) = (place("browser"), with_tools());
    let edits = [
        (
            "src/lib.rs",
            "fn is_missing",
            "#[link(wasm_import_module = \"__wbindgen_placeholder__\")]\nunsafe extern \"C\" {\n    safe fn now() -> f64;\n}\n\nfn is_missing",
        ),
        (
            "src/lib.rs",
            "let cells =",
            "std::hint::black_box(now());\n        let cells =",
        ),
    ];
    project(&place, &path, ("rust", "validate"), &edits);
    let ended = run(&place, &path, &BUILD);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let said: Vec<&str> = ended
        .err
        .lines()
        .filter(|line| !line.contains("Compiling") && !line.starts_with('$'))
        .collect();
    assert_snapshot!(said.join("\n"), @r"
    error: rules/Cargo.toml: a dependency calls JavaScript by `wasm-bindgen`, which a plugin does not have
      hint: turn that feature of it off, as with `default-features = false` for chrono; `cargo tree --target wasm32-unknown-unknown -i wasm-bindgen` names it. With --wasi, most libraries do without
    ");
}

/// A library's types may be those of a browser, and need not even be right.
#[test]
fn h6_types_of_libraries_are_not_checked() {
    let (place, path) = (place("library"), with_tools());
    let edits = [
        (
            "src/plugin.ts",
            "\n/** Set once",
            "import { blank } from \"blank\";\n\n/** Set once",
        ),
        ("src/plugin.ts", "value.val === \"\"", "blank(value.val)"),
        ("rules.cases.toml", "title = \"\" }", "title = \"  \" }"),
    ];
    project(&place, &path, ("typescript", "validate"), &edits);
    let library = place.join("rules/node_modules/blank");
    fs::create_dir_all(&library).unwrap();
    for (file, text) in [
        (
            "package.json",
            r#"{ "name": "blank", "version": "1.0.0", "main": "index.js", "types": "index.d.ts" }"#,
        ),
        (
            "index.js",
            "exports.blank = (text) => text.trim() === \"\";\n",
        ),
        (
            "index.d.ts",
            "export declare function blank(text: string): boolean;\nexport declare const page: URL & { of: HTMLElement };\nexport type Wrong = NoSuchType;\n",
        ),
    ] {
        fs::write(library.join(file), text).unwrap();
    }
    done(&place, &path, &BUILD);
    done(&place, &path, &TEST);
}

/// Projects with two roles, or all of them, in every language.
fn several(language: &str) {
    let (place, path) = (place(&format!("several-{language}")), with_tools());
    for (roles, exported) in [
        ("validate,transform", &["transform", "validate"][..]),
        ("validate,policy", &["validate", "dead-letter-policy"]),
        (
            "transform,validate,policy",
            &["transform", "validate", "dead-letter-policy"],
        ),
    ] {
        // Its builds take long, and all three roles are those of the example.
        if language == "python" && roles != "validate,transform" {
            continue;
        }
        let name = roles.replace(',', "-");
        done(
            &place,
            &path,
            &["plugin", "new", &name, "--lang", language, "--role", roles],
        );
        let built = done(&place, &path, &["--json", "plugin", "build", &name]);
        let built: serde_json::Value = serde_json::from_str(&built).unwrap();
        assert_eq!(built["roles"], serde_json::json!(exported));
        let component = format!("{name}/dist/{name}.wasm");
        let cases = format!("{name}/{name}.cases.toml");
        done(&place, &path, &["plugin", "test", &component, &cases]);
    }
}

#[test]
fn h10_several_roles_in_rust() {
    several("rust");
}

#[test]
fn h10_several_roles_in_typescript() {
    several("typescript");
}

#[test]
fn h10_several_roles_in_python() {
    several("python");
}

#[test]
fn h10_several_roles_in_go() {
    several("go");
}

#[test]
fn h10_several_roles_in_c() {
    several("c");
}

#[test]
fn h10_several_roles_in_zig() {
    several("zig");
}
