//! Texts of a source, the database, a guest and an API server: nothing that a terminal obeys, and no
//! line that was not the host's, reaches a screen or a log; and a NUL costs nothing.

use forebay::proto::FieldType;
use support::{Cache, Home, Script, Then, row, rows};
use tonic::Code;

use super::{items, script};

/// What a terminal would obey, a NUL, a forged line, and a text in disguise.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\0\r\nFORGED \u{9b}31m\u{202e}\u{2066}";

/// As it is shown.
const SHOWN: &str = r"\u{1b}[2J\u{1b}]0;x\u{7}\0\r\nFORGED \u{9b}31m\u{202e}\u{2066}";

/// Asserts that a terminal would only show it.
#[track_caller]
fn assert_printable(text: &str) {
    let bad = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(bad), "{text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("FORGED")),
        "{text}"
    );
}

/// Runs a command in both forms of the log and, where it has one, of its output.
#[track_caller]
fn all(home: &Home, arguments: &[&str]) -> String {
    let mut all = String::new();
    for more in [&[][..], &["--json"], &["--log-format", "json"]] {
        let arguments = [arguments, more].concat();
        let ended = home.start_command(&arguments, "").wait();
        assert_printable(&ended.stdout);
        assert_printable(&ended.log);
        all += &ended.stdout;
        all += &ended.log;
    }
    all
}

#[tokio::test]
async fn i6_what_a_source_says_is_shown_and_not_obeyed() {
    let home = items().await;
    let named = |dataset: &str| {
        let mut script = script();
        script.dataset.name = dataset.to_owned();
        script.serve()
    };
    let source = named(HOSTILE);
    home.configure(&source.pipeline(&["items"], ""));
    assert!(all(&home, &["check"]).contains(SHOWN));

    let status = script()
        .chunk(rows(1..=5))
        .then(1, Then::Fail(Code::NotFound, HOSTILE));
    let source = status.serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert!(all(&home, &["run"]).contains(SHOWN));
    // A NUL in the message does not keep the run from its end.
    let ended =
        "select count(*) from forebay.run where status = 'failed' and message like '%FORGED%'";
    assert_eq!(home.database.number(ended).await, 1);
}

#[tokio::test]
async fn i6_a_token_with_any_characters_is_handed_back_as_it_came() {
    let home = items().await;
    let source = script()
        .chunk(rows(1..=5))
        .chunk(rows(6..=10))
        .changes()
        .token(|place| format!("{HOSTILE}{place}"))
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 10);
    assert_eq!(report["checkpoint"][0]["position"], format!("{HOSTILE}2"));
    for command in [&["run"][..], &["checkpoint", "show", "rows"]] {
        assert!(all(&home, command).contains(r"\u{1b}[2J"), "{command:?}");
    }
    assert_eq!(source.positions().last().unwrap(), &format!("{HOSTILE}2"));
}

#[tokio::test]
async fn i6_keys_fields_and_partitions_are_shown() {
    let home = Home::new().await;
    let table = "create table items (id text primary key, note text check (note not like '%FORGED%'), vector vector(2))";
    home.database.execute(table).await;
    let name = "\u{1b}[2J\nFORGED\u{202e}";
    let bad = |key: &str| row(key, &[1.0, 1.0]);
    let source = Script::new(2, &[("note", FieldType::Text)])
        .partition(
            name,
            [
                bad(HOSTILE),
                bad(name).text("note", name),
                bad("unknown").text(name, "x"),
                bad("good").text("note", "x"),
            ],
        )
        .serve();
    home.configure(&source.pipeline(&["items"], "dead_letter_limit = \"100%\""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 1, "{report:#}");
    for command in [
        &["run"][..],
        &["dlq", "list"],
        &["checkpoint", "show", "rows"],
        &["dlq", "show", "1"],
        &["dlq", "show", "2"],
        &["dlq", "show", "3"],
    ] {
        assert!(all(&home, command).contains(r"\u{1b}[2J"), "{command:?}");
    }

    let source = Script::new(2, &[]).partition("a\0b", []).serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert!(all(&home, &["run"]).contains(r"the name of the partition `a\0b` has a NUL"));
}

#[tokio::test]
async fn i6_what_the_database_says_is_shown() {
    let home = items().await;
    home.database
        .execute(
            r"create function shout() returns trigger language plpgsql as $$ begin
                raise exception E'\x1b[2J\nFORGED' using hint = E'\x1b]0;x\x07', errcode = 'insufficient_privilege';
              end $$;
              create trigger shout before insert on items for each row execute function shout()",
        )
        .await;
    let source = script().chunk(rows(1..=5)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert!(all(&home, &["run"]).contains(r"\u{1b}[2J\nFORGED"));
    all(&home, &["dlq", "list"]);
}

#[tokio::test]
async fn i6_what_an_api_server_answers_is_shown() {
    let home = items().await;
    let source = script().chunk(rows(1..=5)).serve();
    for success in [false, true] {
        let api = Cache::answering(success, HOSTILE);
        let notify = format!(
            "notify = {{ grpc = \"{}\", target = \"items\" }}",
            api.url()
        );
        home.configure(&source.pipeline(&["items"], &notify));
        let ended = home.run();
        assert_printable(&ended.log);
        assert_printable(&ended.stdout);
        ended.said(SHOWN);
        let status = if success { "delivered" } else { "pending" };
        assert_eq!(ended.done()["notify"]["status"], status);
    }
}
