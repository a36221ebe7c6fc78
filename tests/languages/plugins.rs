//! One plugin in six languages, each built in two ways: without WASI and, as its language's
//! tools do by themselves, with it. All answer the same cases, and a pipeline with any of them
//! comes to the same tables and dead letters as with the three plugins in Rust. What the two
//! languages with exceptions make of a bug is a message that names its place.
//!
//! `make examples` builds them into `target/examples`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;
use support::{Home, State, anywhere, guests, isolate, program, root, target};
use tokio::sync::OnceCell;

/// Has every kind of dirt, and rows that are revised in later chunks.
const ROWS: u64 = 2_000;
const DIMENSIONS: usize = 8;

#[tokio::test]
async fn rust() {
    check("rust").await;
}

#[tokio::test]
async fn typescript() {
    check("typescript").await;
}

#[tokio::test]
async fn python() {
    check("python").await;
}

#[tokio::test]
async fn go() {
    check("go").await;
}

#[tokio::test]
async fn c() {
    check("c").await;
}

#[tokio::test]
async fn zig() {
    check("zig").await;
}

#[test]
fn a_bug_in_typescript_names_its_place() {
    bug_names_its_place(
        "typescript",
        "src/normalize.ts",
        (
            "    const tidy = ",
            "    if (value.val === \"bug\") (undefined as any).there;\n    const tidy = ",
        ),
        "TypeError: cannot read property 'there' of undefined, at normalize (src/normalize.ts:70)",
    );
}

#[test]
fn a_bug_in_python_names_its_place() {
    bug_names_its_place(
        "python",
        "src/normalize.py",
        (
            "        text = value.value\n",
            "        text = value.value\n        if text == \"bug\":\n            {}[text]\n",
        ),
        "KeyError: 'bug' (normalize.py:",
    );
}

async fn check(language: &str) {
    let name = format!("row-rules-{language}");
    // Before there is a database of this test's own: all could wait for one more.
    let expected = expected().await;
    for file in [format!("{name}.wasm"), format!("{name}-wasi.wasm")] {
        let component = target().join("examples").join(&file);
        // Its target cannot be fetched everywhere.
        if file == "row-rules-rust-wasi.wasm" && !component.exists() {
            support::skip(
                "no row-rules-rust-wasi.wasm: rustup target add wasm32-wasip2, then make examples",
            );
            continue;
        }
        assert!(
            component.exists(),
            "{} is missing: run `make examples` first",
            component.display()
        );
        let home = Home::recruit(DIMENSIONS).await;
        answers_the_cases(&home, &component);
        comes_to_the_same(expected, &home, &component, &name).await;
    }
}

fn answers_the_cases(home: &Home, component: &Path) {
    let cases = root().join("examples/plugins/row-rules.cases.toml");
    let [component, cases] = [component, &cases].map(|path| path.to_str().unwrap());
    let tested = home.start_command(&["plugin", "test", "--json", component, cases], "");
    let tested = tested.wait();
    assert_eq!(
        tested.status.code(),
        Some(0),
        "{component}:\n{}\n{}",
        tested.stdout,
        tested.log
    );
    let summary: serde_json::Value = serde_json::from_str(&tested.stdout).unwrap();
    assert_eq!(summary["passed"], true, "{component}: {summary:#}");
    // For the figures in the documentation: `cargo test --test languages -- --nocapture`.
    println!(
        "{component}: {} cases, {} ns/row, {} bytes of memory",
        summary["cases"], summary["nanoseconds_per_row"], summary["peak_memory_bytes"]
    );
}

/// What the three plugins in Rust come to.
async fn expected() -> &'static State {
    static EXPECTED: OnceCell<State> = OnceCell::const_new();
    let run = || async {
        let plugins = ["recruit-normalize", "recruit-rules", "recruit-dlq"];
        let home = Home::recruit(DIMENSIONS).await;
        let state = outcome(&home, &guests("plugins"), &plugins).await;
        // Otherwise there would be nothing to compare.
        assert!(state.part("dead letters").len() > 20);
        assert!(state.part("recruit_metadata").len() > 1_500);
        state
    };
    EXPECTED.get_or_init(run).await
}

async fn comes_to_the_same(expected: &State, home: &Home, component: &Path, name: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(component, directory.path().join("plugin.wasm")).unwrap();
    let state = outcome(home, directory.path(), &[name]).await;
    let what = component.display().to_string();
    expected.assert_same(&state, &what);
}

/// Everything that a run with these plugins leaves behind, but which plugins they were.
async fn outcome(home: &Home, directory: &Path, plugins: &[&str]) -> State {
    let dataset = Arc::new(Dataset::new(ROWS, DIMENSIONS).unwrap().with_revisions());
    let source = embedding_server::start(dataset, anywhere()).unwrap();
    let url = source.url();
    let pipeline = format!(
        r#"
        [pipelines.recruit]
        source = {{ grpc = "{url}", dataset = "recruit", chunk_rows = 100 }}
        plugins = {plugins:?}
        tables = ["recruit_metadata", "recruit_embedding"]"#
    );
    home.configure_with(directory, "", &pipeline);
    home.run().done();
    State::recruit(&home.database).await.apart_from_plugins()
}

/// Builds the plugin of a language with a bug in it, on the text `bug`, and has it judge rows.
fn bug_names_its_place(language: &str, file: &str, (from, to): (&str, &str), message: &str) {
    let place = tempfile::tempdir().unwrap();
    let examples = root().join("examples/plugins");
    copy(&examples.join(language), place.path());
    edit(
        &place.path().join("forebay-plugin.toml"),
        "../../../wit",
        root().join("wit").to_str().unwrap(),
    );
    edit(&place.path().join(file), from, to);
    let cases = format!(
        r#"
        [[case]]
        name = "a bug"
        [[case.row]]
        key = "guilty"
        fields = {{ company_name = "bug", exp_years = 1, primary_keyword = "Go" }}
        expect = {{ fails = "PLUGIN_ERROR", message = {message:?} }}
        [[case.row]]
        key = "innocent"
        fields = {{ company_name = "Acme", exp_years = 1, primary_keyword = "Go" }}
        expect = "accept"
        "#
    );
    std::fs::write(place.path().join("bug.cases.toml"), cases).unwrap();
    for arguments in [
        ["plugin", "build", "--output", "bug.wasm"],
        ["plugin", "test", "bug.wasm", "bug.cases.toml"],
    ] {
        let tools = target().join("guest-tools/bin");
        let path = std::env::var("PATH").unwrap();
        let output = isolate(&mut Command::new(program()))
            .args(arguments)
            .current_dir(place.path())
            .env("PATH", format!("{}:{path}", tools.display()))
            .output()
            .unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{arguments:?}:\n{out}\n{err}");
    }
}

/// Replaces a text that has to be in the file.
fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "no {from:?} in {}", file.display());
    std::fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Copies what is in a directory, less what a build left there.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_name() == "build" {
            continue;
        }
        if entry.path().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}
