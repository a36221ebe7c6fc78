//! The sandbox with real components: what a misbehaving plugin costs, and what it cannot do.
//!
//! `make plugins` builds the guests. `faulty` does what its settings say on the keys they
//! name, `wasi-user` uses WASI.

use std::time::{Duration, Instant};

use bytestring::ByteString;
use forebay::plugin::{Engine, Limits, Setup};
use forebay::row::{Batch, Stage, Value};
use support::component::component;
use support::sandbox::{
    DEADLINE, ROWS, all_but, batch, failures, load, run, runner, schema, unit, vector,
};

#[test]
fn one_bad_row_costs_itself() {
    let check = |fault: &str, row: u32, code: &str, message: &str| {
        let (result, batch, runner) = run("faulty", &[(fault, &format!("k{row}"))]);
        result.unwrap();
        assert_eq!(failures(&batch), [(row, code)], "{fault}");
        assert_eq!(batch.live, all_but(&[row]), "{fault}");
        let failure = &batch.failures[0];
        assert!(
            failure.message.contains(message),
            "{fault}: {}",
            failure.message
        );
        assert_eq!(failure.stage, Stage::Transform);
        assert_eq!(failure.plugin.as_ref().unwrap().name, "faulty");
        let calls = runner.stats()[0].calls;
        assert!(calls <= 20, "{fault} took {calls} calls");
    };
    check("trap_on", 0, "PLUGIN_TRAP", "met row k0");
    check("trap_on", 137, "PLUGIN_TRAP", "unreachable");
    check("trap_on", 299, "PLUGIN_TRAP", "src/lib.rs");
    check("overflow_on", 7, "PLUGIN_TRAP", "call stack exhausted");
    check("no_embedding_on", 8, "PLUGIN_TRAP", "no embedding is named");
    check("loop_on", 200, "PLUGIN_DEADLINE", "deadline");
    check("eat_on", 41, "PLUGIN_MEMORY", "memory");
    check("error_on", 42, "PLUGIN_ERROR", "met row k42");
    check("short_on", 43, "PLUGIN_OUTPUT", "0 entries for 1 rows");
}

#[test]
fn a_few_bad_rows_cost_themselves() {
    let (result, batch, _) = run("faulty", &[("trap_on", "k1,k2,k150"), ("error_on", "k299")]);
    result.unwrap();
    assert_eq!(
        failures(&batch),
        [
            (1, "PLUGIN_TRAP"),
            (2, "PLUGIN_TRAP"),
            (150, "PLUGIN_TRAP"),
            (299, "PLUGIN_ERROR")
        ]
    );
    assert_eq!(batch.live, all_but(&[1, 2, 150, 299]));
}

#[test]
fn failing_on_every_row_is_a_broken_plugin() {
    for fault in ["trap_on", "loop_on", "eat_on", "error_on", "short_on"] {
        let (result, batch, runner) = run("faulty", &[(fault, "*")]);
        let broken = result.unwrap_err();
        assert_eq!(broken.plugin.name, "faulty");
        assert!(
            broken.message.contains("most of the rows"),
            "{fault}: {broken}"
        );
        let stats = &runner.stats()[0];
        assert!(stats.calls <= 11, "{fault}");
        // 8 calls that loop; the rest is room for a busy machine.
        assert!(stats.time < 30 * DEADLINE, "{fault} took {:?}", stats.time);
        assert_eq!(
            batch.embeddings.vectors.len(),
            ROWS as usize,
            "nothing is lost"
        );
        assert_eq!(batch.live, all_but(&[]));
    }
}

#[test]
fn h8_messages_name_the_limit() {
    let message = |fault: &str| {
        let (result, batch, _) = run("faulty", &[(fault, "k7")]);
        result.unwrap();
        batch.failures[0].message.clone()
    };
    for (fault, key) in [
        ("loop_on", "deadline"),
        ("eat_on", "memory"),
        ("overflow_on", "stack"),
    ] {
        let message = message(fault);
        let key = format!("`plugins.limits.{key}`");
        assert!(message.contains(&key), "{fault}: {message}");
    }
    // As long as nothing was answered, it may be the first call that takes so long.
    let (result, ..) = run("faulty", &[("loop_on", "*")]);
    let broken = result.unwrap_err().to_string();
    let words = "`plugins.limits.deadline`): stopped after ";
    assert!(broken.contains(words), "{broken}");
    let words = "interpreters take longer for the first call of an instance";
    assert!(broken.contains(words), "{broken}");
}

