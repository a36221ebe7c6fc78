//! `forebay plugin new`

use std::path::PathBuf;

use serde_json::json;

use super::build::usage;
use crate::cli::{Exit, Global, print_json};
use crate::project;
use crate::project::{Language, Role};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct New {
    /// Of the plugin: lower-case words joined by hyphens
    name: String,
    /// What to write it in
    #[arg(long, value_enum)]
    lang: Language,
    /// What it does
    #[arg(long, value_enum)]
    role: Role,
    /// Where the project goes; by default into a new directory of the plugin's name
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl New {
    pub(super) fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let new = project::New {
            name: self.name.clone(),
            language: self.lang,
            role: self.role,
        };
        let beside = PathBuf::from(&self.name);
        let directory = self.directory.as_ref().unwrap_or(&beside);
        let files = new.write(directory).map_err(usage)?;
        if global.json {
            print_json(&json!({ "directory": directory, "files": files }))?;
            return Ok(Exit::Done);
        }
        println!("wrote {} files into {}", files.len(), directory.display());
        println!("\nnext, as its README.md says:");
        println!("  cd {}", project::quoted(directory.as_os_str()));
        if let Some(install) = new.install() {
            println!("  {install}");
        }
        println!("  forebay plugin build");
        let name = &self.name;
        println!("  forebay plugin test dist/{name}.wasm {name}.cases.toml");
        Ok(Exit::Done)
    }
}
