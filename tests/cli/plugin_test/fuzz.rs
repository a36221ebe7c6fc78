//! `forebay plugin test --fuzz`: rows that nobody thought of.

use std::fs;

use insta::assert_snapshot;
use support::component::component;
use support::{Place, root};

use super::{example, faulty};

#[test]
fn made_up_rows_find_the_smallest_that_fails() {
    let place = Place::new();
    let faulty = faulty();
    let settings = ["--settings", "trap_on=k3", "--settings", "error_on=k7"];
    let search = [
        "--fuzz",
        "600",
        "--rows",
        "1000",
        "--seed",
        "5",
        "--save",
        "found.cases.toml",
    ];
    let arguments = [&["plugin", "test", &faulty][..], &settings, &search].concat();
    let ended = place.run(&arguments);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_shown!(ended.out, @r#"
    FOUND PLUGIN_TRAP: panicked at /forebay/tests/plugins/faulty/src/lib.rs:[line]: met row k3 (trapped: wasm trap: wasm `unreachable` instruction executed)
          [[case]]
          name = "PLUGIN_TRAP: panicked at /forebay/tests/plugins/faulty/src/lib.rs:[line]: met row k3"
          settings = { trap_on = "k3", error_on = "k7" }

            [[case.row]]
            key = "k3"

    FOUND PLUGIN_ERROR: met row k7
          [[case]]
          name = "PLUGIN_ERROR: met row k7"
          settings = { trap_on = "k3", error_on = "k7" }

            [[case.row]]
            key = "k7"

    faulty 0.1.0: 2 faults found with seed 5 in 1,064 rows, 31 batches
    2 of 2 cases are new in found.cases.toml
    "#);
    // The same seed finds the same, which is written down already.
    let again = place.run(&arguments);
    assert_eq!(
        again.out,
        ended
            .out
            .replace("2 of 2 cases are new", "0 of 2 cases are new")
    );
    let found = fs::read_to_string(place.path().join("found.cases.toml")).unwrap();
    let ended = place.run(&["plugin", "test", &faulty, "found.cases.toml"]);
    assert!(
        ended.code == Some(1) && ended.out.contains("0 of 2 cases passed"),
        "{ended:?}"
    );
    // Once the plugin is mended, they pass.
    place.write(
        "found.cases.toml",
        &found
            .replace("\"k3\" }", "\"-\" }")
            .replace("= \"k3\",", "= \"-\",")
            .replace("\"k7\" }", "\"-\" }"),
    );
    let ended = place.run(&["plugin", "test", &faulty, "found.cases.toml"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn the_examples_answer_made_up_rows() {
    let place = Place::new();
    for name in ["recruit-normalize", "recruit-rules", "recruit-dlq"] {
        let (plugin, cases) = (example(name), root().join("plugins").join(name));
        let cases = cases.display().to_string();
        let search = ["--fuzz", "600", "--rows", "3000", "--seed", "1", "--json"];
        let arguments = [&["plugin", "test", &plugin, &cases][..], &search].concat();
        let found = place.json(&arguments);
        assert_eq!(found["findings"], serde_json::json!([]), "{name}");
        assert!(found["rows"].as_u64().unwrap() >= 3_000, "{found:#}");
    }
}

#[test]
fn h5_memory_that_grows_is_a_leak_and_not_state() {
    let place = Place::new();
    // A page for each call; so hundreds of calls are good.
    let leaky = component(&[("answer", "(drop (memory.grow (i32.const 1)))")]);
    fs::write(place.path().join("leaky.wasm"), leaky).unwrap();
    let test = ["plugin", "test", "leaky.wasm"];
    let search = ["--fuzz", "600", "--rows", "2000", "--seed", "1"];
    let save = ["--save", "found.cases.toml"];
    let ended = place.run(&[&test[..], &search, &save].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_snapshot!(ended.out, @r#"
    FOUND LEAK: its memory grows by 64.0 KiB with each call, although the rows are the same: it keeps something from them

    hostile 1.0.0: 1 fault found with seed 1 in 2,165 rows, 56 batches
    "#);
    // A case cannot show it.
    assert!(!place.path().join("found.cases.toml").exists());

    let bench = ["plugin", "bench", "leaky.wasm", "--rounds", "600"];
    let json = place.json(&[&bench[..], &["--json"]].concat());
    let side = &json["comparison"]["sides"][0];
    assert_eq!(side["growth_per_call"], 65_536, "{side}");
    assert!(side["retired"].as_u64().unwrap() > 0, "{side}");
    let ended = place.run(&bench);
    let said = "growing by 64.0 KiB per call; instances replaced before they were full: 1";
    assert!(ended.out.contains(said), "{ended:?}");
}
