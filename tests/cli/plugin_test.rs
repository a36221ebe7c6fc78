//! `forebay plugin test`, `record` and `bench`, by the command, on real components.

use std::fs;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use support::{Place, guests, program, root};

fn example(name: &str) -> String {
    let path = guests("plugins").join(format!("{name}.wasm"));
    path.display().to_string()
}

fn faulty() -> String {
    let path = guests("test-plugins").join("faulty.wasm");
    path.display().to_string()
}

/// Shows a text without what differs from machine to machine.
macro_rules! assert_shown {
    ($text:expr, @$expected:literal) => {
        let text = $text.replace(&support::root().display().to_string(), "[root]");
        insta::with_settings!({filters => vec![
            (r"[0-9,]+ ns/row", "[time] ns/row"),
            (r"[0-9.]+ [KM]iB", "[memory]"),
            (r"lib\.rs:\d+:\d+", "lib.rs:[line]"),
        ]}, { assert_snapshot!(text, @$expected) });
    };
}

mod fuzz;
mod misbehaving;
mod record;

#[test]
fn the_cases_of_the_examples_pass() {
    let place = Place::new();
    let mut shown = String::new();
    for name in ["recruit-normalize", "recruit-rules", "recruit-dlq"] {
        let cases = root().join("plugins").join(name).display().to_string();
        shown += &place.done(&["plugin", "test", &example(name), &cases]);
    }
    assert_shown!(shown, @r#"
    ok    [root]/plugins/recruit-normalize/recruit-normalize.cases.toml: 5 cases
    recruit-normalize 0.1.0: 5 of 5 cases passed, 9 rows, [time] ns/row, peak guest memory [memory]
    ok    [root]/plugins/recruit-rules/recruit-rules.cases.toml: 9 cases
    recruit-rules 0.1.0: 9 of 9 cases passed, 14 rows, [time] ns/row, peak guest memory [memory]
    ok    [root]/plugins/recruit-dlq/recruit-dlq.cases.toml: 4 cases
    recruit-dlq 0.1.0: 4 of 4 cases passed, 8 rows, [time] ns/row, peak guest memory [memory]
    "#);
}

const WRONG: &str = r#"# Kept.
[settings]
max_years = "40"

[[case]]
name = "years"   # of experience

  [[case.row]]
  key = "a"
  fields = { company_name = "Acme", exp_years = 50, primary_keyword = "Rust" }
  expect = "accept"   # it is not

  [[case.row]]
  key = "b"
  fields = { company_name = "Acme", exp_years = 3 }
  expect = { reject = [{ code = "FIELD_REQUIRED", field = "primary_keyword", message = "is missing" }] }

[[case]]
name = "passes"

  [[case.row]]
  key = "c"
  fields = { company_name = "Acme", exp_years = 3, primary_keyword = "Rust" }
  expect = "accept"

[[case]]
name = "refused"
settings = { max_years = "x" }
refused = "no number"

[[case]]
name = "not refused"
settings = { max_years = "1" }
refused = "too few"
"#;

#[test]
fn a_failure_shows_what_was_expected_and_what_was_answered() {
    let place = Place::new();
    place.write("wrong.cases.toml", WRONG);
    let rules = example("recruit-rules");
    let ended = place.run(&[
        "plugin",
        "test",
        &rules,
        "wrong.cases.toml",
        "--junit",
        "junit.xml",
    ]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_shown!(ended.out, @r#"
    FAIL  wrong.cases.toml:8: years, row a
          - accept, unchanged
          + reject FIELD_RANGE exp_years: exp_years is 50; it must be 0 to 40

    FAIL  wrong.cases.toml:13: years, row b
          - reject FIELD_REQUIRED primary_keyword: is missing
          + reject FIELD_REQUIRED primary_keyword: primary_keyword must be given

    FAIL  wrong.cases.toml:26: refused
          - refuses its settings: …no number…
          + refuses its settings: max_years is `x`; it must be a whole number

    FAIL  wrong.cases.toml:31: not refused
          - refuses its settings: …too few…
          + accepts its settings

    recruit-rules 0.1.0: 1 of 4 cases passed, 3 rows, [time] ns/row, peak guest memory [memory]
    "#);
    let junit = fs::read_to_string(place.path().join("junit.xml")).unwrap();
    insta::with_settings!({filters => vec![(r#"time="[0-9.]+""#, r#"time="[time]""#)]}, {
        assert_snapshot!(junit, @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="recruit-rules" tests="4" skipped="0" failures="3" errors="0">
            <testsuite name="wrong.cases.toml" tests="4" skipped="0" errors="0" failures="3">
                <testcase name="years" classname="recruit-rules" time="[time]">
                    <failure message="line 8, row a">line 8, row a
        - accept, unchanged
        + reject FIELD_RANGE exp_years: exp_years is 50; it must be 0 to 40

        line 13, row b
        - reject FIELD_REQUIRED primary_keyword: is missing
        + reject FIELD_REQUIRED primary_keyword: primary_keyword must be given</failure>
                </testcase>
                <testcase name="passes" classname="recruit-rules" time="[time]"/>
                <testcase name="refused" classname="recruit-rules" time="[time]">
                    <failure message="line 26">line 26
        - refuses its settings: …no number…
        + refuses its settings: max_years is `x`; it must be a whole number</failure>
                </testcase>
                <testcase name="not refused" classname="recruit-rules" time="[time]">
                    <failure message="line 31">line 31
        - refuses its settings: …too few…
        + accepts its settings</failure>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    });

    let ended = place.run(&[
        "plugin",
        "test",
        &rules,
        "wrong.cases.toml",
        "--filter",
        "passes",
    ]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let settings = ["--settings", "max_years=60", "--json"];
    let ended = place.run(
        &[
            &["plugin", "test", &rules, "wrong.cases.toml"][..],
            &settings,
        ]
        .concat(),
    );
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (json["cases"].as_u64(), json["cases_passed"].as_u64()),
        (Some(4), Some(1))
    );
    let failed = json["failed"].as_array().unwrap();
    let rows: Vec<_> = failed.iter().filter_map(|it| it["row"].as_str()).collect();
    assert_eq!(
        rows,
        ["b"],
        "50 years pass with the setting of the command: {json:#}"
    );
}

#[test]
fn a_configuration_that_is_named_has_to_be_there() {
    let place = Place::new();
    let named = ["plugin", "inspect", &example("recruit-rules"), "--config"];
    let ended = place.run(&[&named[..], &["no.toml"]].concat());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_snapshot!(ended.err, @"
    error: no.toml: cannot be read: No such file or directory (os error 2)
      hint: name another file with --config, or start from examples/recruit/forebay.toml
    ");
    place.done(&[&named[..], &["forebay.toml"]].concat());
}

#[test]
fn answers_can_be_taken_for_right() {
    let place = Place::new();
    place.write("wrong.cases.toml", WRONG);
    let arguments = [
        "plugin",
        "test",
        &example("recruit-rules"),
        "wrong.cases.toml",
        "--update",
    ];
    let ended = place.run(&arguments);
    // Settings that are not refused are nothing to write down.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.ends_with("3 of 4 results accepted\n"),
        "{}",
        ended.out
    );
    let updated = fs::read_to_string(place.path().join("wrong.cases.toml")).unwrap();
    let expected = WRONG
        .replace(
            r#"expect = "accept"   # it is not"#,
            r#"expect = { reject = [{ code = "FIELD_RANGE", field = "exp_years", message = "exp_years is 50; it must be 0 to 40" }] }   # it is not"#,
        )
        .replace("is missing", "primary_keyword must be given")
        .replace(r#"refused = "no number""#, r#"refused = "max_years is `x`; it must be a whole number""#);
    assert_eq!(updated, expected);
    let ended = place.run(&arguments[..4]);
    assert!(ended.out.contains("3 of 4 cases passed"), "{}", ended.out);
}

#[test]
fn a_plugin_that_fails_is_never_right() {
    let place = Place::new();
    let text = r#"
columns = { exp_years = "integer" }
settings = { trap_on = "trap", error_on = "error", loop_on = "loop", bad_set_on = "set" }

[[case]]
name = "nothing is expected"
row = [{ key = "trap" }, { key = "fine" }]

[[case]]
name = "another failure is expected"
row = [{ key = "error", expect = { fails = "PLUGIN_TRAP" } }]

[[case]]
name = "this failure is expected"
row = [
  { key = "trap", expect = { fails = "PLUGIN_TRAP", message = "met row trap" } },
  { key = "loop", expect = { fails = "PLUGIN_DEADLINE" } },
  { key = "set", expect = { fails = "PLUGIN_OUTPUT", message = "no_such_column" } },
  { key = "fine", expect = "accept" },
]
"#;
    place.write("faulty.cases.toml", text);
    let ended = place.run(&["plugin", "test", &faulty(), "faulty.cases.toml", "--update"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_shown!(ended.out, @r#"
    FAIL  faulty.cases.toml:7: nothing is expected, row trap
          - anything except a plugin failure
          + fails PLUGIN_TRAP: panicked at /forebay/tests/plugins/faulty/src/lib.rs:[line]: met row trap (trapped: wasm trap: wasm `unreachable` instruction executed)

    FAIL  faulty.cases.toml:11: another failure is expected, row error
          - fails PLUGIN_TRAP: met row error
          + fails PLUGIN_ERROR: met row error

    faulty 0.1.0: 1 of 3 cases passed, 7 rows, [time] ns/row, peak guest memory [memory]
    0 of 2 results accepted
    "#);
    let after = fs::read_to_string(place.path().join("faulty.cases.toml")).unwrap();
    assert_eq!(after, text);
}

#[test]
fn a_plugin_that_remembers_is_found_out() {
    let place = Place::new();
    let case = r#"
settings = { remember_on = "k1" }
[[case]]
name = "one of two"
row = [{ key = "k0", expect = "accept" }, { key = "k1", expect = "accept" }]
"#;
    place.write("faulty.cases.toml", case);
    let faulty = faulty();
    let ended = place.run(&["plugin", "test", &faulty, "faulty.cases.toml"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_shown!(ended.out, @r#"
    FAIL  faulty.cases.toml:5: one of two, row k1
          answers differently when it is asked again:
          - accept, unchanged
          + drop: FAULTY

    faulty 0.1.0: 0 of 1 cases passed, 2 rows, [time] ns/row, peak guest memory [memory]
    "#);
    let search = ["--fuzz", "600", "--rows", "300", "--seed", "1", "--json"];
    let settings = ["--settings", "remember_on=*"];
    let arguments = [&["plugin", "test", &faulty][..], &search, &settings].concat();
    let ended = place.run(&arguments);
    let found: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let kinds: Vec<_> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["kind"])
        .collect();
    assert_eq!(kinds, ["STATE"], "{found:#}");
}

#[test]
fn what_is_wrong_with_the_files_is_told_at_once() {
    let place = Place::new();
    place.write("a.cases.toml", "[[case]]\nname = \"n\"\nrows = []\n");
    place.write("b.cases.toml", "settings = 1\n");
    let rules = example("recruit-rules");
    let ended = place.run(&["plugin", "test", &rules, "."]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_shown!(ended.err, @r#"
    error: ./a.cases.toml:3: case: unknown key `rows`; did you mean `row`?
    ./a.cases.toml:1: case: a case must have rows (`[[case.row]]`), failures (`[[case.failure]]`) or both, or only `refused`
    ./b.cases.toml:1: settings: must be a table
    "#);
    // Beside the component there are none.
    let ended = place.run(&["plugin", "test", &faulty()]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_shown!(ended.err, @r#"
    error: no cases for [root]/target/test-plugins/faulty.wasm
      hint: name their files, or create faulty.cases.toml or faulty.cases/*.toml beside it
    "#);
    place.write("c.toml", "");
    let ended = place.run(&["plugin", "test", "c.toml"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let ended = place.run(&["plugin", "test", &faulty(), "c.toml"]);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(2), "error: no cases in c.toml\n")
    );
}

#[test]
fn results_that_cannot_be_written_are_told() {
    let place = Place::new();
    let case = "[[case]]\nname = \"\\uFFFE\"\nrow = [{ key = \"a\" }]\n";
    place.write("one.cases.toml", case);
    let rules = example("recruit-rules");
    let test = ["plugin", "test", &rules, "one.cases.toml"];
    let to = |out: Stdio| {
        let mut command = Command::new(program());
        command.args(test).current_dir(place.path()).stdout(out);
        let ended = command.output().unwrap();
        (
            ended.status.code(),
            String::from_utf8(ended.stderr).unwrap(),
        )
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(to(writer.into()), (Some(0), String::new()));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let error = "error: cannot write the results: No space left on device (os error 28)\n";
    assert_eq!(to(full.into()), (Some(1), error.to_owned()));

    let junit = |path: &str| place.run(&[&test[..], &["--junit", path]].concat());
    let ended = junit("no/such.xml");
    assert!(ended.out.contains("1 of 1 cases passed"), "{ended:?}");
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (
            Some(2),
            "error: cannot write no/such.xml: No such file or directory (os error 2)\n"
        )
    );
    let fuzz = ["--fuzz", "600", "--rows", "1", "--settings", "trap_on=*"];
    let save = ["--save", "no/such.toml"];
    let ended = place.run(&[&["plugin", "test", &faulty()][..], &fuzz, &save].concat());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.starts_with("error: cannot write no/such.toml"));
    // XML cannot have the case's name.
    assert_eq!(junit("junit.xml").code, Some(0));
    let xml = fs::read_to_string(place.path().join("junit.xml")).unwrap();
    assert!(xml.contains("name=\"\u{fffd}\""), "{xml}");
}

#[test]
fn cases_beside_the_component_are_found() {
    let place = Place::new();
    fs::copy(example("recruit-rules"), place.path().join("r.wasm")).unwrap();
    fs::create_dir(place.path().join("r.cases")).unwrap();
    place.write(
        "r.cases.toml",
        "[[case]]\nname = \"one\"\nrow = [{ key = \"a\" }]\n",
    );
    place.write(
        "r.cases/more.toml",
        "[[case]]\nname = \"two\"\nrow = [{ key = \"a\" }]\n",
    );
    place.write("other.cases.toml", "wrong = true\n");
    let out = place.done(&["plugin", "test", "r.wasm"]);
    assert!(out.contains("2 of 2 cases passed, 2 rows"), "{out}");
}

#[test]
fn two_builds_are_compared_with_a_control() {
    let place = Place::new();
    let rules = example("recruit-rules");
    let cases = root().join("plugins/recruit-rules").display().to_string();
    let rounds = ["--rounds", "5", "--rows", "40"];
    let bench = |arguments: &[&str]| {
        let arguments = [&["plugin", "bench", &rules][..], arguments, &rounds].concat();
        place.done(&arguments)
    };
    let json: serde_json::Value =
        serde_json::from_str(&bench(&[&rules, &cases, "--json"])).unwrap();
    let sides = json["comparison"]["sides"].as_array().unwrap();
    let names: Vec<_> = sides
        .iter()
        .map(|side| side["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["A", "A again", "B"]);
    for side in sides {
        let times = ["low", "median", "high"].map(|it| side[it].as_f64().unwrap());
        assert!(times[0] > 0.0 && times.is_sorted(), "{side}");
        assert!(side["peak_memory"].as_u64().unwrap() > 0, "{side}");
    }
    assert_eq!(json["comparison"]["rows"], 40);

    // Without cases rows are made up; without another build there is nothing to say about it.
    let out = bench(&[]);
    assert!(
        out.contains("A again") && !out.contains("difference"),
        "{out}"
    );
    let other = example("recruit-normalize");
    let ended = place.run(&["plugin", "bench", &rules, &other, &other]);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(2), "error: at most two builds can be compared\n")
    );
}