#[test]
fn h8_a_plugin_has_the_limits_of_its_own() {
    // Begins with 4 MiB, and takes 4 more in a call.
    let bytes = component(&[
        (
            "start",
            "(func $start (drop (memory.grow (i32.const 60)))) (start $start)",
        ),
        ("evil", "(drop (memory.grow (i32.const 64)))"),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.wasm");
    std::fs::write(&path, bytes).unwrap();
    let load = |own: usize| {
        let limits = Limits {
            memory: 1 << 20,
            deadline: DEADLINE,
            ..Limits::default()
        };
        let own = Limits {
            memory: own,
            ..limits
        };
        let setup = Setup {
            limits,
            own_limits: [("hostile".to_owned(), own)].into(),
            ..Setup::default()
        };
        Engine::with(setup).unwrap().load(&path)
    };
    let failed = |own: usize| {
        let schema = schema();
        let mut batch = batch(&schema, 20);
        batch.keys[7] = ByteString::from_static("evil");
        let plugin = load(own).unwrap();
        assert_eq!(plugin.limits().memory, own);
        runner(&plugin, &[], &schema).run(&mut batch).unwrap();
        batch.failures.first().map(|it| it.message.clone())
    };
    assert_eq!(failed(9 << 20), None);
    assert_eq!(
        failed(6 << 20).as_deref(),
        Some(
            "exceeded its memory limit of 6 MiB (`plugins.limits.hostile.memory`): its answer is not believed"
        )
    );
    let error = load(2 << 20).unwrap_err();
    assert!(
        error.what.contains("exceeded its memory limit of 2 MiB"),
        "{error}"
    );
}

#[test]
fn outcomes_are_applied() {
    let pairs = [
        ("drop_on", "k3"),
        ("reject_on", "k4"),
        ("bad_set_on", "k5"),
        ("bad_type_on", "k6"),
    ];
    let (result, batch, runner) = run("faulty", &pairs);
    result.unwrap();
    assert_eq!(failures(&batch), [(4, "FAULTY"), (5, "PLUGIN_OUTPUT")]);
    assert_eq!(batch.failures[0].message, "met row k4");
    assert_eq!(batch.failures[1].field.as_deref(), Some("no_such_column"));
    assert_eq!(
        batch
            .drops
            .iter()
            .map(|d| (d.row, &*d.reason))
            .collect::<Vec<_>>(),
        [(3, "FAULTY")]
    );
    assert_eq!(batch.live, all_but(&[3, 4, 5]));
    // Whether a text fits the column is for the tables to say.
    assert_eq!(
        batch.row(6)[1],
        Value::Text(ByteString::from_static("many"))
    );
    let stats = &runner.stats()[0];
    assert_eq!((stats.calls, stats.rows, stats.failed_calls), (1, 300, 0));
    assert!(stats.time > Duration::ZERO);
}

#[test]
fn what_a_failed_call_wrote_is_undone() {
    let pairs = [("write_on", "k9"), ("write_then_trap_on", "k10")];
    let (result, batch, _) = run("faulty", &pairs);
    result.unwrap();
    assert_eq!(failures(&batch), [(10, "PLUGIN_TRAP")]);
    for row in 0..ROWS {
        let expected = if row == 9 { unit() } else { vector(row) };
        assert_eq!(
            batch.embeddings.get(row as usize, 0),
            Some(&expected),
            "row {row}"
        );
    }
}

#[test]
fn rows_that_left_are_not_shown() {
    let schema = schema();
    let mut runner = runner(
        &load("faulty"),
        &[("write_on", "k2"), ("trap_on", "k0,k1")],
        &schema,
    );
    let mut batch = batch(&schema, 4);
    batch.live = vec![2, 3];
    runner.run(&mut batch).unwrap();
    assert!(batch.failures.is_empty());
    assert_eq!(
        batch.embeddings.get(2, 0),
        Some(&unit()),
        "index 0 of the call is row 2"
    );
    assert_eq!(batch.embeddings.get(0, 0), Some(&vector(0)));

    batch.live.clear();
    runner.run(&mut batch).unwrap();
    assert_eq!(runner.stats()[0].calls, 1, "no rows, no call");
}

#[test]
fn instances_survive_what_does_not_spoil_them() {
    let schema = schema();
    let mut runner = runner(
        &load("faulty"),
        &[("error_on", "k0"), ("trap_on", "k1")],
        &schema,
    );
    for _ in 0..40 {
        let mut batch = batch(&schema, 4);
        runner.run(&mut batch).unwrap();
        assert_eq!(failures(&batch), [(0, "PLUGIN_ERROR"), (1, "PLUGIN_TRAP")]);
    }
}

#[test]
fn a_flood_of_lines_is_no_failure() {
    let (result, batch, _) = run("faulty", &[("log_flood_on", "k0")]);
    result.unwrap();
    assert!(batch.failures.is_empty());
}

#[test]
fn the_same_rows_get_the_same_answers() {
    let pairs = [
        ("trap_on", "k5"),
        ("drop_on", "k6"),
        ("write_on", "k7"),
        ("reject_on", "k8"),
    ];
    let shown = || {
        let (result, batch, runner) = run("faulty", &pairs);
        result.unwrap();
        let Batch {
            values,
            embeddings,
            live,
            failures,
            drops,
            ..
        } = batch;
        format!(
            "{values:?} {embeddings:?} {live:?} {failures:?} {drops:?} {}",
            runner.stats()[0].calls
        )
    };
    assert_eq!(shown(), shown());
}

#[test]
fn wasi_is_empty_and_stands_still() {
    let (plugin, schema) = (load("wasi-user"), schema());
    let surroundings = || {
        let mut runner = runner(&plugin, &[], &schema);
        let mut batch = batch(&schema, ROWS);
        let began = Instant::now();
        runner.run(&mut batch).unwrap();
        assert!(batch.failures.is_empty(), "{:?}", batch.failures);
        // It would sleep for a year.
        assert!(began.elapsed() < 30 * DEADLINE);
        batch.values
    };
    let first = surroundings();
    assert_eq!(first, surroundings(), "the same in every instance");
    let Value::Text(text) = &first[0] else {
        panic!("{:?}", first[0])
    };
    assert!(
        text.starts_with("1000000000 Datetime { seconds: 1704067200, nanoseconds: 0 } "),
        "{text}"
    );
    assert!(
        text.ends_with(" (0, 0) 0 0 0"),
        "no environment, arguments or directories: {text}"
    );
}

#[test]
fn a_traceback_on_stderr_is_the_message() {
    let schema = schema();
    let mut runner = runner(&load("wasi-user"), &[], &schema);
    let mut batch = batch(&schema, 4);
    batch.keys[2] = ByteString::from_static("trap");
    runner.run(&mut batch).unwrap();
    assert_eq!(failures(&batch), [(2, "PLUGIN_TRAP")]);
    let message = &batch.failures[0].message;
    assert!(
        message.starts_with("ValueError: no such row (trapped: "),
        "{message}"
    );
}
