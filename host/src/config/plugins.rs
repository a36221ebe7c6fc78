//! `[plugins]`: from what the file says to what the sandbox is given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::check::{duration, parse_size, size};
use super::file as raw;
use super::file::PluginLimits;
use super::problems::Problems;
use crate::plugin;
use crate::plugin::{Grant, MAX_STACK, MIN_STACK, Permissions, Wasi};

/// What `[plugins]` says about the stack beyond being a size.
/// A thread has only so much, and a guest that ran over it would end the host.
pub(super) fn check_stack(document: &Value, problems: &mut Problems<'_>) {
    let stack = document.pointer("/plugins/limits/stack");
    if let Some(stack) = stack.and_then(Value::as_str).and_then(parse_size)
        && !(MIN_STACK..=MAX_STACK).contains(&stack)
    {
        problems.add(
            &["plugins", "limits", "stack"],
            "cannot be had",
            Some("from \"64KiB\" to \"1MiB\"".into()),
        );
    }
}

/// A plugin that a pipeline names twice: it has one place.
pub(super) fn check_names(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let named = pipeline.get("plugins").and_then(Value::as_array);
    let mut seen = BTreeSet::new();
    for plugin in named.into_iter().flatten().filter_map(Value::as_str) {
        if !seen.insert(plugin) {
            let message = format!("`{plugin}` is named twice");
            let hint = "a row meets each plugin once: remove one".to_owned();
            problems.add(&["pipelines", name, "plugins"], message, Some(hint));
        }
    }
}

fn count(number: Option<u32>, default: usize) -> usize {
    number.and_then(|n| n.try_into().ok()).unwrap_or(default)
}

/// The limits with their defaults.
pub(super) fn limits(raw: PluginLimits) -> plugin::Limits {
    let default = plugin::Limits::default();
    plugin::Limits {
        memory: size(raw.memory, default.memory),
        deadline: duration(raw.deadline, default.deadline),
        stack: size(raw.stack, default.stack),
        table_elements: count(raw.table_elements, default.table_elements),
        instances: count(raw.instances, default.instances),
        host_calls: raw.host_calls.unwrap_or(default.host_calls),
        log_lines: raw.log_lines.unwrap_or(default.log_lines),
        output: size(raw.output, default.output),
    }
}

/// What plugins may import.
pub(super) fn permissions(
    wasi: Option<raw::Wasi>,
    grants: BTreeMap<String, BTreeSet<raw::Grant>>,
) -> Permissions {
    let grant = |grant| match grant {
        raw::Grant::Clock => Grant::Clock,
        raw::Grant::Random => Grant::Random,
        raw::Grant::Stdio => Grant::Stdio,
    };
    Permissions {
        wasi: match wasi {
            Some(raw::Wasi::Refuse) => Wasi::Refuse,
            Some(raw::Wasi::Empty) | None => Wasi::Empty,
        },
        grants: grants
            .into_iter()
            .map(|(plugin, grants)| (plugin, grants.into_iter().map(grant).collect()))
            .collect(),
    }
}
