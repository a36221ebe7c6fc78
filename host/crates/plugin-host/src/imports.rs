//! Imports of a component, and which of them the host allows.

use std::fmt;

use wasmtime::component::Component;

use super::engine::Engine;
use super::grants::{Grant, Grants, Wasi};
use super::http::HTTP;
use super::limits::MAX_NAME;
use super::load_error::Problem;
use super::sanitize::line;

/// Packages of the interface: the whole of it, and its roles in packed form.
pub(super) const INTERFACE: &str = "forebay:plugin";
pub(super) const PACKED: &str = "forebay:packed";

/// Version of both packages that this host implements. It accepts any `0.1.x`.
const VERSION: &str = "0.1.0";

/// Reason for refusing an import of WASI.
const NOT_GRANTED: &str = "not granted, and `plugins.wasi` is \"refuse\"";

/// Treatment of an import by the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportStatus {
    /// Part of the plugin interface.
    Interface,
    /// Real, because of this grant.
    Granted(Grant),
    /// Present, but an empty stand-in.
    Empty,
    /// Present, but every call traps.
    Absent,
    /// Refused, for this reason.
    Refused(String),
}

impl fmt::Display for ImportStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface => f.write_str("interface"),
            Self::Granted(grant) => write!(f, "granted ({grant})"),
            Self::Empty => f.write_str("empty stand-in"),
            Self::Absent => f.write_str("not there: a call traps"),
            Self::Refused(reason) => write!(f, "REFUSED: {reason}"),
        }
    }
}

/// An import of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Name in the component, such as `wasi:clocks/wall-clock@0.2.6`.
    pub name: String,
    /// Treatment by the host.
    pub status: ImportStatus,
}

/// The imports of a component, for a plugin with these grants.
pub(super) fn of(
    component: &Component,
    engine: &Engine,
    wasi: Wasi,
    grants: &Grants,
) -> Vec<Import> {
    let ty = component.component_type();
    ty.imports(engine.wasmtime())
        .map(|(name, _)| {
            let name = line(name, MAX_NAME);
            let status = status(&name, wasi, grants);
            Import { name, status }
        })
        .collect()
}

/// Checks that no import is refused. `who` is the subject of the message.
///
/// # Errors
/// When an import is refused: one problem for all of them.
pub(super) fn check(imports: &[Import], who: &str) -> Result<(), Problem> {
    // Grouped by reason, since a WASI runtime imports a dozen interfaces.
    let mut refused: Vec<(&str, Vec<String>)> = Vec::new();
    for import in imports {
        if let ImportStatus::Refused(reason) = &import.status {
            let name = format!("`{}`", import.name);
            match refused.iter_mut().find(|(known, _)| known == reason) {
                Some((_, names)) => names.push(name),
                None => refused.push((reason, vec![name])),
            }
        }
    }
    let Some((first, _)) = refused.first() else {
        return Ok(());
    };
    let hint = if *first == NOT_GRANTED {
        "build it without WASI, grant what it needs under `[plugins.grants]`, or give it an empty \
         world with `wasi = \"empty\"`"
    } else {
        "plugins may import `forebay:plugin/log`, `forebay:plugin/embeddings`, and those of \
         `wasi:*@0.2` that `[plugins]` allows"
    };
    let refused: Vec<_> = refused
        .iter()
        .map(|(reason, names)| format!("{}: {reason}", names.join(", ")))
        .collect();
    let what = format!("{who} imports {}", refused.join("; "));
    Err(Problem::new(what, hint))
}

/// Checks that exports which belong to the interface have a version that this host accepts.
///
/// # Errors
/// When one has another version.
pub(super) fn check_version<'a>(mut exports: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    match exports.find_map(other_version) {
        Some(what) => Err(Problem::new(what, "build it against this version")),
        None => Ok(()),
    }
}

/// The package and the version in a name, if the package is one of the interface.
pub(super) fn interface_version(name: &str) -> Option<(&str, &str)> {
    let (interface, version) = name.split_once('@')?;
    let (package, _) = interface.split_once('/')?;
    [INTERFACE, PACKED]
        .contains(&package)
        .then_some((package, version))
}

/// Message about a name that belongs to another version of the interface.
fn other_version(name: &str) -> Option<String> {
    let (package, version) = interface_version(name)?;
    let fits = version.starts_with("0.1.");
    (!fits).then(|| format!("built for `{package}@{version}`; this host has {VERSION}"))
}

