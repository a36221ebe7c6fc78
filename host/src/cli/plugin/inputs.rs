//! Parses settings and loads cases that commands name.

use std::path::{Path, PathBuf};

use crate::cases;
use crate::cases::Suite;
use crate::cli::exit::UsageError;

/// Parses `KEY=VALUE`.
pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

/// Loads the cases of these files and directories, or else those beside the component.
pub(super) fn suites(component: &Path, paths: &[PathBuf]) -> anyhow::Result<Vec<Suite>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let within = cases::within(path)?;
            if within.is_empty() {
                return Err(UsageError(format!("no *.cases.toml in {}", path.display())).into());
            }
            files.extend(within);
        } else {
            files.push(path.clone());
        }
    }
    if paths.is_empty() {
        files = cases::beside(component)?;
    }
    let (mut suites, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match Suite::load(&file) {
            Ok(suite) => suites.push(suite),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if wrong.is_empty() {
        Ok(suites)
    } else {
        Err(UsageError(wrong.join("\n")).into())
    }
}
