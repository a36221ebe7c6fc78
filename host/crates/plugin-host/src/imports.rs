//! What a component imports, and whether it may.

use std::fmt;

use wasmtime::component::Component;

use super::engine::Engine;
use super::grants::{Grant, Grants, Wasi};
use super::limits::MAX_NAME;
use super::sanitize::line;

/// The packages of the interface: all of it, and its roles in packed form.
pub(super) const INTERFACE: &str = "forebay:plugin";
pub(super) const PACKED: &str = "forebay:packed";

/// The version of them that this host speaks. Others of its `0.1` fit as well.
const VERSION: &str = "0.1.0";

/// Why an import of WASI is refused.
const NOT_GRANTED: &str = "not granted, and `plugins.wasi` is \"refuse\"";

/// What an import is to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportStatus {
    /// Part of the plugin interface.
    Interface,
    /// Real, by this grant.
    Granted(Grant),
    /// There, and empty.
    Empty,
    /// Not to be had, and why.
    Refused(String),
}

impl fmt::Display for ImportStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface => f.write_str("interface"),
            Self::Granted(grant) => write!(f, "granted ({grant})"),
            Self::Empty => f.write_str("empty stand-in"),
            Self::Refused(reason) => write!(f, "REFUSED: {reason}"),
        }
    }
}

/// Something that a component imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// As the component names it, such as `wasi:clocks/wall-clock@0.2.6`.
    pub name: String,
    /// Whether it gets it.
    pub standing: ImportStatus,
}

/// What a component imports, for a plugin with these grants.
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
            let standing = standing(&name, wasi, grants);
            Import { name, standing }
        })
        .collect()
}

/// Checks that nothing is refused. `who` begins the message.
///
/// # Errors
///
/// What is wrong and what to do about it.
pub(super) fn check(imports: &[Import], who: &str) -> Result<(), (String, String)> {
    // By what is wrong with them, as a runtime of WASI imports a dozen.
    let mut refused: Vec<(&str, Vec<String>)> = Vec::new();
    for import in imports {
        if let ImportStatus::Refused(reason) = &import.standing {
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
        "plugins import `forebay:plugin/log`, `forebay:plugin/embeddings`, and of `wasi:*@0.2` \
         what `[plugins]` allows"
    };
    let refused: Vec<_> = refused
        .iter()
        .map(|(reason, names)| format!("{}: {reason}", names.join(", ")))
        .collect();
    let what = format!("{who} imports {}", refused.join("; "));
    Err((what, hint.to_owned()))
}

/// Checks that exports, if they are of the interface at all, are of this version.
///
/// # Errors
///
/// What is wrong and what to do about it.
pub(super) fn check_version<'a>(
    mut exports: impl Iterator<Item = &'a str>,
) -> Result<(), (String, String)> {
    match exports.find_map(other_version) {
        Some(what) => Err((what, "build it against this version".to_owned())),
        None => Ok(()),
    }
}

/// The package of the interface and its version that a name is of, if it is of any.
pub(super) fn interface_version(name: &str) -> Option<(&str, &str)> {
    let (interface, version) = name.split_once('@')?;
    let (package, _) = interface.split_once('/')?;
    [INTERFACE, PACKED]
        .contains(&package)
        .then_some((package, version))
}

/// What is to be said about a name of another version of the interface.
fn other_version(name: &str) -> Option<String> {
    let (package, version) = interface_version(name)?;
    let fits = version.starts_with("0.1.");
    (!fits).then(|| format!("it is made for `{package}@{version}`; this host has {VERSION}"))
}

fn standing(name: &str, wasi: Wasi, grants: &Grants) -> ImportStatus {
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
    let Some(granted_by) = linked_wasi(interface).filter(|_| version.starts_with("0.2.")) else {
        return ImportStatus::Refused("unknown to this host".to_owned());
    };
    match granted_by.iter().find(|grant| grants.contains(grant)) {
        Some(grant) => ImportStatus::Granted(*grant),
        None if wasi == Wasi::Empty => ImportStatus::Empty,
        None => ImportStatus::Refused(NOT_GRANTED.to_owned()),
    }
}

/// Whether an interface is linked, and the grants that make it real. What all streams and
/// clocks need comes with each of their grants.
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
    fn everything_has_its_standing() {
        let clock = Grants::from([Grant::Clock]);
        let check = |name: &str, wasi, expected: &str| {
            assert_eq!(standing(name, wasi, &clock).to_string(), expected, "{name}");
        };
        for wasi in [Wasi::Empty, Wasi::Refuse] {
            check("forebay:plugin/log@0.1.0", wasi, "interface");
            check("forebay:plugin/types@0.1.7", wasi, "interface");
            check("forebay:packed/types@0.1.0", wasi, "interface");
            check("wasi:clocks/wall-clock@0.2.6", wasi, "granted (clock)");
            check("wasi:io/poll@0.2.0", wasi, "granted (clock)");
            let foreign = "REFUSED: unknown to this host";
            for name in [
                "wasi:http/outgoing-handler@0.2.0",
                "wasi:clocks/wall-clock@0.3.0",
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
                "REFUSED: it is made for `forebay:plugin@0.0.9`; this host has 0.1.0",
            );
        }
        check("wasi:random/random@0.2.6", Wasi::Empty, "empty stand-in");
        check(
            "wasi:sockets/tcp@0.2.6",
            Wasi::Refuse,
            "REFUSED: not granted, and `plugins.wasi` is \"refuse\"",
        );
    }
}
