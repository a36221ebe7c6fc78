//! The rules of the architecture that the compiler does not check.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "tidy/structure.rs"]
mod structure;

use std::fs;
use std::path::{Path, PathBuf};

use self::structure::Sources;

/// Longer files are cut into parts that have names. Tests are not counted.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// The crates of the host.
const CRATES: [&str; 4] = [
    "host",
    "host/crates/plugin-host",
    "host/crates/files",
    "host/crates/embedded-postgres",
];

/// The files of the host's crates without comments and tests, by path below their `src`; that of
/// another crate than the first begins with its name.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in CRATES {
        let root = root().join(folder).join("src");
        let prefix = folder.strip_prefix("host/crates/").unwrap_or_default();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !path.ends_with("tests.rs")
                {
                    let name = Path::new(prefix).join(path.strip_prefix(&root).unwrap());
                    let text = fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                    found.push((name.display().to_string(), code.to_owned()));
                }
            }
        }
    }
    assert!(found.len() > 150, "{found:?}");
    found
}

/// Files whose code has one of `words` but whose path begins with none of `allowed`; and what
/// of `allowed` is no longer needed.
#[track_caller]
fn check(words: &[&str], allowed: &[&str]) {
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|(_, code)| {
            let mut lines = code.lines();
            lines.any(|line| {
                let is_comment = line.trim_start().starts_with("//");
                !is_comment && words.iter().any(|word| line.contains(word))
            })
        })
        .map(|(path, _)| path)
        .collect();
    let stray: Vec<&String> = users
        .iter()
        .filter(|path| !allowed.iter().any(|prefix| path.starts_with(prefix)))
        .collect();
    assert!(
        stray.is_empty(),
        "{words:?} belongs into {allowed:?}, not into {stray:?}"
    );
    for prefix in allowed {
        assert!(
            users.iter().any(|path| path.starts_with(prefix)),
            "{prefix} no longer has {words:?}"
        );
    }
}

#[test]
fn only_the_sandbox_names_wasmtime() {
    check(&["wasmtime"], &["plugin-host/"]);
}

#[test]
fn only_the_store_has_sql() {
    // The demo shows the nearest postings and makes its own tables.
    check(
        &["sqlx::query", "sqlx::raw_sql", "query_scalar("],
        &["store", "cli/demo.rs"],
    );
}

#[test]
fn only_the_edges_name_grpc() {
    // The configuration only asks whether an address is one.
    check(
        &["tonic::"],
        &["source", "demo", "proto.rs", "config/format.rs"],
    );
}

/// Servers with default options end a connection on which they are pinged more often than every
/// five minutes. Nothing else can show a ping that comes after minutes in a test of seconds.
#[test]
fn f1_nobody_sends_pings() {
    check(
        &[
            "keep_alive_interval",
            "adaptive_window",
            "keep_alive_while_idle",
        ],
        &[],
    );
}

#[test]
fn only_the_configuration_reads_the_environment() {
    check(&["env::var", "env!("], &["config/environment.rs"]);
}

#[test]
fn only_the_artefact_cache_is_unsafe() {
    check(&["unsafe "], &["plugin-host/cache.rs"]);
}

#[test]
fn no_file_is_long() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, code)| (code.lines().count(), path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

/// The rooms of the host in the order of `lib.rs`.
fn rooms() -> Vec<String> {
    let text = fs::read_to_string(root().join("host/src/lib.rs")).unwrap();
    let modules = text.lines().filter_map(|line| {
        let line = line.strip_suffix(';')?;
        line.split_once("mod ").map(|(_, name)| name.to_owned())
    });
    modules.collect()
}

#[test]
fn a_room_imports_only_what_stands_above_it() {
    let rooms = rooms();
    assert!(rooms.len() > 20, "{rooms:?}");
    let place = |module: &structure::Module| rooms.iter().position(|room| *room == module[0]);
    let mut upward = Vec::new();
    for (module, taken) in Sources::read(&root().join("host/src")).imports() {
        for (from, names) in taken {
            if place(&from) > place(&module) {
                upward.push(format!(
                    "{} -> {} {names:?}",
                    module.join("/"),
                    from.join("/")
                ));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

/// A type and the parser that makes it.
const PAIRS: [(&str, &str); 1] = [("cases/parse", "cases/suite")];

#[test]
fn no_files_import_each_other_in_a_circle() {
    for folder in CRATES {
        let mut imports = Sources::read(&root().join(folder).join("src")).imports();
        for (parser, of) in PAIRS {
            let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
            if let Some(taken) = imports.get_mut(&path(of)) {
                taken.remove(&path(parser));
            }
        }
        let circles = structure::circles(&imports);
        assert!(circles.is_empty(), "{folder}: {circles:#?}");
    }
}

/// More does not fit on a screen.
const MAX_FUNCTION: usize = 60;

#[test]
fn no_function_is_long() {
    for folder in CRATES {
        let functions = Sources::read(&root().join(folder).join("src")).functions;
        let long: Vec<_> = functions
            .iter()
            .filter(|(_, lines)| *lines > MAX_FUNCTION)
            .collect();
        assert!(long.is_empty(), "{folder}: {long:#?}");
    }
}

#[test]
fn tests_are_run_and_exist() {
    let tests = root().join("tests");
    let manifest: toml::Table = fs::read_to_string(root().join("host/Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let mut found = Vec::new();
    for test in manifest["test"].as_array().unwrap() {
        let path = root().join("host").join(test["path"].as_str().unwrap());
        add_with_modules(&path.canonicalize().unwrap(), &mut found);
    }
    let readme = fs::read_to_string(tests.join("README.md")).unwrap();
    for path in test_files(&tests) {
        let name = path.strip_prefix(&tests).unwrap().display().to_string();
        assert!(found.contains(&path), "no test program has {name}");
        assert!(
            readme.contains(&format!("]({name})")) || name.ends_with("main.rs"),
            "tests/README.md does not say what {name} proves"
        );
    }
}

/// A file, and those of the modules that it and they declare.
fn add_with_modules(path: &Path, found: &mut Vec<PathBuf>) {
    let text = fs::read_to_string(path).unwrap();
    let modules = if path.ends_with("main.rs") {
        path.with_file_name("")
    } else {
        path.with_extension("")
    };
    found.push(path.to_owned());
    for line in text.lines() {
        let module = line.strip_prefix("mod ");
        if let Some(module) = module.and_then(|rest| rest.strip_suffix(';')) {
            add_with_modules(&modules.join(module).with_extension("rs"), found);
        }
    }
}

/// The Rust files of `tests` that are no packages of their own.
fn test_files(tests: &Path) -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![tests.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_other = ["bench", "compatibility", "plugins", "support"]
                .iter()
                .any(|other| path == tests.join(other));
            if path.is_dir() && !is_other {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 40, "{found:?}");
    found
}

/// What documents say is there, is there.
#[test]
fn links_of_documents_lead_somewhere() {
    let mut directories = vec![root()];
    let mut broken = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !path.is_symlink() && name != "target" && !name.starts_with('.') {
                directories.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                for link in text
                    .split("](")
                    .skip(1)
                    .filter_map(|rest| rest.split([')', '#']).next())
                {
                    if !link.is_empty() && !link.contains(':') && !directory.join(link).exists() {
                        broken.push(format!("{}: {link}", path.display()));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