fn status(name: &str, wasi: Wasi, grants: &Grants) -> ImportStatus {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    if let Some(reason) = other_version(name) {
        return ImportStatus::Refused(reason);
    }
    match interface {
        "forebay:plugin/types"
        | "forebay:plugin/log"
        | "forebay:plugin/embeddings"
        | "forebay:packed/types" => return ImportStatus::Interface,
        _ => {}
    }
    if interface.starts_with("wasi:") && version.starts_with("0.3.") {
        let reason = "WASI 0.3, which is asynchronous: build it for WASI 0.2 (wasip2)";
        return ImportStatus::Refused(reason.to_owned());
    }
    if interface.starts_with(HTTP) && version.starts_with("0.2.") {
        return match wasi {
            Wasi::Empty => ImportStatus::Absent,
            Wasi::Refuse => ImportStatus::Refused(NOT_GRANTED.to_owned()),
        };
    }
    let Some(granted_by) = linked_wasi(interface).filter(|_| version.starts_with("0.2.")) else {
        return ImportStatus::Refused("unknown to this host".to_owned());
    };
    match granted_by.iter().find(|grant| grants.contains(grant)) {
        Some(grant) => ImportStatus::Granted(*grant),
        None if wasi == Wasi::Empty => ImportStatus::Empty,
        None => ImportStatus::Refused(NOT_GRANTED.to_owned()),
    }
}

/// The grants that make a linked interface real; `None` if it is not linked. Interfaces that all
/// streams and clocks need come with any of their grants.
fn linked_wasi(interface: &str) -> Option<&'static [Grant]> {
    let (package, name) = interface.split_once('/')?;
    Some(match (package, name) {
        ("wasi:clocks", "monotonic-clock" | "wall-clock") => &[Grant::Clock],
        ("wasi:random", "random" | "insecure" | "insecure-seed") => &[Grant::Random],
        ("wasi:io", "poll") => &[Grant::Clock, Grant::Stdio],
        ("wasi:io", "error" | "streams") => &[Grant::Stdio],
        (
            "wasi:cli",
            "stdin" | "stdout" | "stderr" | "terminal-input" | "terminal-output" | "terminal-stdin"
            | "terminal-stdout" | "terminal-stderr",
        ) => &[Grant::Stdio],
        ("wasi:cli", "environment" | "exit")
        | ("wasi:filesystem", "types" | "preopens")
        | (
            "wasi:sockets",
            "instance-network" | "ip-name-lookup" | "network" | "tcp" | "tcp-create-socket" | "udp"
            | "udp-create-socket",
        ) => &[],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_has_a_status() {
        let clock = Grants::from([Grant::Clock]);
        let check = |name: &str, wasi, expected: &str| {
            assert_eq!(status(name, wasi, &clock).to_string(), expected, "{name}");
        };
        for wasi in [Wasi::Empty, Wasi::Refuse] {
            check("forebay:plugin/log@0.1.0", wasi, "interface");
            check("forebay:plugin/types@0.1.7", wasi, "interface");
            check("forebay:packed/types@0.1.0", wasi, "interface");
            check("wasi:clocks/wall-clock@0.2.6", wasi, "granted (clock)");
            check("wasi:io/poll@0.2.0", wasi, "granted (clock)");
            let foreign = "REFUSED: unknown to this host";
            for name in [
                "wasi:http/outgoing-handler",
                "wasi:config/store@0.2.0",
                "wasi:clocks/wall-clock",
                "wasi:clocks/timezone@0.2.0",
                "my:own/thing@0.1.0",
                "forebay:plugin/secrets@0.1.0",
                "forebay:plugins/log@0.1.0",
                "log",
                "",
            ] {
                check(name, wasi, foreign);
            }
            check(
                "forebay:plugin/log@0.0.9",
                wasi,
                "REFUSED: built for `forebay:plugin@0.0.9`; this host has 0.1.0",
            );
        }
        check("wasi:random/random@0.2.6", Wasi::Empty, "empty stand-in");
        check(
            "wasi:http/outgoing-handler@0.2.0",
            Wasi::Empty,
            "not there: a call traps",
        );
        check(
            "wasi:clocks/wall-clock@0.3.0",
            Wasi::Empty,
            "REFUSED: WASI 0.3, which is asynchronous: build it for WASI 0.2 (wasip2)",
        );
        check(
            "wasi:sockets/tcp@0.2.6",
            Wasi::Refuse,
            "REFUSED: not granted, and `plugins.wasi` is \"refuse\"",
        );
    }
}
