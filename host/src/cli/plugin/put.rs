//! `forebay plugin put`: copies a component into the plugin directory, in one step.

use std::fs;
use std::fs::Permissions;
use std::io;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

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
        let copy = self.copy(&plugin, directory)?;
        // The host tests the component with the cases that it finds, so these come first.
        if let Some(cases) = &cases {
            place(cases, &put_cases)?;
        }
        copy.persist(&component)
            .map_err(|error| error.error)
            .with_context(|| format!("cannot write {}", component.display()))?;
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

    /// Copies the component into the directory, under a name that no host looks at.
    fn copy(&self, tested: &Plugin, directory: &Path) -> anyhow::Result<NamedTempFile> {
        let bytes = fs::read(&self.plugin)
            .with_context(|| format!("cannot read {}", self.plugin.display()))?;
        if hex::encode(Sha256::digest(&bytes)) != tested.id().digest {
            let hint = "try again once nothing writes to it";
            return Err(UsageError(format!(
                "{} was changed while it was tested\n  hint: {hint}",
                self.plugin.display()
            ))
            .into());
        }
        let copied = || -> io::Result<NamedTempFile> {
            let mut copy = tempfile::Builder::new()
                // As files usually are; a temporary file is private.
                .permissions(Permissions::from_mode(0o644))
                .tempfile_in(directory)?;
            copy.write_all(&bytes)?;
            Ok(copy)
        };
        copied().with_context(|| format!("cannot write to {}", directory.display()))
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

/// The name of the plugin in a file; `None` if there is none.
fn name_in(engine: &Arc<Engine>, path: &Path) -> Option<String> {
    Some(engine.load(path).ok()?.id().name.clone())
}

/// The file of the plugin of this name in the directory, or the one that it gets.
///
/// # Errors
/// When that file holds another plugin.
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
    let there = name_in(engine, &by_name);
    if there.as_deref() == Some(name) {
        return Ok(by_name);
    }
    let files = Engine::files_of(directory)?.into_iter();
    let mut others = files.filter(|path| *path != by_name);
    let its = others.find(|path| name_in(engine, path).as_deref() == Some(name));
    match (its, there) {
        (Some(its), _) => Ok(its),
        (None, None) => Ok(by_name),
        (None, Some(other)) => Err(UsageError(format!(
            "{} is the plugin {other}, and would be replaced by {name}\n  hint: rename it to \
             {other}.wasm, or remove it",
            by_name.display()
        ))
        .into()),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use support::component::component;

    use super::*;
    use crate::plugin::Limits;

    #[test]
    fn h10_a_plugin_goes_where_it_is_and_replaces_no_other() {
        let engine = Engine::new(Limits::default(), None).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let named = |name| component(&[("name", name), ("name_len", "1")]);
        let place = |name| place_of(&engine, directory.path(), name);
        assert_eq!(place("a").unwrap(), at("a.wasm"));

        fs::write(at("a.wasm"), named("b")).unwrap();
        let refused = place("a").unwrap_err().to_string();
        assert!(
            refused.ends_with(
                "/a.wasm is the plugin b, and would be replaced by a\n  hint: rename it to b.wasm, \
                 or remove it"
            ),
            "{refused}"
        );
        assert_eq!(place("b").unwrap(), at("a.wasm"));
        fs::write(at("other.wasm"), named("a")).unwrap();
        assert_eq!(place("a").unwrap(), at("other.wasm"));

        // What is damaged is replaced.
        fs::write(at("c.wasm"), "damaged").unwrap();
        assert_eq!(place("c").unwrap(), at("c.wasm"));
    }

    #[test]
    fn h10_only_what_was_tested_is_put() {
        let engine = Engine::new(Limits::default(), None).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let put = Put {
            plugin: directory.path().join("made.wasm"),
            cases: None,
            directory: None,
        };
        let bytes = component(&[]);
        fs::write(&put.plugin, &bytes).unwrap();
        let tested = load(&engine, &put.plugin).unwrap();
        let copy = put.copy(&tested, directory.path()).unwrap();
        assert_eq!(fs::read(copy.path()).unwrap(), bytes);
        fs::write(&put.plugin, component(&[("name", "another")])).unwrap();
        let refused = put.copy(&tested, directory.path()).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("was changed while it was tested"),
            "{refused}"
        );
    }
}
