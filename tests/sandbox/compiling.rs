//! Components are compiled by a process of their own, the real program, which has limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::plugin::{CompileProcess, Compiler, Engine, Limits, Setup};
use forebay::report::Usage;
use support::command::Ended;
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
    engine_of(process, limits, cache_directory)
}

/// An engine that has a script compile. The program and its arguments are `"$0" "$@"`.
fn scripted(script: &str) -> Arc<Engine> {
    let program = support::program().as_os_str().to_owned();
    let process = CompileProcess {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into(), program, "compile-plugin".into()],
    };
    engine_of(process, Limits::default(), None)
}

fn engine_of(
    process: CompileProcess,
    limits: Limits,
    cache_directory: Option<PathBuf>,
) -> Arc<Engine> {
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

/// Pipes hold 64 KiB.
#[test]
fn i14_a_process_that_says_much_is_not_waited_for() {
    let began = Instant::now();
    let name = "a".repeat(70_000);
    let export = format!("(func (export \"{name}\"))");
    let twice = component(&[("component", &format!("(core module {export} {export})"))]);
    let (what, _) = refused(&engine(Limits::default(), None), &twice);
    assert!(what.contains("duplicate export name `aaa"), "{what}");
    assert_eq!(what.chars().count(), 2_000);

    let (what, _) = refused(
        &scripted("yes | head -c 200000; yes | head -c 200000 >&2; exit 1"),
        &twice,
    );
    assert_eq!(what, "not a valid component: the compiler gave up on it");

    // Every step of the compiler is written to standard error.
    let engine = scripted(r#"export FOREBAY_LOG=trace; exec "$0" "$@""#);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("it.wasm");
    fs::write(&path, component(&[])).unwrap();
    engine.load(&path).unwrap();
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[test]
fn i14_a_process_that_the_system_kills_is_not_out_of_its_own_limit() {
    let (what, hint) = refused(&scripted("kill -KILL $$"), &component(&[]));
    assert_eq!(
        what,
        "was not compiled: the compiling process was killed from outside, as the system does when it \
         runs out of memory"
    );
    assert_eq!(
        hint,
        "give the machine or the container more memory, or lower `plugins.limits.compile_memory` \
         below what it has"
    );
}

/// Only root may raise them.
#[test]
fn i14_limits_that_the_process_has_already_are_kept() {
    scripted(r#"ulimit -t 50 && ulimit -d 900000 && exec "$0" "$@""#)
        .load(&guest("faulty"))
        .unwrap();
}

#[test]
fn i14_a_directory_that_cannot_be_used_is_found_before_the_work() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(support::program());
    // Nothing comes on standard input, so that there is nothing to compile.
    command
        .args(["compile-plugin", "524288", "1073741824", "60"])
        .arg(file.path());
    let ended = Ended::of(&mut command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        ended.out, "{\"unkept\":\"the directory cannot be used\"}\n",
        "{ended:?}"
    );
}

#[test]
fn i14_a_program_that_cannot_compile_is_named() {
    for (program, what, hint) in [
        (
            "/nonexistent/forebay",
            "cannot be compiled: the compiling process failed: No such file or directory (os error 2)",
            "the host runs its own program for that: check that it can be executed",
        ),
        (
            "/bin/false",
            "not a valid component: the compiler gave up on it",
            "build it with current tools",
        ),
    ] {
        let engine = engine_with(Path::new(program), Limits::default(), None);
        let error = engine.load(&guest("faulty")).unwrap_err();
        assert_eq!((error.what.as_str(), error.hint.as_str()), (what, hint));
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
