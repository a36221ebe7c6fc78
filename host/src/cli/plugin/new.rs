//! `forebay plugin new`

use std::path::PathBuf;

use serde_json::json;

use super::build::usage;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::print_json;
use crate::project;
use crate::project::{Language, Role};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct New {
    /// Name of the plugin: lower-case words joined by hyphens
    name: String,
    /// Programming language
    #[arg(long, value_enum)]
    lang: Language,
    /// Role of the plugin, or several, separated by commas
    #[arg(long, value_enum, required = true, value_delimiter = ',')]
    role: Vec<Role>,
    /// Directory of the project [default: NAME]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl New {
    pub(super) fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let new = project::New {
            name: self.name.clone(),
            language: self.lang,
            roles: self.role.clone(),
        };
        let beside = PathBuf::from(&self.name);
        let directory = self.directory.as_ref().unwrap_or(&beside);
        let files = new.write(directory).map_err(usage)?;
        if global.json {
            print_json(&json!({ "directory": directory, "files": files }))?;
            return Ok(Exit::Done);
        }
        println!("wrote {} files to {}", files.len(), directory.display());
        println!("\nnext steps, explained in its README.md:");
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
