//! The configuration that a load stands for.

use std::path::Path;

use toml::Value;

use crate::cli::exit::UsageError;

/// What the configuration is made of.
pub(super) struct Written<'a> {
    pub files: &'a [String],
    pub table: &'a str,
    pub key: &'a str,
    pub database: Option<&'a str>,
    pub rename: &'a [(String, String)],
    pub plugins: &'a [String],
}

impl Written<'_> {
    /// As a person would write it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(url) = self.database {
            text += &format!("database.url = {}\n\n", quoted(url));
        }
        let files: Vec<String> = self
            .files
            .iter()
            .map(|file| quoted(&pattern(file)))
            .collect();
        let files = match files.as_slice() {
            [file] => file.clone(),
            files => format!("[{}]", files.join(", ")),
        };
        let key = quoted(self.key);
        // The pipeline is named after the table.
        let bare = self.table.rsplit('.').next().unwrap_or(self.table);
        text += &format!("[pipelines.{}]\n", name(bare));
        text += &format!("source = {{ files = {files}, key = {key} }}\n");
        let plugins: Vec<String> = self.plugins.iter().map(|it| quoted(it)).collect();
        text += &format!("plugins = [{}]\n", plugins.join(", "));
        text += &format!("tables = [{}]\n", quoted(self.table));
        let rename = self.rename.iter();
        let rename: Vec<String> = rename
            .map(|(from, to)| format!("{} = {}", name(from), quoted(to)))
            .collect();
        if !rename.is_empty() {
            text += &format!("rename = {{ {} }}\n", rename.join(", "));
        }
        // An index on an empty table is built when it is filled.
        text + "index = \"defer\"\n"
    }

    /// An error if there is such a file.
    pub(super) fn refuse_existing(&self, path: &Path) -> Result<(), UsageError> {
        match path.exists() {
            true => Err(UsageError(format!(
                "{} exists\n  hint: name another file, or add to it:\n    {}",
                path.display(),
                self.text().trim_end().replace('\n', "\n    ")
            ))),
            false => Ok(()),
        }
    }

    /// Writes it; paths in it are relative to the current directory.
    pub(super) fn write(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, self.text())
    }
}

/// A file that is there is meant as it is, whatever characters it has.
fn pattern(file: &str) -> String {
    match Path::new(file).exists() {
        true => glob::Pattern::escape(file),
        false => file.to_owned(),
    }
}

/// A text as TOML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A name of a key as TOML: quoted only if it has to be.
fn name(text: &str) -> String {
    let is_bare = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-');
    match !text.is_empty() && text.chars().all(is_bare) {
        true => text.to_owned(),
        false => quoted(text),
    }
}
