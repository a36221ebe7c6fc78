//! `forebay plugin build`

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::exit::{Exit, UsageError};
use crate::cli::global::Global;
use crate::cli::output::{print_json, thousands};
use crate::cli::session;
use crate::config::search_path;
use crate::plugin::Plugin;
use crate::project::{Kind, Project, ProjectError};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Build {
    /// Directory of the project's forebay-plugin.toml
    #[arg(default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Output file [default: dist/NAME.wasm in the project]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Import wasi:* in Rust as well (wasm32-wasip2); other languages do anyway
    #[arg(long)]
    wasi: bool,
    /// Answer wasi:* inside the component, whose prints and tracebacks are then lost
    #[arg(long, conflicts_with = "wasi")]
    stub_wasi: bool,
}

impl Build {
    pub(super) fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let project = Project::open(&self.project).map_err(usage)?;
        let kind = match (self.wasi, self.stub_wasi) {
            (true, _) => Kind::Wasi,
            (_, true) => Kind::Stubbed,
            (false, false) => Kind::Heard,
        };
        let built = project
            .build(kind, search_path(), |command| eprintln!("$ {command}"))
            .map_err(usage)?;
        // A plugin that the sandbox refuses must not reach a directory that a host may be watching.
        let engine = session::engine(session::config_if_any(global)?.as_ref())?;
        let plugin = engine.load(&built.path)?;
        let default = project.default_output();
        let output = self.output.as_ref().unwrap_or(&default);
        built.place(output)?;
        report(&plugin, output, global)?;
        Ok(Exit::Done)
    }
}

/// Marks usage errors, which have an exit code of their own.
pub(super) fn usage(error: ProjectError) -> anyhow::Error {
    if error.is_usage() {
        UsageError(error.to_string()).into()
    } else {
        error.into()
    }
}

fn report(plugin: &Plugin, output: &Path, global: &Global) -> anyhow::Result<()> {
    let (id, roles) = (plugin.id(), plugin.roles().names());
    if global.json {
        return print_json(&json!({
            "path": output,
            "name": id.name,
            "version": id.version,
            "digest": id.digest,
            "roles": roles,
            "bytes": plugin.size(),
        }));
    }
    println!(
        "{}: {} {} ({}), {} bytes",
        output.display(),
        id.name,
        id.version,
        roles.join(", "),
        thousands(plugin.size() as u64),
    );
    Ok(())
}
