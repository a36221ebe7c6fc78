//! `forebay plugin inspect`: what can be known about a component, loaded or refused.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::cli::output::thousands;
use crate::cli::{Exit, Global, UsageError, print_json, session};
use crate::config::Config;
use crate::plugin::{Engine, ImportStatus, Inspection, Limits};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Inspect {
    /// Components, or names of plugins of the configured directory
    #[arg(required = true, value_name = "FILE|NAME")]
    plugins: Vec<PathBuf>,
}

impl Inspect {
    pub(super) fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let engine = session::engine(config.as_ref())?;
        let mut inspections = Vec::new();
        for plugin in &self.plugins {
            // What is not there is a file as well: links may lead nowhere.
            if plugin.symlink_metadata().is_ok() {
                inspections.push(engine.inspect(plugin));
            } else {
                let name = plugin.to_string_lossy();
                inspections.push(by_name(&engine, config.as_ref(), &name)?);
            }
        }
        let limits = engine.limits();
        if global.json {
            let all = inspections.iter().map(|it| as_json(it, &limits));
            print_json(&all.collect::<Vec<_>>())?;
        } else {
            let all: Vec<_> = inspections.iter().map(|it| text(it, &limits)).collect();
            print!("{}", all.join("\n"));
        }
        let all_load = inspections.iter().all(|it| it.plugin.is_ok());
        Ok(if all_load { Exit::Done } else { Exit::Failed })
    }
}

fn by_name(
    engine: &Arc<Engine>,
    config: Option<&Config>,
    name: &str,
) -> Result<Inspection, UsageError> {
    let Some(config) = config else {
        let hint = "without a configuration, give the file of a component";
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
    Err(UsageError(format!(
        "no file {name}, and no plugin of that name in {}\n  hint: there are {}",
        directory.display(),
        known.join(", ")
    )))
}

fn as_json(inspection: &Inspection, limits: &Limits) -> Value {
    let imports = inspection.imports().iter().map(|import| {
        let (standing, why) = match &import.status {
            ImportStatus::Interface => ("interface", Value::Null),
            ImportStatus::Granted(grant) => ("granted", grant.name().into()),
            ImportStatus::Empty => ("empty", Value::Null),
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

/// What is known, a line each; and why it is refused, if it is.
fn text(inspection: &Inspection, limits: &Limits) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a text cannot fail.
            writeln!(text, "{name:<10} {value}").unwrap_or_default();
        }
    };
    let plugin = inspection.plugin.as_ref().ok();
    let size = inspection
        .size()
        .map(|bytes| format!(" ({} bytes)", thousands(bytes)));
    let path = inspection.path.display();
    line("file", Some(format!("{path}{}", size.unwrap_or_default())));
    line("sha256", inspection.digest().map(str::to_owned));
    line(
        "plugin",
        plugin.map(|it| format!("{} {}", it.id().name, it.id().version)),
    );
    let interface = inspection.interface();
    line(
        "interface",
        interface.map(|it| match inspection.packed() {
            Some(packed) => format!("forebay:plugin@{it}, forebay:packed@{packed}"),
            None => format!("forebay:plugin@{it}"),
        }),
    );
    let roles = inspection.roles().to_string();
    line("roles", Some(roles).filter(|roles| !roles.is_empty()));
    line(
        "reads",
        plugin.map(|it| match it.reads() {
            None => "all columns".to_owned(),
            Some([]) => "no columns".to_owned(),
            Some(columns) => columns.join(", "),
        }),
    );
    line(
        "grants",
        plugin.map(|it| {
            let names: Vec<_> = it.grants().iter().map(|grant| grant.name()).collect();
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        }),
    );
    line(
        "compiled",
        inspection.compiled().map(|(time, was_cached)| {
            let from = if was_cached { ", from the cache" } else { "" };
            format!("in {:.1} ms{from}", time.as_secs_f64() * 1e3)
        }),
    );
    line("limits", Some(shown(limits)));
    let imports = inspection.imports();
    let width = imports.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for (index, import) in imports.iter().enumerate() {
        let name = if index == 0 { "imports" } else { "" };
        // Why it is refused is said below.
        let standing = match &import.status {
            ImportStatus::Refused(_) => "REFUSED".to_owned(),
            other => other.to_string(),
        };
        line(name, Some(format!("{:width$}  {standing}", import.name)));
    }
    if let Err(error) = &inspection.plugin {
        text += &format!("REFUSED: {}\n  hint: {}\n", error.what, error.hint);
    }
    text
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
    } = *limits;
    format!(
        "memory {}, deadline {}, stack {}, output {}, host_calls {host_calls},\n{:11}log_lines \
         {log_lines}, table_elements {table_elements}, instances {instances}",
        size(memory),
        humantime::format_duration(deadline),
        size(stack),
        size(output),
        ""
    )
}
