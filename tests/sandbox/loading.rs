//! From files to chains: what is refused, and what is said about it; the cache.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use forebay::plugin::{Chain, ChainError, Change, Directory, Engine, Limits};
use support::sandbox::{batch, engine, guest, load, runner, schema, settings};

#[test]
fn refused_settings_are_reported_together() {
    let engine = engine();
    let (faulty, rules) = (guest("faulty"), guest("recruit-rules"));
    let (faulty, rules) = (engine.load(&faulty).unwrap(), engine.load(&rules).unwrap());
    let dlq = engine.load(&guest("recruit-dlq")).unwrap();
    let errors = Chain::new(vec![
        (faulty, settings(&[("refuse", "not today")])),
        (rules, settings(&[("min_years", "many")])),
        (Arc::clone(&dlq), Vec::new()),
        (dlq, Vec::new()),
    ])
    .map(drop)
    .unwrap_err();
    let refused = |plugin: &str, message: &str| ChainError::Settings {
        plugin: plugin.to_owned(),
        message: message.to_owned(),
    };
    assert_eq!(
        errors,
        [
            refused("faulty", "not today"),
            refused(
                "recruit-rules",
                "min_years is `many`; it must be a whole number"
            ),
            ChainError::Policies {
                plugins: vec!["recruit-dlq".to_owned(); 2]
            },
        ]
    );
}

#[test]
fn compiled_plugins_are_cached() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let load = || {
        let engine = Engine::new(Limits::default(), Some(cache.clone())).unwrap();
        engine.load(&guest("faulty")).unwrap()
    };
    assert!(!load().was_cached());
    let cached = load();
    assert!(cached.was_cached());
    runner(&cached, &[], &schema())
        .run(&mut batch(&schema(), 10))
        .unwrap();

    let artefact = fs::read_dir(&cache)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&artefact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&artefact, bytes).unwrap();
    assert!(!load().was_cached(), "a damaged artefact is not run");
    assert!(load().was_cached(), "it was replaced");
}

#[test]
fn files_that_are_no_plugins_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let good = fs::read(guest("faulty")).unwrap();
    let check = |name: &str, bytes: &[u8], what: &str| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = engine().load(&path).map(drop).unwrap_err();
        assert!(error.what.contains(what), "{error}");
        assert_eq!(error.path, path);
    };
    check("text.wasm", b"hello, plugin", "not a WebAssembly component");
    check("empty.wasm", b"", "not a WebAssembly component");
    check("module.wasm", b"\0asm\x01\0\0\0", "core module");
    check(
        "truncated.wasm",
        &good[..good.len() / 2],
        "not a valid component",
    );
    // The smallest component there is.
    check(
        "nothing.wasm",
        b"\0asm\x0d\0\x01\0",
        "does not export `forebay:plugin/describe",
    );
    // An import of a name as long as the one that is there.
    let foreign = replaced(&good, b"forebay:plugin/log@", b"foreign:plugin/log@");
    check("foreign.wasm", &foreign, "foreign:plugin/log");
    let error = engine()
        .load(&directory.path().join("absent.wasm"))
        .map(drop)
        .unwrap_err();
    assert!(error.what.contains("cannot be read"), "{error}");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(from.len())
        .position(|part| part == from)
    {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn a_directory_has_each_name_once() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["b.wasm", "a.wasm"] {
        fs::copy(guest("recruit-dlq"), directory.path().join(name)).unwrap();
    }
    fs::copy(guest("recruit-rules"), directory.path().join("c.wasm")).unwrap();
    fs::write(directory.path().join("notes.txt"), "").unwrap();
    let open = |path: &Path| {
        let kept = directory.path().join("kept");
        Directory::open(engine(), path, &kept, Box::new(|_| Ok(())))
    };
    let opened = open(directory.path()).unwrap();
    let plugins = opened.plugins();
    let names: Vec<_> = plugins.iter().map(|it| it.id().name.as_str()).collect();
    assert_eq!(names, ["recruit-dlq", "recruit-rules"]);
    let [refused] = opened.refused().try_into().unwrap();
    assert_eq!(refused.error.path, directory.path().join("b.wasm"));
    let what = &refused.error.what;
    assert!(what.contains("a.wasm"), "{what}");
    assert!(open(&directory.path().join("notes.txt")).is_err());

    // The name is free as soon as the other file has gone.
    fs::remove_file(directory.path().join("a.wasm")).unwrap();
    let changes: Vec<Change> = (0..3).flat_map(|_| opened.look()).collect();
    let [Change::Removed(gone), Change::Loaded(new)] = &changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!((gone.id(), gone.path() == new.path()), (new.id(), false));
    assert!(opened.refused().is_empty());
}

/// What is taken up is kept under its digest, whatever its file becomes.
#[test]
fn copies_of_versions_stand_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let (path, kept) = (
        directory.path().join("a.wasm"),
        directory.path().join("kept"),
    );
    fs::copy(guest("recruit-dlq"), &path).unwrap();
    let opened = Directory::open(engine(), directory.path(), &kept, Box::new(|_| Ok(()))).unwrap();
    let plugin = opened.plugins().remove(0);
    let (name, digest) = (&plugin.id().name, &plugin.id().digest);
    assert!(!opened.has_kept(name));
    opened.keep(&plugin);
    fs::write(&path, "another").unwrap();
    // Again: there is a copy already.
    opened.keep(&plugin);
    assert!(opened.has_kept(name));
    assert_eq!(opened.kept(name, digest).unwrap().id(), plugin.id());
    assert!(opened.kept(name, &"0".repeat(64)).is_none());

    let copy = kept.join(name).join(format!("{digest}.wasm"));
    fs::write(copy, "not what it was").unwrap();
    assert!(opened.kept(name, digest).is_none());
}

#[test]
fn roles_and_columns_are_known_after_loading() {
    let rules = load("recruit-rules");
    assert_eq!(rules.roles().to_string(), "validate");
    assert_eq!(rules.id().digest.len(), 64);
    assert_eq!(rules.reads().unwrap()[1], "exp_years");
    assert_eq!(
        load("recruit-dlq").roles().to_string(),
        "dead-letter-policy"
    );
    assert_eq!(
        load("judge").roles().to_string(),
        "validate, dead-letter-policy"
    );
    assert_eq!(load("faulty").reads(), None);
}

#[test]
fn plugins_that_print_can_be_loaded_on_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let chain = Chain::new(vec![(load("wasi-user"), Vec::new())]).unwrap();
        assert_eq!(chain.ids().next().unwrap().name, "wasi-user");
    });
}
