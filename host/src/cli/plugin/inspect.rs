//! `forebay plugin inspect`: shows what is known about a component, loaded or refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, UsageError};
use crate::cli::global::Global;
use crate::cli::output::{print_json, thousands};
use crate::cli::{screen, session};
use crate::config::Config;
use crate::plugin::{Engine, ImportStatus, Inspection, Limits, Plugin};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Inspect {
    /// Component files, or names of plugins in the configured directory
    #[arg(required = true, value_name = "FILE|NAME")]
    plugins: Vec<PathBuf>,
}

impl Inspect {
    pub(super) fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let engine = session::engine(config.as_ref())?;
        let mut inspections = Vec::new();
        for plugin in &self.plugins {
            // A symbolic link counts even if its target does not exist.
            if plugin.symlink_metadata().is_ok() {
                inspections.push(engine.inspect(plugin));
            } else if plugin.extension().is_some() || plugin.components().count() > 1 {
                // A plugin's name has neither.
                return Err(UsageError(format!("no file {}", plugin.display())).into());
            } else {
                let name = plugin.to_string_lossy();
                inspections.push(by_name(&engine, config.as_ref(), &name)?);
            }
        }
        let limits = engine.limits();
        if global.json {
            let all = inspections
                .iter()
                .map(|it| as_json(it, &limits_of(it, limits)));
            print_json(&all.collect::<Vec<_>>())?;
        } else {
            let columns = screen::columns();
            let all = inspections
                .iter()
                .map(|it| text(it, &limits_of(it, limits), columns));
            print!("{}", all.collect::<Vec<_>>().join("\n"));
        }
        let all_load = inspections.iter().all(|it| it.plugin.is_ok());
        Ok(if all_load { Exit::Done } else { Exit::Failed })
    }
}

/// The limits of a plugin, or of all for a file that is none.
fn limits_of(inspection: &Inspection, all: Limits) -> Limits {
    let plugin = inspection.plugin.as_ref();
    plugin.map_or(all, |plugin| plugin.limits())
}

fn by_name(
    engine: &Arc<Engine>,
    config: Option<&Config>,
    name: &str,
) -> Result<Inspection, UsageError> {
    let Some(config) = config else {
        let hint = "without a configuration, name the file of a component";
        return Err(UsageError(format!("no file {name}\n  hint: {hint}")));
    };
    let directory = &config.plugins.directory;
    let paths = Engine::files_of(directory).map_err(|error| UsageError(error.to_string()))?;
    let mut known = Vec::new();
    for path in paths {
        let inspection = engine.inspect(&path);
        match &inspection.plugin {
            Ok(plugin) if plugin.id().name == name => return Ok(inspection),
            Ok(plugin) => known.push(plugin.id().name.clone()),
            Err(_) => {}
        }
    }
    let hint = match known.as_slice() {
        [] => "no file there is a plugin".to_owned(),
        known => format!("plugins there: {}", known.join(", ")),
    };
    Err(UsageError(format!(
        "no plugin {name} in {}, and no file of that name\n  hint: {hint}",
        directory.display(),
    )))
}

fn as_json(inspection: &Inspection, limits: &Limits) -> Value {
    let imports = inspection.imports().iter().map(|import| {
        let (standing, why) = match &import.status {
            ImportStatus::Interface => ("interface", Value::Null),
            ImportStatus::Granted(grant) => ("granted", grant.name().into()),
            ImportStatus::Empty => ("empty", Value::Null),
            ImportStatus::Absent => ("absent", "a call traps".into()),
            ImportStatus::Refused(reason) => ("refused", reason.as_str().into()),
        };
        json!({ "name": import.name, "standing": standing, "why": why })
    });
    let plugin = inspection.plugin.as_ref();
    let milliseconds = |(time, _): (Duration, bool)| time.as_secs_f64() * 1e3;
    json!({
        "file": inspection.path,
        "bytes": inspection.size(),
        "sha256": inspection.digest(),
        "interface": inspection.interface(),
        "packed": inspection.packed(),
        "loads": plugin.is_ok(),
        "refused": plugin.err().map(|error| json!({ "what": error.what, "hint": error.hint })),
        "name": plugin.ok().map(|it| &it.id().name),
        "version": plugin.ok().map(|it| &it.id().version),
        "roles": inspection.roles().names(),
        "reads": plugin.ok().and_then(|it| it.reads()),
        "grants": plugin.ok().map(|it| it.grants()),
        "imports": imports.collect::<Vec<_>>(),
        "exports": inspection.exports(),
        "compile_ms": inspection.compiled().map(milliseconds),
        "from_cache": inspection.compiled().map(|(_, was_cached)| was_cached),
        "limits": limits,
    })
}

