//! What a guest with a runtime of WASI gets: nothing, what is granted, or no entry.

use std::sync::Arc;

use forebay::plugin::{Engine, Grant, ImportStatus, Limits, Permissions, Plugin, Setup, Wasi};
use forebay::row::Value;
use support::component::component;
use support::sandbox::{DEADLINE, batch, guest, runner, schema};

/// `wasi-user` with these grants.
fn load(wasi: Wasi, grants: &[Grant]) -> Result<Arc<Plugin>, String> {
    let limits = Limits {
        deadline: DEADLINE,
        ..Limits::default()
    };
    let grants = grants.iter().copied().collect();
    let permissions = Permissions {
        wasi,
        grants: [("wasi-user".to_owned(), grants)].into(),
    };
    let setup = Setup {
        limits,
        permissions,
        ..Setup::default()
    };
    let engine = Engine::with(setup).unwrap();
    let loaded = engine.load(&guest("wasi-user"));
    loaded.map_err(|error| format!("{}; {}", error.what, error.hint))
}

/// What it finds around it: the running clock, the wall clock, and random numbers.
fn surroundings(plugin: &Arc<Plugin>) -> (String, String) {
    let schema = schema();
    let mut batch = batch(&schema, 1);
    runner(plugin, &[], &schema).run(&mut batch).unwrap();
    assert!(batch.failures.is_empty(), "{:?}", batch.failures);
    let Value::Text(text) = &batch.row(0)[0] else {
        panic!("{:?}", batch.row(0))
    };
    let (clocks, random) = text.split_once(" } ").unwrap();
    (clocks.to_owned(), random.to_owned())
}

const STOPPED: &str = "1000000000 Datetime { seconds: 1704067200, nanoseconds: 0";

#[test]
fn without_grants_everything_stands_still() {
    let plugin = load(Wasi::Empty, &[]).unwrap();
    let (clocks, random) = surroundings(&plugin);
    assert_eq!(clocks, STOPPED);
    assert_eq!(surroundings(&plugin), (clocks, random));
    let mut statuses = plugin.imports().iter().map(|it| &it.status);
    assert!(statuses.all(|it| matches!(it, ImportStatus::Interface | ImportStatus::Empty)));
}

#[test]
fn what_is_granted_is_real() {
    let clock = load(Wasi::Empty, &[Grant::Clock]).unwrap();
    let (first, second) = (surroundings(&clock), surroundings(&clock));
    // It also waits for a year, and is back before its deadline.
    assert_ne!(first.0, STOPPED);
    assert_ne!(first.0, second.0);
    assert_eq!(first.1, second.1, "random numbers were not granted");

    let random = load(Wasi::Empty, &[Grant::Random]).unwrap();
    let (first, second) = (surroundings(&random), surroundings(&random));
    assert_eq!((first.0.as_str(), second.0.as_str()), (STOPPED, STOPPED));
    assert_ne!(first.1, second.1);
}

#[test]
fn imports_that_are_not_granted_can_be_refused() {
    let message = load(Wasi::Refuse, &[Grant::Stdio, Grant::Random]).unwrap_err();
    assert_eq!(
        message,
        "plugin wasi-user imports `wasi:cli/environment@0.2.6`, \
         `wasi:clocks/monotonic-clock@0.2.6`, `wasi:clocks/wall-clock@0.2.6`, \
         `wasi:filesystem/types@0.2.6`, `wasi:filesystem/preopens@0.2.6`: not granted, and \
         `plugins.wasi` is \"refuse\"; build it without WASI, grant what it needs under \
         `[plugins.grants]`, or give it an empty world with `wasi = \"empty\"`"
    );

    let limits = Limits::default();
    let permissions = Permissions {
        wasi: Wasi::Refuse,
        ..Permissions::default()
    };
    let setup = Setup {
        limits,
        permissions,
        ..Setup::default()
    };
    let engine = Engine::with(setup).unwrap();
    let rules = engine.load(&guest("recruit-rules")).unwrap();
    assert!(rules.grants().is_empty());
}

/// The limits that need a guest of their own size.
#[test]
fn stack_and_instances_are_those_of_the_engine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("many.wasm");
    let many =
        "(core module $empty) ".to_owned() + &"(core instance (instantiate $empty))".repeat(20);
    std::fs::write(&path, component(&[("component", &many)])).unwrap();
    let load = |instances| {
        let limits = Limits {
            instances,
            ..Limits::default()
        };
        let engine = Engine::new(limits, None).unwrap();
        engine.load(&path).map(drop).map_err(|error| error.what)
    };
    // With the two modules of its own.
    load(22).unwrap();
    assert_eq!(
        load(21).unwrap_err(),
        "consists of more than 21 instances (`plugins.limits.instances`)"
    );

    // 4,000 frames of some 64 bytes at least.
    let depth = "(func $down (param i32) (result i64)
        (if (result i64) (local.get 0)
          (then (i64.add (i64.extend_i32_u (local.get 0)) (call $down (i32.sub (local.get 0) (i32.const 1)))))
          (else (i64.const 0))))
        (func $start (drop (call $down (i32.const 4000)))) (start $start)";
    std::fs::write(&path, component(&[("start", depth)])).unwrap();
    let load = |stack| {
        let limits = Limits {
            stack,
            ..Limits::default()
        };
        let engine = Engine::new(limits, None).unwrap();
        engine.load(&path).map(drop).map_err(|error| error.what)
    };
    load(1 << 20).unwrap();
    let message = load(64 << 10).unwrap_err();
    assert!(message.contains("call stack exhausted"), "{message}");
}
