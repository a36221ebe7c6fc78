//! The tutorial of `plugins/README.md`, walked as it is written there: its commands are taken from
//! the text, and a host is at work meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::endless::{CHUNK, Endless};
use support::{Home, Host, isolate, program, target};

/// The commands after `<!-- tutorial: NAME -->` in `plugins/README.md`.
fn commands(name: &str) -> String {
    let readme = include_str!("../../plugins/README.md");
    let marker = format!("<!-- tutorial: {name} -->\n```sh\n");
    let after = readme.split_once(&marker);
    let (_, after) = after.unwrap_or_else(|| panic!("no {marker:?} in plugins/README.md"));
    after.split_once("```").unwrap().0.to_owned()
}

/// Runs commands of the README in the directory of the configuration; the exit code of the last
/// one, and what all have printed.
fn walk(home: &Home, name: &str) -> (i32, String) {
    let program = program();
    let path = std::env::var_os("PATH").unwrap();
    let path = [program.parent().unwrap().to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    let output = isolate(&mut Command::new("bash"))
        .args(["-eu", "-c", &format!("exec 2>&1; {}", commands(name))])
        .current_dir(home.path())
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("CARGO_TARGET_DIR", target().join("guests"))
        .env("COLUMNS", "200")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{name}:\n{text}");
    (output.status.code().unwrap(), text)
}

#[track_caller]
fn done(home: &Home, name: &str) -> String {
    let (code, text) = walk(home, name);
    assert_eq!(code, 0, "{name}:\n{text}");
    text
}

/// A pipeline with every plugin of `plugins`, which is empty.
async fn home(source: &Endless) -> Home {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id bigint primary key, number bigint, vector vector(2) not null)",
        )
        .await;
    fs::create_dir(home.path().join("plugins")).unwrap();
    let pipeline = format!(
        "[pipelines.rows]\nsource = {{ grpc = \"{}\", dataset = \"rows\", chunk_rows = {CHUNK} }}\ntables = [\"items\"]",
        source.url()
    );
    home.configure_with(Path::new("plugins"), "", &pipeline);
    home
}

fn end(source: &Endless, host: Host) -> serde_json::Value {
    source.end();
    host.wait().done()
}

/// Makes the plugin trap on one row of the source, as a programmer might have.
fn write_a_bug(home: &Home) {
    let file = home.path().join("year-cap/src/lib.rs");
    let text = fs::read_to_string(&file).unwrap();
    let start = "fn validate(&self, row: AllColumns<'_>) -> Vec<Rejection> {\n";
    assert!(text.contains(start), "{text}");
    let bug = "if row.get(\"number\").integer() == Some(7) { panic!(\"not seven\"); }\n";
    fs::write(file, text.replace(start, &format!("{start}{bug}"))).unwrap();
}

fn mend_the_bug(home: &Home) {
    let file = home.path().join("year-cap/src/lib.rs");
    let text = fs::read_to_string(&file).unwrap();
    let kept = text.lines().filter(|line| !line.contains("not seven"));
    fs::write(file, kept.collect::<Vec<_>>().join("\n")).unwrap();
}

#[tokio::test]
async fn the_readme_is_walked() {
    // The machine is busy with compiling meanwhile.
    let source = Endless::start(Duration::from_millis(20));
    let home = home(&source).await;

    // From nothing to a plugin in use, in a host that is at work.
    let mut host = home.start("");
    host.until("chunk committed");
    let began = Instant::now();
    let shown = done(&home, "new") + &done(&home, "deploy");
    host.until("the next chunk meets a new version");
    println!("new to in use: {:.1} s", began.elapsed().as_secs_f64());
    assert!(shown.contains("year-cap 0.1.0 (validate)"), "{shown}");
    host.until("chunk committed");
    let report = end(&source, host);
    assert_eq!(report["plugins"][0]["name"], "year-cap", "{report:#}");
    assert_eq!(report["rows"]["received"], source.sent(), "{report:#}");

    // A version that traps on a row in production.
    write_a_bug(&home);
    done(&home, "deploy");
    source.again();
    let mut host = home.start("");
    host.until("chunk committed");
    let report = end(&source, host);
    assert_eq!(report["rows"]["dead_lettered"], 1, "{report:#}");

    // The row becomes a case that fails,
    let (code, shown) = walk(&home, "record");
    assert_eq!(code, 1, "{shown}");
    assert!(
        shown.contains("PLUGIN_TRAP") && shown.contains("not seven"),
        "{shown}"
    );
    // the plugin is mended, and the case passes,
    mend_the_bug(&home);
    let shown = done(&home, "mend");
    assert!(shown.contains("1 of 1 cases passed"), "{shown}");
    // and the row goes through.
    done(&home, "deploy");
    source.again();
    let mut host = home.start("");
    host.until("chunk committed");
    end(&source, host);
    let seven = "select count(*) from items where id = 7";
    assert_eq!(home.database.number(seven).await, 1);
}
