//! What is compared: the example's three plugins in Rust, and each plugin that does the work of
//! the three in another language.

use std::path::{Path, PathBuf};

use anyhow::ensure;

/// The plugins of a pipeline.
pub(crate) struct Set {
    /// As the tables name it.
    pub(crate) label: String,
    /// Components, in the order of the chain.
    pub(crate) files: Vec<PathBuf>,
}

impl Set {
    /// No plugins.
    pub(crate) fn none(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            files: Vec::new(),
        }
    }

    /// What `make plugins` builds.
    pub(crate) fn recruit(target: &Path) -> anyhow::Result<Self> {
        let names = ["recruit-normalize", "recruit-rules", "recruit-dlq"];
        let files = names.map(|name| target.join("plugins").join(format!("{name}.wasm")));
        for file in &files {
            ensure!(
                file.is_file(),
                "{} is missing: run `make plugins`",
                file.display()
            );
        }
        Ok(Self {
            label: "Rust, three plugins".to_owned(),
            files: files.into(),
        })
    }

    /// What `make examples` builds, in the order of the files' names; none where it was not run.
    pub(crate) fn examples(target: &Path) -> anyhow::Result<Vec<Self>> {
        let directory = target.join("examples");
        let mut files = Vec::new();
        if directory.is_dir() {
            for entry in directory.read_dir()? {
                let file = entry?.path();
                if file
                    .extension()
                    .is_some_and(|extension| extension == "wasm")
                {
                    files.push(file);
                }
            }
        }
        files.sort();
        Ok(files
            .into_iter()
            .map(|file| {
                let name = name(&file);
                Self {
                    label: name.strip_prefix("row-rules-").unwrap_or(&name).to_owned(),
                    files: vec![file],
                }
            })
            .collect())
    }
}

/// The plugin's own name: both kinds of build have the same.
pub(crate) fn described(file: &Path) -> String {
    let name = name(file);
    name.strip_suffix("-wasi").unwrap_or(&name).to_owned()
}

/// The file's name without its extension.
fn name(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
