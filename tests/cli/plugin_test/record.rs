//! `forebay plugin record`: dead letters and live rows become cases.

use std::fs;
use std::path::PathBuf;

use forebay::proto::FieldType;
use insta::assert_snapshot;
use support::{Home, Recruit, Script, Scripted, guests, rows};

/// A source of ten rows, of which two set off faults of `faulty`.
async fn ten_rows() -> (Home, PathBuf, Scripted) {
    let home = Home::new().await;
    let table =
        "create table items (id int primary key, number int not null, vector vector(2) not null)";
    home.database.execute(table).await;
    let script = Script::new(2, &[("number", FieldType::Integer)]);
    let source = script.chunk(rows(1..=10)).serve();
    let settings = "settings = { faulty = { trap_on = \"3\", reject_on = \"5\" } }";
    let plugins = format!("plugins = [\"faulty\"]\n{settings}");
    let directory = home.only("faulty");
    home.configure_with(
        &directory,
        "",
        &source.pipeline_with(&["items"], &plugins, 300, ""),
    );
    (home, directory, source)
}

#[tokio::test]
async fn dead_letters_become_cases() {
    let (home, directory, _source) = ten_rows().await;
    home.run().done();
    let record = |arguments: &[&str]| {
        let arguments = [&["plugin", "record", "faulty"][..], arguments].concat();
        let ended = home.start_command(&arguments, "").wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        ended.stdout
    };
    assert_snapshot!(record(&["--dead-letters"]), @"2 of 2 cases are new in faulty.cases.toml");
    let file = directory.parent().unwrap().join("faulty.cases.toml");
    assert_shown!(fs::read_to_string(&file).unwrap(), @r#"
    [columns]
    number = "integer"

    # met row 5
    [[case]]
    name = "dead letter 2 of rows, row 5: FAULTY"
    settings = { reject_on = "5", trap_on = "3" }

      [[case.row]]
      key = "5"
      fields = { number = 5 }
      embeddings = { vector = [5.0, 1.0] }
      expect = { reject = [{ code = "FAULTY", message = "met row 5" }] }

    # panicked at /forebay/tests/plugins/faulty/src/lib.rs:[line]: met row 3 (trapped: wasm trap: wasm `unreachable` instruction executed)
    [[case]]
    name = "dead letter 1 of rows, row 3: PLUGIN_TRAP"
    settings = { reject_on = "5", trap_on = "3" }

      [[case.row]]
      key = "3"
      fields = { number = 3 }
      embeddings = { vector = [3.0, 1.0] }
    "#);
    assert_snapshot!(record(&["--dead-letters"]), @"0 of 2 cases are new in faulty.cases.toml");

    let test = || {
        let (plugin, cases) = (directory.join("faulty.wasm"), file.display().to_string());
        let plugin = plugin.display().to_string();
        home.start_command(&["plugin", "test", &plugin, &cases], "")
            .wait()
    };
    let ended = test();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stdout.contains("1 of 2 cases passed"),
        "{}",
        ended.stdout
    );
    // Once the plugin is mended, the case passes without a change.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("trap_on = \"3\"", "trap_on = \"-\"")).unwrap();
    let ended = test();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stdout);
}

#[tokio::test]
async fn what_is_asked_of_a_dead_letter_has_to_hold() {
    let (home, directory, source) = ten_rows().await;
    home.run().done();
    let record = |arguments: &[&str]| {
        let arguments = [&["plugin", "record", "faulty"][..], arguments].concat();
        home.start_command(&arguments, "").wait()
    };
    let twice = record(&["--id", "1", "--id", "1", "--code", "PLUGIN_TRAP"]);
    assert_eq!(twice.status.code(), Some(0), "{}", twice.log);
    assert_snapshot!(twice.stdout, @"1 of 1 cases are new in faulty.cases.toml");
    let other = record(&["--id", "1", "--code", "FAULTY"]);
    assert_eq!(other.status.code(), Some(2));
    other.said("dead letter 1 has code PLUGIN_TRAP, not FAULTY");

    // A setting of the file that production does not have would be in the case as well.
    let file = directory.parent().unwrap().join("faulty.cases.toml");
    let text = "[settings]\nremember_on = \"7\"\n";
    fs::write(&file, text).unwrap();
    let set = record(&["--dead-letters"]);
    assert_eq!(set.status.code(), Some(2), "{}", set.log);
    set.said("settings.remember_on: applies to every case of this file");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    drop(source);
    let away = record(&["--dead-letters"]);
    assert_eq!(away.status.code(), Some(1));
    away.said("the source and the tables define the columns of rows, also for dead letters: gave up after 2s: source");
}

