//! Cases: rows, and the answers that a plugin must give for them. They run in the sandbox of
//! production with its limits, so a plugin that passes here behaves the same there.
//!
//! A [`Suite`] is a file of cases; [`run()`] checks a plugin against it; [`fuzz`] generates rows
//! that nobody thought of; [`mod@bench`] compares two builds; [`record`] writes cases to a file. No
//! row of a pipeline passes through this module.

pub mod bench;
mod diff;
mod expect;
mod finding;
pub mod fuzz;
mod harness;
mod literal;
mod parse;
mod questions;
mod reader;
pub mod record;
mod rows;
mod run;
mod suite;
mod update;
mod vectors;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::plugin::{Failing, Plugin};

pub use self::finding::Failure;
pub use expect::{Answer, Expect, Fault, Verdict, Wanted, WantedFault, WantedRejection};
pub use run::{CaseResult, Options, Outcome, run, run_with};
pub use suite::{Case, CaseFailure, CaseRow, Suite};
pub use update::accept;

/// Checks a plugin against the cases beside its component, if there are any.
///
/// # Errors
/// If a case fails, with the first such case; if a file of cases is invalid.
pub fn pass(plugin: &Arc<Plugin>) -> Result<(), Failing> {
    let files = beside(plugin.path()).map_err(|error| {
        let directory = plugin.path().with_extension("cases");
        failing(format!("its cases cannot be read: {error}"), &directory)
    })?;
    pass_all(plugin, &files)
}

/// Checks a plugin against the cases of these files.
///
/// # Errors
/// As [`pass`].
pub fn pass_all(plugin: &Arc<Plugin>, files: &[PathBuf]) -> Result<(), Failing> {
    for path in files {
        let suite = Suite::load(path).map_err(|error| failing(error.to_string(), path))?;
        let outcome = run(plugin, &suite);
        let failed = outcome.failed().count();
        if let Some(first) = outcome.failed().next() {
            let file = path.display();
            let (line, case, text) = (first.line, &first.case, &first.text);
            let what =
                format!("{failed} of its cases fail; the first is {file}:{line} `{case}`: {text}");
            return Err(failing(what, path));
        }
    }
    Ok(())
}

fn failing(what: String, file: &Path) -> Failing {
    Failing {
        what,
        hint: "fix the plugin or its cases; `forebay plugin test` shows every failure".to_owned(),
        files: vec![file.to_owned()],
    }
}

/// Lists the case files of a component: `NAME.cases.toml` and `NAME.cases/*.toml` beside
/// `NAME.wasm`, sorted by name.
///
/// # Errors
/// If the directory of cases cannot be read.
pub fn beside(component: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let file = component.with_extension("cases.toml");
    if file.is_file() {
        found.push(file);
    }
    let directory = component.with_extension("cases");
    if directory.is_dir() {
        found.extend(within(&directory)?);
    }
    Ok(found)
}

/// Lists the case files in a directory, sorted by name: `*.cases.toml`, or every `*.toml` if the
/// directory's name ends in `.cases`.
///
/// # Errors
/// If the directory cannot be read.
pub fn within(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let suffix = match directory.extension() {
        Some(extension) if extension == "cases" => ".toml",
        _ => ".cases.toml",
    };
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_file() && name.ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
