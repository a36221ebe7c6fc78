//! The `Cargo.lock` of a new project, which pins what the guest crate is built from.

use std::collections::BTreeMap;

/// The one with which the repository's own plugins are built.
const LOCK: &str = include_str!("../../../plugins/Cargo.lock");
const SDK: &str = "forebay-plugin";

/// The lock file of a package that depends on the guest crate only.
pub(super) fn cargo_lock(name: &str) -> String {
    let mut parts = LOCK.split("\n[[package]]\n");
    let head = parts.next().unwrap_or_default();
    let packages: BTreeMap<&str, &str> = parts
        .filter_map(|package| Some((quoted(package.lines().next()?)?, package.trim_end())))
        .collect();
    let own = format!("name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"{SDK}\",\n]");
    let mut kept = BTreeMap::from([(name, own.as_str())]);
    let mut waiting = vec![SDK];
    while let Some(next) = waiting.pop() {
        let Some(package) = packages.get(next) else {
            continue;
        };
        if kept.insert(next, package).is_none() {
            let listed = package.lines().filter(|line| line.starts_with(" \""));
            waiting.extend(listed.filter_map(quoted));
        }
    }
    let mut text = head.to_owned();
    for package in kept.values() {
        text.push_str("\n[[package]]\n");
        text.push_str(package);
        text.push('\n');
    }
    text
}

/// Whether plugins in Rust are built from a package of this name.
pub(super) fn has_package(name: &str) -> bool {
    cargo_lock("").contains(&format!("\nname = \"{name}\"\n"))
}

/// The first word between quotes.
fn quoted(line: &str) -> Option<&str> {
    line.split('"').nth(1)?.split(' ').next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_lock_file_has_what_is_needed_in_order() {
        let lock: toml::Table = cargo_lock("my-rules").parse().unwrap();
        let names: Vec<&str> = lock["package"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| package["name"].as_str().unwrap())
            .collect();
        assert!(names.is_sorted());
        for name in ["my-rules", SDK, "wit-bindgen", "syn"] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        assert!(!names.contains(&"recruit-rules"));
    }

    #[test]
    fn packages_are_known_by_their_names() {
        assert!(has_package(SDK) && has_package("wit-bindgen"));
        assert!(!has_package("my-rules") && !has_package("recruit-rules"));
    }
}
