//! The `Cargo.lock` of a new project, which pins the dependencies of the guest crate.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{DocumentMut, Item, Table, Value};

/// The lock file of the repository's own plugins.
const LOCK: &str = include_str!("../../../plugins/Cargo.lock");
const SDK: &str = "forebay-plugin";

/// The lock file of a package that depends on the guest crate only.
pub(super) fn cargo_lock(name: &str) -> String {
    let mut lock = lock_with(name);
    let needed = needed(&lock, name);
    if let Some(packages) = lock
        .get_mut("package")
        .and_then(Item::as_array_of_tables_mut)
    {
        let kept = packages.iter();
        let kept = kept.filter(|package| needed.contains(name_of(package)));
        let mut kept: Vec<Table> = kept.cloned().collect();
        kept.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        packages.clear();
        for mut package in kept {
            // Tables without a position are written in the order of the array.
            package.set_position(None);
            packages.push(package);
        }
    }
    lock.to_string()
}

/// True if plugins in Rust depend on a package of this name.
pub(super) fn has_package(name: &str) -> bool {
    needed(&lock_with(""), "").contains(name)
}

/// The repository's lock file with one more package, which depends on the guest crate.
fn lock_with(name: &str) -> DocumentMut {
    let own = format!("name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"{SDK}\",\n]");
    let text = format!("{LOCK}\n[[package]]\n{own}\n");
    text.parse().unwrap_or_default()
}

/// The names of a package and of all packages that it depends on.
fn needed(lock: &DocumentMut, name: &str) -> BTreeSet<String> {
    let packages = lock.get("package").and_then(Item::as_array_of_tables);
    let packages: BTreeMap<&str, &Table> = packages
        .into_iter()
        .flatten()
        .map(|package| (name_of(package), package))
        .collect();
    let mut needed = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(next) = waiting.pop() {
        let Some(package) = packages.get(next) else {
            continue;
        };
        if needed.insert(next.to_owned()) {
            waiting.extend(dependencies(package));
        }
    }
    needed
}

fn name_of(package: &Table) -> &str {
    package
        .get("name")
        .and_then(Item::as_str)
        .unwrap_or_default()
}

/// The names of a package's dependencies, which a version may follow.
fn dependencies(package: &Table) -> impl Iterator<Item = &str> {
    let listed = package.get("dependencies").and_then(Item::as_array);
    let texts = listed.into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.split(' ').next())
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
    fn packages_are_copied_verbatim() {
        let lock = cargo_lock("my-rules");
        let mut parts = lock.split("\n[[package]]\n");
        let head = parts.next().unwrap();
        assert!(head.contains("version = ") && LOCK.starts_with(head));
        let own =
            "name = \"my-rules\"\nversion = \"0.1.0\"\ndependencies = [\n \"forebay-plugin\",\n]\n";
        let mut others = 0;
        for package in parts.filter(|package| package.trim_end() != own.trim_end()) {
            assert!(LOCK.contains(package), "{package}");
            others += 1;
        }
        assert_eq!(others + 1, lock.matches("[[package]]").count());
        assert!(lock.contains(own));
    }

    #[test]
    fn packages_are_known_by_their_names() {
        assert!(has_package(SDK) && has_package("wit-bindgen"));
        assert!(!has_package("my-rules") && !has_package("recruit-rules"));
    }
}
