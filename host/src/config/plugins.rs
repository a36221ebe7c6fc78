//! `[plugins]`: their directory, limits and permissions, and the introduction of new versions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::defaults;
use super::file;
use super::format::{duration, parse_duration, parse_size, size, write_size};
use super::problems::Problems;
use crate::plugin;
use crate::plugin::{Grant, MAX_STACK, MIN_STACK, Permissions, Wasi};

/// Directory, limits and permissions of plugins, and the introduction of new versions.
#[derive(Debug, Clone)]
pub struct Plugins {
    /// Every `*.wasm` in it is loaded.
    pub directory: PathBuf,
    /// Limits of each instance.
    pub limits: plugin::Limits,
    /// Limits of single plugins, by name, in place of these.
    pub own_limits: BTreeMap<String, plugin::Limits>,
    /// Imports that each plugin may use.
    pub permissions: plugin::Permissions,
    /// When a new version is replaced by the last good one.
    pub canary: Canary,
    /// Plugins whose new versions first run without effect.
    pub shadow: Option<Shadow>,
}

/// When a new version of a plugin is replaced by the last good one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// Number of its first chunks that are watched.
    pub chunks: u32,
    /// Share of rows on which it may fail.
    pub faults: f64,
}

/// New versions that run beside the one in use, without effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// Names of the plugins.
    pub plugins: Vec<String>,
    /// Number of rows after which a version is promoted automatically; `None` for never.
    pub promote_after: Option<u64>,
    /// Share of rows whose outcome may differ for that.
    pub differences: f64,
}

impl Plugins {
    /// True if new versions of this plugin first run without effect.
    #[must_use]
    pub fn is_shadowed(&self, name: &str) -> bool {
        let shadow = self.shadow.as_ref();
        shadow.is_some_and(|shadow| shadow.plugins.iter().any(|plugin| plugin == name))
    }

    /// The shortest deadline of a plugin.
    #[must_use]
    pub fn shortest_deadline(&self) -> Duration {
        let own = self.own_limits.values().map(|limits| limits.deadline);
        own.fold(self.limits.deadline, Duration::min)
    }
}

/// Checks the size of the stack. A thread has only so much, and a guest that overran it would
/// end the host.
pub(super) fn check_stack(document: &Value, problems: &mut Problems<'_>) {
    let stack = document.pointer("/plugins/limits/stack");
    if let Some(stack) = stack.and_then(Value::as_str).and_then(parse_size)
        && !(MIN_STACK..=MAX_STACK).contains(&stack)
    {
        let (least, most) = (write_size(MIN_STACK), write_size(MAX_STACK));
        problems.add(
            &["plugins", "limits", "stack"],
            "is out of range",
            Some(format!("from \"{least}\" to \"{most}\"")),
        );
    }
}

/// Checks that no plugin's own limit is above the one for all, unless it says that it may be.
pub(super) fn check_own_limits(document: &Value, problems: &mut Problems<'_>) {
    let all = document
        .pointer("/plugins/limits")
        .and_then(Value::as_object);
    let own = all.into_iter().flatten();
    for (name, own) in own.filter_map(|(name, own)| Some((name, own.as_object()?))) {
        if !plugin::is_name(name) {
            let hint = "a plugin's name consists of lower-case words joined by hyphens".to_owned();
            let path = ["plugins", "limits", name];
            problems.add(&path, "is not a name of a plugin", Some(hint));
        }
        if own.get("may_exceed") == Some(&Value::Bool(true)) {
            continue;
        }
        for (key, value) in own {
            let common = all.and_then(|all| all.get(key));
            let common = common.and_then(|value| measured(key, value));
            let common = common.or_else(|| default_of(key));
            if let (Some(own), Some(common)) = (measured(key, value), common)
                && own > common
            {
                let hint = format!(
                    "lower it, raise plugins.limits.{key}, or write `may_exceed = true` beside it"
                );
                problems.add(
                    &["plugins", "limits", name, key],
                    format!("is above plugins.limits.{key}, the limit of all plugins"),
                    Some(hint),
                );
            }
        }
    }
}

/// A limit as a number: bytes, nanoseconds or a count. `None` if it has no valid value.
fn measured(key: &str, value: &Value) -> Option<u128> {
    match key {
        "memory" | "output" => parse_size(value.as_str()?).map(|bytes| bytes as u128),
        "deadline" => parse_duration(value.as_str()?).map(|time| time.as_nanos()),
        _ => value.as_u64().map(u128::from),
    }
}

