//! Secrets: texts of the configuration or of the environment, or files that are read when they are
//! used, so that a renewed secret needs no restart.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::problems::Problems;

/// A secret. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret.
    Text(String),
    /// A file that holds it.
    File(PathBuf),
}

impl Secret {
    /// The secret as it is now. Line ends at the end of a file are not part of it.
    ///
    /// # Errors
    /// If its file cannot be read, or is not UTF-8.
    pub fn read(&self) -> io::Result<Cow<'_, str>> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)?;
                Ok(Cow::Owned(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
        }
    }

    /// The file that holds it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The secret of a key, or of the key that names its file.
pub(super) fn secret(
    directory: &Path,
    text: Option<String>,
    file: Option<String>,
) -> Option<Secret> {
    let file = file.map(|file| Secret::File(directory.join(file)));
    text.map(Secret::Text).or(file)
}

/// The file that a text names in the form `${file:PATH}`.
pub(super) fn file_of(text: &str) -> Option<&str> {
    text.strip_prefix("${file:")?.strip_suffix('}')
}

/// The key beside a secret that names its file; `None` if the key at `path` is no secret.
fn file_key(path: &[&str]) -> Option<String> {
    match path {
        ["database", key @ ("url" | "password")]
        | ["pipelines", _, "source" | "notify", "auth", key @ "token"] => {
            Some(format!("{key}_file"))
        }
        _ => None,
    }
}

/// Moves secrets of the form `${file:PATH}` to the keys that name files.
pub(super) fn move_files(
    entries: &mut Map<String, Value>,
    path: &[String],
    problems: &mut Problems<'_>,
) {
    let mut files = Vec::new();
    for (key, value) in &*entries {
        let Some(text) = value.as_str().filter(|text| text.contains("${file:")) else {
            continue;
        };
        let full: Vec<&str> = path.iter().map(String::as_str).chain([&**key]).collect();
        match (file_key(&full), file_of(text)) {
            // `$${` stands for `${`.
            (None, _) if text.replace("$${", "").contains("${file:") => problems.add(
                &full,
                "takes no `${file:…}`: only secrets are read from files",
                Some(
                    "these are database.url, database.password, and `token` of an `auth`"
                        .to_owned(),
                ),
            ),
            (Some(file_key), Some(file)) => files.push((key.clone(), file_key, file.to_owned())),
            (Some(_), None) if text.replace("$${", "").contains("${file:") => problems.add(
                &full,
                "has more than `${file:…}`: a file holds the whole secret",
                Some(match key.as_str() {
                    "url" => "write the password as database.password".to_owned(),
                    _ => "write everything into the file".to_owned(),
                }),
            ),
            _ => {}
        }
    }
    for (key, file_key, file) in files {
        entries.remove(&key);
        if entries.contains_key(&file_key) {
            let full: Vec<&str> = path
                .iter()
                .map(String::as_str)
                .chain([&*file_key])
                .collect();
            let hint = Some("keep one of them".to_owned());
            problems.add(&full, format!("`{key}` names a file as well"), hint);
        }
        entries.insert(file_key, file.into());
    }
}