#[tokio::test]
async fn rows_of_the_source_become_cases() {
    let (home, directory, _source) = ten_rows().await;
    let record = |arguments: &[&str]| {
        let arguments = [&["plugin", "record"][..], arguments].concat();
        home.start_command(&arguments, "").wait()
    };
    let output = directory.join("recorded.toml").display().to_string();
    let ended = record(&["faulty", "--limit", "5", "--output", &output]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let text = fs::read_to_string(&output).unwrap();
    let expected: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("expect"))
        .collect();
    // The third row traps: nothing is expected of it.
    assert_eq!(
        expected,
        [
            "  expect = \"accept\"",
            "  expect = \"accept\"",
            "  expect = \"accept\"",
            "  expect = { reject = [{ code = \"FAULTY\", message = \"met row 5\" }] }",
        ]
    );
    assert_eq!(text.matches("[[case]]").count(), 5);
    let ended = record(&["no-such", "--pipeline", "rows"]);
    assert_eq!(ended.status.code(), Some(2));
    ended.said("pipeline rows has no plugin `no-such`; it has: faulty");
    let ended = record(&["faulty", "--id", "77"]);
    assert_eq!(ended.status.code(), Some(2));
    ended.said("no dead letter 77");
}

#[tokio::test]
async fn rows_are_recorded_as_the_plugins_before_leave_them() {
    let recruit = Recruit::new().await;
    recruit.home.run().done();
    let run = |arguments: &[&str]| recruit.home.start_command(arguments, "").wait();
    let directory = tempfile::tempdir().unwrap();
    for (plugin, more) in [
        ("recruit-normalize", &["--limit", "200"][..]),
        ("recruit-rules", &["--limit", "200"]),
        ("recruit-rules", &["--dead-letters", "--limit", "5"]),
        ("recruit-dlq", &["--dead-letters", "--limit", "20"]),
    ] {
        let cases = directory.path().join(format!("{plugin}.toml"));
        let cases = cases.display().to_string();
        let record = [
            &["plugin", "record", plugin, "--json", "--output", &cases][..],
            more,
        ];
        let ended = run(&record.concat());
        let recorded: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let count = |what: &str| recorded[what].as_array().unwrap().len();
        let asked: usize = more[more.len() - 1].parse().unwrap();
        assert_eq!(
            count("cases") + count("skipped"),
            asked,
            "{plugin} {more:?}: {recorded:#}"
        );
        assert_eq!(recorded["new"].as_u64().unwrap() as usize, count("cases"));
        assert!(count("cases") >= asked / 2, "{recorded:#}");

        let component = guests("plugins").join(format!("{plugin}.wasm"));
        let ended = run(&["plugin", "test", &component.display().to_string(), &cases]);
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{plugin} {more:?}: {}",
            ended.stdout
        );
    }
    // Whoever names a row, or gets none, is told by the exit code.
    let listed = run(&["dlq", "list", "--stage", "decode", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let id = listed["entries"][0]["id"].to_string();
    let output = directory.path().join("none.toml").display().to_string();
    for (plugin, more, reason) in [
        (
            "recruit-rules",
            &["--id", &id][..],
            "does not reach the plugins",
        ),
        (
            "recruit-dlq",
            &["--limit", "1"],
            "a policy receives failed rows only: use --dead-letters",
        ),
    ] {
        let record = [&["plugin", "record", plugin, "--output", &output][..], more];
        let ended = run(&record.concat());
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
        assert!(ended.stdout.contains(reason), "{}", ended.stdout);
    }

    // The rules see what has been put into one spelling.
    let rules = fs::read_to_string(directory.path().join("recruit-rules.toml")).unwrap();
    let raw = fs::read_to_string(directory.path().join("recruit-normalize.toml")).unwrap();
    assert!(raw.contains("expect = { set = { english_level = "), "{raw}");
    assert!(!rules.contains("expect = { set"), "{rules}");
}