/// The default of a limit that a plugin may have of its own, measured likewise.
fn default_of(key: &str) -> Option<u128> {
    let limits = plugin::Limits::default();
    Some(match key {
        "memory" => limits.memory as u128,
        "output" => limits.output as u128,
        "deadline" => limits.deadline.as_nanos(),
        "table_elements" => limits.table_elements as u128,
        "host_calls" => u128::from(limits.host_calls),
        "log_lines" => u128::from(limits.log_lines),
        _ => return None,
    })
}

/// Checks that a pipeline names each plugin once: it has one place in the chain.
pub(super) fn check_names(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let named = pipeline.get("plugins").and_then(Value::as_array);
    let mut seen = BTreeSet::new();
    for plugin in named.into_iter().flatten().filter_map(Value::as_str) {
        if !seen.insert(plugin) {
            let message = format!("`{plugin}` is named twice");
            let hint = "a row passes each plugin once: remove one".to_owned();
            problems.add(&["pipelines", name, "plugins"], message, Some(hint));
        }
    }
}

/// Checks that a pipeline has settings only for plugins that it uses.
pub(super) fn check_settings(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let used = pipeline.get("plugins").and_then(Value::as_array);
    let settings = pipeline.get("settings").and_then(Value::as_object);
    let (Some(used), Some(settings)) = (used, settings) else {
        return;
    };
    for plugin in settings
        .keys()
        .filter(|plugin| !used.iter().any(|used| used == plugin.as_str()))
    {
        let hint = format!("name it in pipelines.{name}.plugins, or remove its settings");
        let message = "settings of a plugin that the pipeline does not use";
        problems.add(
            &["pipelines", name, "settings", plugin],
            message,
            Some(hint),
        );
    }
}

/// The section with its defaults; `base` is the directory of the file.
pub(super) fn plugins(base: &Path, raw: file::Plugins) -> Plugins {
    let directory = raw.directory.as_deref();
    let limits = limits(&raw.limits);
    let own = raw.limits.own.into_iter();
    Plugins {
        directory: base.join(directory.unwrap_or(defaults::PLUGINS_DIRECTORY)),
        limits,
        own_limits: own
            .map(|(plugin, own)| (plugin, own_limits(own, limits)))
            .collect(),
        permissions: permissions(raw.wasi, raw.grants),
        canary: Canary {
            chunks: raw.canary.chunks.unwrap_or(defaults::CANARY_CHUNKS),
            faults: raw.canary.faults.unwrap_or(defaults::CANARY_FAULTS),
        },
        shadow: raw.shadow.map(|raw| Shadow {
            plugins: raw.plugins,
            promote_after: raw.promote_after,
            differences: raw.differences.unwrap_or(defaults::SHADOW_DIFFERENCES),
        }),
    }
}

fn count(number: Option<u32>, default: usize) -> usize {
    number.and_then(|n| n.try_into().ok()).unwrap_or(default)
}

fn limits(raw: &file::PluginLimits) -> plugin::Limits {
    let default = plugin::Limits::default();
    plugin::Limits {
        memory: size(raw.memory.clone(), default.memory),
        deadline: duration(raw.deadline.clone(), default.deadline),
        stack: size(raw.stack.clone(), default.stack),
        table_elements: count(raw.table_elements, default.table_elements),
        instances: count(raw.instances, default.instances),
        host_calls: raw.host_calls.unwrap_or(default.host_calls),
        log_lines: raw.log_lines.unwrap_or(default.log_lines),
        output: size(raw.output.clone(), default.output),
        compile_time: duration(raw.compile_time.clone(), default.compile_time),
        compile_memory: size(raw.compile_memory.clone(), default.compile_memory),
    }
}

/// Limits of one plugin: those for all where it has none of its own.
fn own_limits(raw: file::OwnLimits, common: plugin::Limits) -> plugin::Limits {
    plugin::Limits {
        memory: size(raw.memory, common.memory),
        deadline: duration(raw.deadline, common.deadline),
        table_elements: count(raw.table_elements, common.table_elements),
        host_calls: raw.host_calls.unwrap_or(common.host_calls),
        log_lines: raw.log_lines.unwrap_or(common.log_lines),
        output: size(raw.output, common.output),
        ..common
    }
}

fn permissions(
    wasi: Option<file::Wasi>,
    grants: BTreeMap<String, BTreeSet<file::Grant>>,
) -> Permissions {
    let grant = |grant| match grant {
        file::Grant::Clock => Grant::Clock,
        file::Grant::Random => Grant::Random,
        file::Grant::Stdio => Grant::Stdio,
    };
    Permissions {
        wasi: match wasi {
            Some(file::Wasi::Refuse) => Wasi::Refuse,
            Some(file::Wasi::Empty) | None => Wasi::Empty,
        },
        grants: grants
            .into_iter()
            .map(|(plugin, grants)| (plugin, grants.into_iter().map(grant).collect()))
            .collect(),
    }
}
