//! Projects of plugins that tests write and build, with the tools that `make examples` installs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::command::Ended;
use support::{program, target};

/// An empty directory of this name. The same one each time: cargo then builds the guest crate
/// once, not in every run of the tests.
pub(crate) fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("scaffold")
        .join(name);
    if place.exists() {
        fs::remove_dir_all(&place).unwrap();
    }
    fs::create_dir_all(&place).unwrap();
    place
}

/// What `make examples` installs, before what is there anyway.
pub(crate) fn with_tools() -> OsString {
    let tools = target().join("guest-tools/bin");
    assert!(
        tools.join("zig").exists(),
        "run `make examples` first: there are no tools in {}",
        tools.display()
    );
    let path = std::env::var_os("PATH").unwrap();
    std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

pub(crate) fn run(place: &Path, path: &OsString, arguments: &[&str]) -> Ended {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .current_dir(place)
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", target().join("guests"))
        .env_remove("FOREBAY_LOG");
    Ended::of(&mut command)
}

/// Returns what a command prints that has to succeed.
#[track_caller]
pub(crate) fn done(place: &Path, path: &OsString, arguments: &[&str]) -> String {
    let ended = run(place, path, arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended.out
}

/// Writes a project of a role, and replaces texts of its files, each of which has to be there.
pub(crate) fn project(
    place: &Path,
    path: &OsString,
    (language, role): (&str, &str),
    edits: &[(&str, &str, &str)],
) {
    let new = ["plugin", "new", "rules", "--lang", language, "--role", role];
    done(place, path, &new);
    for (file, from, to) in edits {
        let file = place.join("rules").join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "no {from:?} in {}", file.display());
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
    }
}
