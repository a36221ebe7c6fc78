//! Runs cargo: finds the component that it built, and says in short why it could not be linked.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{io, thread};

use serde_json::Value;

use super::process::{finish, start};
use super::steps::Step;
use super::{ProjectError, io as cannot};

/// Maximum characters of a line of its output: the arguments of a linker are 100 KB.
const MAX_LINE: usize = 2_000;

/// What the linker says of an import that no component has.
const NO_IMPORT: &str = "module requires an import interface named `";

/// Runs cargo and returns the component that it built.
pub(super) fn run(
    project: &Path,
    step: &Step,
    command: &mut Command,
) -> Result<Option<PathBuf>, ProjectError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if io::stderr().is_terminal() && !anstyle_query::no_color() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = start(step, command)?;
    let heard = child
        .stderr
        .take()
        .map(|said| thread::spawn(|| pass_on(said)));
    let mut built = None;
    if let Some(messages) = child.stdout.take() {
        for message in BufReader::new(messages).lines() {
            let message = message.map_err(cannot("read the output of cargo".to_owned()))?;
            built = component_of(&message).or(built);
        }
    }
    let missing = heard.and_then(|heard| heard.join().ok().flatten());
    finish(step, &mut child).map_err(|error| match missing {
        Some(import) => no_import(project, &import),
        None => error,
    })?;
    Ok(built)
}

/// Writes to standard error what cargo says. Returns the import for which linking failed, if it
/// did: what the linker says of it is left out.
fn pass_on(said: impl Read) -> Option<String> {
    let mut of_linker: Option<String> = None;
    let mut missing = None;
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let line = shortened(&line);
        missing = import_in(&line).or(missing);
        if line.contains("linking with `") {
            of_linker = Some(String::new());
        }
        match &mut of_linker {
            Some(text) => *text += &format!("{line}\n"),
            None => write(&format!("{line}\n")),
        }
    }
    if missing.is_none() {
        write(&of_linker.unwrap_or_default());
    }
    missing
}

fn write(text: &str) {
    // An error has nowhere to go if standard error is closed.
    drop(io::stderr().write_all(text.as_bytes()));
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

fn import_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(NO_IMPORT)?;
    Some(rest.split('`').next()?.to_owned())
}

fn no_import(project: &Path, import: &str) -> ProjectError {
    let (what, hint) = if import.starts_with("__wbindgen") {
        (
            "a dependency calls JavaScript by `wasm-bindgen`, which a plugin does not have"
                .to_owned(),
            "turn that feature of it off, as with `default-features = false` for chrono; `cargo tree \
             --target wasm32-unknown-unknown -i wasm-bindgen` names it. With --wasi, most libraries \
             do without",
        )
    } else {
        (
            format!("a dependency imports `{import}`, which a plugin does not have"),
            "use another library, or one without parts in C",
        )
    };
    ProjectError::Unfit {
        path: project.join("Cargo.toml"),
        what,
        hint: hint.to_owned(),
    }
}

/// The component that a message of cargo announces. Messages of dependencies come first and
/// announce none.
fn component_of(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let files = message.get("filenames")?.as_array()?;
    let mut paths = files.iter().filter_map(Value::as_str).map(PathBuf::from);
    paths.find(|path| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_component_is() {
        let made = r#"{"reason":"compiler-artifact","filenames":["/t/a.d","/t/a.wasm"]}"#;
        assert_eq!(component_of(made), Some(PathBuf::from("/t/a.wasm")));
        for other in [
            r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "text of a build script",
        ] {
            assert_eq!(component_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_linker_says_which_import_is_missing() {
        let said = "error: linking with `wasm-component-ld` failed\n\
                    3: module requires an import interface named `__wbindgen_placeholder__`\n";
        assert_eq!(
            pass_on(said.as_bytes()).as_deref(),
            Some("__wbindgen_placeholder__")
        );
        assert_eq!(pass_on("error: no such file\n".as_bytes()), None);
        assert_eq!(shortened(&"x".repeat(9_999)).chars().count(), MAX_LINE + 1);
    }
}
