//! Components are compiled by a process of their own, the real program, which has limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::plugin::{CompileProcess, Compiler, Engine, Limits, Setup};
use forebay::report::Usage;
use support::component::component;
use support::sandbox::{batch, guest, runner, schema};

/// An engine that has the program compile, under these limits.
fn engine(limits: Limits, cache_directory: Option<PathBuf>) -> Arc<Engine> {
    engine_with(support::program(), limits, cache_directory)
}

fn engine_with(program: &Path, limits: Limits, cache_directory: Option<PathBuf>) -> Arc<Engine> {
    let process = CompileProcess {
        program: program.to_owned(),
        arguments: vec!["compile-plugin".into()],
    };
    let setup = Setup {
        limits,
        cache_directory,
        compiler: Compiler::Process(process),
        ..Setup::default()
    };
    Engine::with(setup).unwrap()
}

/// Has a component refused; returns the reason and the hint.
fn refused(engine: &Arc<Engine>, bytes: &[u8]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.wasm");
    fs::write(&path, bytes).unwrap();
    let error = engine.load(&path).unwrap_err();
    (error.what, error.hint)
}

/// Within all bounds on its shape, and hard work for a compiler: functions of many blocks, each of
/// which may change every local.
fn heavy(functions: usize) -> Vec<u8> {
    let locals = "i64 ".repeat(90);
    let block = |at: usize| {
        let (a, b, c) = (at % 90, (at * 7 + 1) % 90, (at * 13 + 5) % 90);
        format!(
            "(block (br_if 0 (i64.eqz (local.get {a}))) (local.set {b} (i64.add (local.get {a}) \
             (i64.mul (local.get {c}) (local.get {b})))))"
        )
    };
    let body: String = (0..3_000).map(block).collect();
    let function = format!("(func (param i64) (local {locals}) {body})");
    component(&[(
        "component",
        &format!("(core module {})", function.repeat(functions)),
    )])
}

#[test]
fn i14_the_host_takes_what_the_process_has_compiled() {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let load = || {
        let engine = engine(Limits::default(), Some(cache.clone()));
        engine.load(&guest("faulty")).unwrap()
    };
    assert!(!load().was_cached());
    let artefacts: Vec<_> = fs::read_dir(&cache).unwrap().map(Result::unwrap).collect();
    let [artefact] = artefacts.as_slice() else {
        panic!("{artefacts:?}")
    };
    let mode = artefact.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let plugin = load();
    assert!(plugin.was_cached());
    let mut batch = batch(&schema(), 10);
    runner(&plugin, &[], &schema()).run(&mut batch).unwrap();
    assert_eq!(batch.live.len(), 10);

    // Without a cache, or with one that cannot be used.
    engine(Limits::default(), None)
        .load(&guest("faulty"))
        .unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(!load().was_cached());
}

#[test]
fn i14_a_component_that_takes_too_long_to_compile_is_stopped() {
    let limits = Limits {
        compile_time: Duration::from_secs(1),
        ..Limits::default()
    };
    let began = Instant::now();
    let (what, hint) = refused(&engine(limits, None), &heavy(100));
    assert_eq!(
        what,
        "takes more than 1 s of processor time to compile (`plugins.limits.compile_time`)"
    );
    assert_eq!(
        hint,
        "build it smaller, with its largest functions split, or raise the limit"
    );
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn i14_a_component_that_takes_too_much_memory_to_compile_is_stopped() {
    support::in_a_process_of_its_own(|| {
        let limits = Limits {
            compile_memory: 64 << 20,
            ..Limits::default()
        };
        let engine = engine(limits, None);
        let bytes = heavy(40);
        let before = Usage::now().peak_memory.unwrap();
        let (what, _) = refused(&engine, &bytes);
        assert_eq!(
            what,
            "takes more than 64 MiB of memory to compile (`plugins.limits.compile_memory`)"
        );
        let more = Usage::now().peak_memory.unwrap().saturating_sub(before);
        assert!(more < 32 << 20, "the host took {more} bytes");
    });
}

#[test]
fn i14_what_is_refused_for_its_contents_is_said_as_before() {
    let engine = engine(Limits::default(), None);
    let mut damaged = component(&[]);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    let (what, hint) = refused(&engine, &damaged);
    assert!(what.starts_with("not a valid component: "), "{what}");
    assert_eq!(hint, "the file is truncated or damaged: build it again");
}

#[test]
fn i14_a_program_that_cannot_compile_is_named() {
    for program in ["/nonexistent/forebay", "/bin/false"] {
        let engine = engine_with(Path::new(program), Limits::default(), None);
        let error = engine.load(&guest("faulty")).unwrap_err();
        assert!(error.what.contains("compil"), "{program}: {}", error.what);
    }
}

#[test]
fn h4_features_that_are_off_are_named() {
    let with = |body: &str| component(&[("component", body)]);
    for in_process in [true, false] {
        let engine = if in_process {
            Engine::new(Limits::default(), None).unwrap()
        } else {
            engine(Limits::default(), None)
        };
        let (what, hint) = refused(&engine, &with("(core module (tag $t))"));
        assert_eq!(
            what,
            "uses features that this host does not have: exceptions (exception-handling)"
        );
        assert_eq!(
            hint,
            "build it without them, for example with `-fno-exceptions`; plugins/FEATURES.md lists what loads"
        );
        let both = "(type (future u8)) (core module (type (struct)))";
        let (what, hint) = refused(&engine, &with(both));
        assert_eq!(
            what,
            "uses features that this host does not have: asynchronous functions \
             (component-model-async), garbage collection (gc)"
        );
        assert!(hint.contains("componentize-qjs --sync"), "{hint}");
    }
}
