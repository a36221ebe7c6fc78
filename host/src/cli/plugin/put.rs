//! `forebay plugin put`: copies a component into the plugin directory, in one step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;

use crate::cases;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::global::Global;
use crate::cli::output::print_json;
use crate::cli::session;
use crate::plugin::{Engine, Plugin};
use crate::project::place;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Put {
    /// Component
    #[arg(value_name = "FILE")]
    plugin: PathBuf,
    /// File of its cases [default: NAME.cases.toml beside the component]
    #[arg(value_name = "CASES")]
    cases: Option<PathBuf>,
    /// Plugin directory [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Put {
    pub(super) fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let configured = config.as_ref().map(|config| &config.plugins.directory);
        let Some(directory) = self.directory.as_ref().or(configured) else {
            let hint = "name it with --directory, or be where the configuration is";
            return Err(UsageError(format!(
                "no configuration names the plugin directory\n  hint: {hint}"
            ))
            .into());
        };
        let engine = session::engine(config.as_ref())?;
        let plugin = load(&engine, &self.plugin)?;
        let name = &plugin.id().name;
        let component = place_of(&engine, directory, name)?;
        let cases = self.cases()?;
        let put_cases = component.with_extension("cases.toml");
        self.test(&plugin, cases.as_deref(), &component)?;
        // The host tests the component with the cases that it finds, so these come first.
        if let Some(cases) = &cases {
            place(cases, &put_cases)?;
        }
        place(&self.plugin, &component)?;
        report(
            &plugin,
            &component,
            cases.is_some().then_some(&put_cases),
            global,
        )?;
        Ok(Exit::Done)
    }

    /// The file of cases to copy.
    fn cases(&self) -> anyhow::Result<Option<PathBuf>> {
        if let Some(cases) = &self.cases {
            return Ok(Some(cases.clone()));
        }
        let beside = self.plugin.with_extension("cases.toml");
        Ok(beside.is_file().then_some(beside))
    }

    /// Runs the cases that the host will run: those that are copied, or those that are there.
    fn test(&self, plugin: &Arc<Plugin>, cases: Option<&Path>, put: &Path) -> anyhow::Result<()> {
        let there = cases::beside(put)
            .with_context(|| format!("cannot read the cases of {}", put.display()))?;
        let replaced = put.with_extension("cases.toml");
        let kept = there
            .into_iter()
            .filter(|file| cases.is_none() || *file != replaced);
        let files: Vec<PathBuf> = cases.map(Path::to_owned).into_iter().chain(kept).collect();
        cases::pass_all(plugin, &files).map_err(|failing| {
            UsageError(format!(
                "{}: {}\n  hint: {}",
                self.plugin.display(),
                failing.what,
                failing.hint
            ))
            .into()
        })
    }
}

fn load(engine: &Arc<Engine>, path: &Path) -> Result<Arc<Plugin>, UsageError> {
    engine
        .load(path)
        .map_err(|error| UsageError(error.to_string()))
}

/// The file of the plugin of this name in the directory, or the one that it gets.
fn place_of(engine: &Arc<Engine>, directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
    if !directory.is_dir() {
        let hint = "create it, or name another one";
        return Err(UsageError(format!(
            "plugin directory {} does not exist\n  hint: {hint}",
            directory.display()
        ))
        .into());
    }
    let by_name = directory.join(format!("{name}.wasm"));
    if by_name.exists() {
        return Ok(by_name);
    }
    let files = Engine::files_of(directory)?;
    let has_name = |path: &PathBuf| engine.load(path).is_ok_and(|it| it.id().name == name);
    Ok(files.into_iter().find(has_name).unwrap_or(by_name))
}

fn report(
    plugin: &Plugin,
    component: &Path,
    cases: Option<&PathBuf>,
    global: &Global,
) -> anyhow::Result<()> {
    let id = plugin.id();
    if global.json {
        return print_json(&json!({
            "path": component,
            "cases": cases,
            "name": id.name,
            "version": id.version,
            "digest": id.digest,
        }));
    }
    if let Some(cases) = cases {
        println!("{}", cases.display());
    }
    println!("{}: {} {}", component.display(), id.name, id.version);
    Ok(())
}
