//! What chains of well-behaved plugins do: transform, validate, decide.
//!
//! The `recruit-*` plugins are those of the example; `judge` does what rows and failures say.

use std::time::Duration;

use bytestring::ByteString;
use forebay::plugin::{Chain, Decision};
use forebay::row::{Failure, Stage, Value};
use support::sandbox::{
    ROWS, all_but, batch, engine, failures, guest, load, run, runner, schema, vector,
};

#[test]
fn a_chain_transforms_validates_and_decides() {
    let engine = engine();
    let names = ["recruit-normalize", "recruit-rules", "recruit-dlq"];
    let plugins = names.map(|name| (engine.load(&guest(name)).unwrap(), Vec::new()));
    let chain = Chain::new(plugins.to_vec()).unwrap();
    let schema = schema();
    let mut runner = chain.runner(&schema);
    let mut batch = batch(&schema, ROWS);
    let text = |text: &'static str| Value::Text(ByteString::from_static(text));
    batch.row_mut(1)[2] = text("Upper-Intermediate");
    batch.row_mut(2)[4] = text("[TEST] posting");
    batch.row_mut(3)[1] = Value::Integer(-1);
    batch.row_mut(3)[0] = Value::Null;
    runner.run(&mut batch).unwrap();

    assert_eq!(batch.row(1)[2], text("upper_intermediate"));
    assert_eq!(batch.live, all_but(&[2, 3]));
    assert_eq!(batch.drops[0].row, 2);
    let [failure] = batch.failures.as_slice() else {
        panic!("{:?}", batch.failures)
    };
    assert_eq!((failure.row, failure.stage), (3, Stage::Validate));
    assert!(
        failure.message.contains("; "),
        "two rejections are one failure: {}",
        failure.message
    );

    let mut failed = batch.failures.clone();
    failed.push(Failure {
        stage: Stage::Decode,
        plugin: None,
        ..failed[0].clone()
    });
    let decisions = runner.decide(&batch, &failed);
    let queue = |name: &str| Decision::DeadLetter(name.to_owned());
    assert_eq!(decisions, [queue("review"), queue("source")]);
}

#[test]
fn without_a_policy_rows_go_to_the_default_queue() {
    let (_, batch, mut runner) = run("faulty", &[("reject_on", "k0")]);
    let decisions = runner.decide(&batch, &batch.failures);
    assert_eq!(decisions, [Decision::DeadLetter("default".to_owned())]);
    assert_eq!(runner.decide(&batch, &[]), []);
}

#[test]
fn the_example_costs_microseconds_a_row() {
    let engine = engine();
    let names = ["recruit-normalize", "recruit-rules", "recruit-dlq"];
    let plugins = names.map(|name| (engine.load(&guest(name)).unwrap(), Vec::new()));
    let schema = schema();
    let mut runner = Chain::new(plugins.to_vec()).unwrap().runner(&schema);
    let (mut before, mut quickest) = (Duration::ZERO, Duration::MAX);
    for _ in 0..20 {
        runner.run(&mut batch(&schema, ROWS)).unwrap();
        let time: Duration = runner.stats().iter().map(|stats| stats.time).sum();
        quickest = quickest.min(time - before);
        before = time;
    }
    // About 2 on a quiet machine; a quadratic step anywhere would take hundreds. Of 20 batches
    // one at least meets no other work of the machine.
    assert!(
        quickest / ROWS < Duration::from_micros(50),
        "{quickest:?} for {ROWS} rows"
    );
}

#[test]
fn validators_reject_and_cannot_write() {
    let schema = schema();
    let mut runner = runner(&load("judge"), &[], &schema);
    let mut batch = batch(&schema, 20);
    for (row, what) in [(3, "norm"), (5, "write"), (7, "trap")] {
        batch.row_mut(row)[0] = Value::Text(ByteString::from_static(what));
    }
    runner.run(&mut batch).unwrap();
    batch.failures.sort_by_key(|failure| failure.row);
    assert_eq!(
        failures(&batch),
        [(3, "NORM"), (5, "PLUGIN_TRAP"), (7, "PLUGIN_TRAP")]
    );
    // Eight elements of 5.
    assert_eq!(batch.failures[0].message, "14.142136; and more");
    assert!(
        batch.failures[1]
            .message
            .contains("only be changed in transform")
    );
    assert!(
        batch
            .failures
            .iter()
            .all(|failure| failure.stage == Stage::Validate)
    );
    assert_eq!(batch.embeddings.get(5, 0), Some(&vector(5)));
}

#[test]
fn policies_decide_or_default() {
    let schema = schema();
    let batch = batch(&schema, 3);
    let mut runner = runner(&load("judge"), &[], &schema);
    let mut decide = |messages: &[&str]| {
        let failure = |message: &&str| Failure {
            row: 1,
            stage: Stage::Write,
            code: "SQL_23514".to_owned(),
            message: (*message).to_owned(),
            field: None,
            plugin: None,
            attempt: 2,
        };
        runner.decide(&batch, &messages.iter().map(failure).collect::<Vec<_>>())
    };
    let queue = |name: &str| Decision::DeadLetter(name.to_owned());
    let long = "q".repeat(70);
    let decisions = decide(&["retry", "drop", "review", "", &long, "halt"]);
    assert_eq!(
        decisions[..5],
        [
            Decision::Retry(Duration::from_millis(20)),
            Decision::Drop,
            queue("review"),
            queue("default"),
            queue(&long[..64]),
        ]
    );
    let Decision::Halt(fields) = &decisions[5] else {
        panic!("{:?}", decisions[5])
    };
    assert!(
        fields.contains("company_name") && !fields.contains("exp_years"),
        "{fields}"
    );
    for fault in ["trap", "error", "short"] {
        assert_eq!(
            decide(&["drop", fault]),
            [queue("default"), queue("default")],
            "{fault}"
        );
    }
    assert_eq!(
        decide(&["drop"]),
        [Decision::Drop],
        "a fresh instance decides again"
    );
}
