//! The files that patterns stand for.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::Files;
use crate::source::failure::Failure;

/// Paths of the files, relative to the directory where they are below it, in order.
pub(super) fn find(config: &Files) -> Result<Vec<String>, Failure> {
    let mut found = BTreeSet::new();
    for pattern in &config.patterns {
        for path in matches(&config.directory, pattern)? {
            found.insert(path);
        }
    }
    Ok(found.into_iter().collect())
}

fn matches(directory: &Path, pattern: &str) -> Result<Vec<String>, Failure> {
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    // The directory is none of the pattern.
    let escaped = glob::Pattern::escape(&directory.to_string_lossy());
    let full = Path::new(&escaped).join(pattern);
    let invalid = |error: glob::PatternError| {
        Failure::fatal(format!("`{pattern}` is not a pattern: {error}"))
            .hint("`*` stands for any characters, `**` for any folders; `[*]` is an asterisk")
    };
    let paths = glob::glob(&full.to_string_lossy()).map_err(invalid)?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| Failure::away(format!("cannot be searched: {error}")))?;
        if path.is_dir() {
            continue;
        }
        let below = path.strip_prefix(directory).unwrap_or(&path);
        let Some(name) = below.to_str() else {
            let message = format!("the name of {} is not UTF-8", path.display());
            return Err(Failure::fatal(message).hint("rename the file"));
        };
        found.push(name.to_owned());
    }
    Ok(found)
}
