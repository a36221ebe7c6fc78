//! `forebay plugin test --fuzz`: rows that nobody thought of.

use std::fs;

use insta::assert_snapshot;
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