/// The properties, one per line; then the reason if the component is refused.
fn text(inspection: &Inspection, limits: &Limits, columns: usize) -> String {
    let mut text = String::new();
    let properties = properties(inspection)
        .into_iter()
        .chain([("limits", Some(shown(limits)))]);
    for (name, value) in properties {
        if let Some(value) = value {
            let line = format!("{name:<10} {value}");
            // Not between a name and its value.
            let parts = line.split_inclusive(", ").map(str::trim_end);
            text += &screen::wrap(parts, 11, columns);
            text.push('\n');
        }
    }
    write_imports(&mut text, inspection);
    if let Err(error) = &inspection.plugin {
        text += &format!("REFUSED: {}\n  hint: {}\n", error.what, error.hint);
    }
    text
}

/// What is known of the component, by name.
fn properties(inspection: &Inspection) -> [(&'static str, Option<String>); 8] {
    let plugin = inspection.plugin.as_ref().ok();
    let size = inspection
        .size()
        .map(|bytes| format!(" ({} bytes)", thousands(bytes)));
    let path = inspection.path.display();
    let interface = inspection.interface().map(|it| match inspection.packed() {
        Some(packed) => format!("forebay:plugin@{it}, forebay:packed@{packed}"),
        None => format!("forebay:plugin@{it}"),
    });
    let roles = inspection.roles().to_string();
    let compiled = inspection.compiled().map(|(time, was_cached)| {
        let from = if was_cached { ", from the cache" } else { "" };
        format!("in {:.1} ms{from}", time.as_secs_f64() * 1e3)
    });
    [
        ("file", Some(format!("{path}{}", size.unwrap_or_default()))),
        ("sha256", inspection.digest().map(str::to_owned)),
        (
            "plugin",
            plugin.map(|it| format!("{} {}", it.id().name, it.id().version)),
        ),
        ("interface", interface),
        ("roles", Some(roles).filter(|roles| !roles.is_empty())),
        ("reads", plugin.map(|it| reads(it))),
        ("grants", plugin.map(|it| grants(it))),
        ("compiled", compiled),
    ]
}

fn reads(plugin: &Plugin) -> String {
    match plugin.reads() {
        None => "all columns".to_owned(),
        Some([]) => "no columns".to_owned(),
        Some(columns) => columns.join(", "),
    }
}

fn grants(plugin: &Plugin) -> String {
    let names: Vec<_> = plugin.grants().iter().map(|grant| grant.name()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn write_imports(text: &mut String, inspection: &Inspection) {
    let imports = inspection.imports();
    let width = imports.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for (index, import) in imports.iter().enumerate() {
        let name = if index == 0 { "imports" } else { "" };
        // The reason of a refusal follows below.
        let standing = match &import.status {
            ImportStatus::Refused(_) => "REFUSED".to_owned(),
            other => other.to_string(),
        };
        *text += &format!("{name:<10} {:width$}  {standing}\n", import.name);
    }
}

fn shown(limits: &Limits) -> String {
    let size = |bytes: usize| ByteSize::b(bytes as u64);
    let Limits {
        memory,
        deadline,
        stack,
        table_elements,
        instances,
        host_calls,
        log_lines,
        output,
        // Those of the host, not of a plugin at work.
        compile_time: _,
        compile_memory: _,
    } = *limits;
    format!(
        "memory {}, deadline {}, stack {}, output {}, host_calls {host_calls}, log_lines \
         {log_lines}, table_elements {table_elements}, instances {instances}",
        size(memory),
        humantime::format_duration(deadline),
        size(stack),
        size(output),
    )
}
