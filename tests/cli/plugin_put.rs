//! `forebay plugin put`: into the plugin directory in one step, and only what a host would take up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::command::Ended;
use support::{guests, program};

const CASES: &str = r#"
[[case]]
name = "stamps"
[[case.row]]
key = "a"
fields = { number = 1, version = "" }
expect = { set = { version = "version-0000" } }
"#;

fn put(place: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(program());
    command
        .args(["plugin", "put"])
        .args(arguments)
        .current_dir(place);
    Ended::of(command.env_remove("FOREBAY_LOG"))
}

fn names(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A place with a component that is called otherwise than its plugin, and a directory.
fn place() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let stamp = guests("test-plugins").join("stamp.wasm");
    fs::copy(stamp, place.path().join("made.wasm")).unwrap();
    let directory = place.path().join("plugins");
    fs::create_dir(&directory).unwrap();
    (place, directory)
}

#[test]
fn h10_put_copies_a_component_with_its_cases() {
    let (place, directory) = place();
    fs::write(place.path().join("made.cases.toml"), CASES).unwrap();
    let ended = put(place.path(), &["made.wasm", "--directory", "plugins"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(names(&directory), ["stamp.cases.toml", "stamp.wasm"]);
    assert!(
        ended
            .out
            .ends_with("plugins/stamp.wasm: stamp version-0000\n"),
        "{ended:?}"
    );

    // The file that has the plugin is replaced, whatever its name.
    fs::rename(directory.join("stamp.wasm"), directory.join("other.wasm")).unwrap();
    fs::remove_file(directory.join("stamp.cases.toml")).unwrap();
    let ended = put(place.path(), &["made.wasm", "--directory", "plugins"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(names(&directory), ["other.cases.toml", "other.wasm"]);
}

#[test]
fn h10_put_refuses_what_the_host_would() {
    let (place, directory) = place();
    fs::write(place.path().join("text.wasm"), "no component").unwrap();
    let refused = put(place.path(), &["text.wasm", "--directory", "plugins"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.err.contains("not a WebAssembly component"),
        "{refused:?}"
    );

    let wrong = CASES.replace("version-0000", "version-0001");
    fs::write(place.path().join("made.cases.toml"), wrong).unwrap();
    let refused = put(place.path(), &["made.wasm", "--directory", "plugins"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("1 of its cases fail"), "{refused:?}");
    assert_eq!(names(&directory), [""; 0]);

    // Those that are there count as well, if none come with the component.
    fs::rename(
        place.path().join("made.cases.toml"),
        directory.join("stamp.cases.toml"),
    )
    .unwrap();
    let refused = put(place.path(), &["made.wasm", "--directory", "plugins"]);
    assert!(refused.err.contains("1 of its cases fail"), "{refused:?}");
    assert_eq!(names(&directory), ["stamp.cases.toml"]);

    let refused = put(place.path(), &["made.wasm", "--directory", "nowhere"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused
            .err
            .contains("plugin directory nowhere does not exist"),
        "{refused:?}"
    );
    let refused = put(place.path(), &["made.wasm"]);
    assert!(
        refused
            .err
            .contains("no configuration names the plugin directory"),
        "{refused:?}"
    );
}

#[test]
fn g_inspect_says_that_a_file_does_not_exist() {
    let (place, _) = place();
    let mut command = Command::new(program());
    command
        .args(["plugin", "inspect", "nofile.wasm"])
        .current_dir(place.path());
    let ended = Ended::of(&mut command);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(2), "error: no file nofile.wasm\n")
    );
}
