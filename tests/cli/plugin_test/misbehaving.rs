//! Plugins whose every row is fine alone, and which still must not pass.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use forebay::cases;
use forebay::cases::bench::Work;
use forebay::plugin::{Engine, Limits, Plugin};
use insta::assert_snapshot;
use support::Place;
use support::component::{POLICY, component};

const CASE: &str = "[[case]]\nname = \"n\"\n";

/// A component of these parts, with these cases beside it.
fn plugin(place: &Place, parts: &[(&str, &str)], cases: &str) -> PathBuf {
    let path = place.path().join("hostile.wasm");
    fs::write(&path, component(parts)).unwrap();
    place.write("hostile.cases.toml", cases);
    path
}

fn load(path: &std::path::Path) -> Arc<Plugin> {
    let engine = Engine::new(Limits::default(), None).unwrap();
    engine.load(path).unwrap()
}

/// What is wrong in each case, as it is shown.
fn wrong(place: &Place, parts: &[(&str, &str)], cases: &str) -> String {
    plugin(place, parts, cases);
    let ended = place.run(&["plugin", "test", "hostile.wasm"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let failures: Vec<&str> = ended.out.split_inclusive('\n').collect();
    failures[..failures.len() - 1].concat()
}

/// Kind and case of the one fault that made-up rows find; once saved, the case fails.
fn found(place: &Place) -> (String, String) {
    let test = ["plugin", "test", "hostile.wasm"];
    let search = ["--fuzz", "600", "--rows", "3000", "--seed", "1", "--json"];
    let save = ["--save", "found.cases.toml"];
    let ended = place.run(&[&test[..], &search, &save].concat());
    let found: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let findings = found["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{found:#}");
    let ended = place.run(&[&test[..], &["found.cases.toml"]].concat());
    assert!(ended.out.contains("0 of 1 cases passed"), "{ended:?}");
    let text = |key: &str| findings[0][key].as_str().unwrap().to_owned();
    (text("kind"), text("case"))
}

/// The outcome of the row has these words.
fn outcome(words: &[u32]) -> String {
    let at = "(i32.add (i32.const 1024) (i32.mul (local.get $row) (i32.const 32)))";
    let words = words.iter().enumerate();
    let store = |(i, word)| format!("(i32.store offset={} {at} (i32.const {word}))", 4 * i);
    words.map(store).collect()
}

#[test]
fn rows_that_fail_together_alone() {
    let place = Place::new();
    let trap = "(if (i32.gt_u (local.get $count) (i32.const 1)) (then (unreachable)))";
    let case = format!("{CASE}row = [{{ key = \"a\" }}, {{ key = \"b\", expect = \"accept\" }}]\n");
    let shown = wrong(&place, &[("answer", trap)], &case);
    assert_snapshot!(shown, @r#"
    FAIL  hostile.cases.toml:1: n
          fails with PLUGIN_TRAP on the rows together but on none of them alone: trapped: wasm trap: wasm `unreachable` instruction executed
    "#);
    // Nor does a row that is expected to fail hide it.
    let evil = "{ key = \"evil\", expect = { fails = \"PLUGIN_TRAP\" } }";
    let hidden = format!("{CASE}row = [{{ key = \"a\" }}, {{ key = \"b\" }}, {evil}]\n");
    let shown = wrong(
        &place,
        &[("answer", trap), ("evil", "(unreachable)")],
        &hidden,
    );
    assert_snapshot!(shown, @r#"
    FAIL  hostile.cases.toml:1: n
          when it is asked again: fails with PLUGIN_TRAP on the rows together but on none of them alone: trapped: wasm trap: wasm `unreachable` instruction executed
    "#);
    // A host does not take it up.
    let path = plugin(&place, &[("answer", trap)], &case);
    let error = cases::pass(&load(&path)).unwrap_err().what;
    assert!(
        error.contains("fails with PLUGIN_TRAP on the rows together but on none of them alone"),
        "{error}"
    );
    let (kind, case) = found(&place);
    assert_eq!(
        (kind.as_str(), case.matches("case.row").count()),
        ("TOGETHER", 2)
    );
}

#[test]
fn a_row_beside_others() {
    let place = Place::new();
    // Drops the row unless it is the first.
    let drop = format!("(if (local.get $row) (then {}))", outcome(&[2, 128, 4]));
    let rows: String = (0..39)
        .map(|row| format!("{{ key = \"{row}\" }}, "))
        .collect();
    let case = format!("{CASE}row = [{rows}{{ key = \"evil\" }}]\n");
    let shown = wrong(&place, &[("evil", &drop)], &case);
    assert_snapshot!(shown, @r#"
    FAIL  hostile.cases.toml:3: n, row evil
          answers differently when the row comes alone:
          - drop: evil
          + accept, unchanged
    "#);
    let (kind, case) = found(&place);
    assert_eq!(
        (kind.as_str(), case.matches("case.row").count()),
        ("STATE", 2)
    );
}

#[test]
fn a_policy_that_remembers() {
    let place = Place::new();
    let parts = [
        ("role", POLICY),
        ("core", "(global $calls (mut i32) (i32.const 0))"),
        (
            "decide",
            "(if (global.get $calls) (then (i32.store (i32.const 1024) (i32.const 0))))
            (global.set $calls (i32.const 1))",
        ),
    ];
    let case = format!("{CASE}failure = [{{ key = \"a\", stage = \"write\", code = \"A\" }}]\n");
    let shown = wrong(&place, &parts, &case);
    assert_snapshot!(shown, @r#"
    FAIL  hostile.cases.toml:3: n, row a
          answers differently when it is asked again:
          - drop
          + retry after 0 ms
    "#);
    let (kind, case) = found(&place);
    assert_eq!(
        (kind.as_str(), case.matches("case.failure").count()),
        ("STATE", 1)
    );
}

#[test]
fn answers_that_should_not_be() {
    let place = Place::new();
    // With `evil` for a code, and then without a message.
    let code = outcome(&[3, 128, 4, 128, 13, 0]);
    let case = format!("{CASE}row = [{{ key = \"evil\" }}]\n");
    let expected = "{ reject = [{ code = \"evil\" }] }";
    let as_expected = format!(
        "{case}[[case]]\nname = \"m\"\nrow = [{{ key = \"evil\", expect = {expected} }}]\n"
    );
    let shown = wrong(&place, &[("evil", &code)], &as_expected);
    assert_snapshot!(shown, @r#"
    FAIL  hostile.cases.toml:3: n, row evil
          rejects with the code "evil"; codes are upper case with underscores

    FAIL  hostile.cases.toml:6: m, row evil
          rejects with the code "evil"; codes are upper case with underscores
    "#);
    let updated = place.run(&["plugin", "test", "hostile.wasm", "--update"]);
    assert!(
        updated.out.contains("0 of 2 results accepted"),
        "{updated:?}"
    );
    plugin(&place, &[("evil", &code)], &case);
    assert_eq!(found(&place).0, "ANSWER");

    // The host's code for a fault is a rejection like any other.
    let core = "(data (i32.const 200) \"PLUGIN_TRAP\")";
    let reject = outcome(&[3, 200, 11, 128, 13, 0]);
    let case = format!("{CASE}row = [{{ key = \"evil\", expect = \"accept\" }}]\n");
    let shown = wrong(&place, &[("core", core), ("evil", &reject)], &case);
    assert_snapshot!(shown, @r#"
    FAIL  hostile.cases.toml:3: n, row evil
          - accept, unchanged
          + reject PLUGIN_TRAP: evil was here
    "#);
}

#[test]
fn roles_that_are_missing() {
    let place = Place::new();
    let row = format!("{CASE}row = [{{ key = \"a\" }}]\n");
    let failure = format!("{CASE}failure = [{{ stage = \"write\", code = \"A\" }}]\n");
    let mut shown = wrong(&place, &[("role", POLICY)], &row);
    shown += &wrong(&place, &[], &failure);
    assert_snapshot!(shown, @r#"
    FAIL  hostile.cases.toml:3: n
          rows need a plugin that exports `transform` or `validate`

    FAIL  hostile.cases.toml:3: n
          failures need a plugin that exports `dead-letter-policy`
    "#);
}

#[test]
fn builds_are_compared_with_the_settings_of_their_rows() {
    let place = Place::new();
    let suite = |name: &str, of: &str| {
        let case = format!("[settings]\nof = \"{of}\"\n{CASE}row = [{{ key = \"{of}\" }}]\n");
        cases::Suite::parse(name.as_ref(), &case).unwrap()
    };
    let plugin = load(&plugin(&place, &[], ""));
    let suites = [suite("a.toml", "a"), suite("b.toml", "b")];
    let work = Work::of(&plugin, &suites, &[], 3).unwrap();
    assert_eq!(work.settings, [("of".to_owned(), "a".to_owned())]);
    let keys: Vec<_> = work.rows.iter().map(|row| row.key.to_string()).collect();
    assert_eq!(keys, ["a", "a", "a"]);
}
