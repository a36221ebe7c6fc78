//! Sources as people have them: servers with defects, silent ones, those that want to know who
//! calls, and addresses at which there is something else. Each is said as what it is.

mod hostile_texts;
mod impostors;
mod secured;
mod shapes;

use forebay::proto::FieldType;
use insta::assert_snapshot;
use support::{Home, Script, Scripted, Then, guests, rows};
use tonic::Code;

const ITEMS: &str =
    "create table items (id int primary key, number int, vector vector(2) not null)";

pub(crate) fn script() -> Script {
    Script::new(2, &[("number", FieldType::Integer)])
}

pub(crate) async fn items() -> Home {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    home
}

/// Configures a pipeline with more keys of its source.
fn configure(home: &Home, source: &Scripted, keys: &str, give_up_after: &str) {
    let url = source.url();
    home.configure_with(
        &guests("plugins"),
        &format!("retry.give_up_after = \"{give_up_after}\""),
        &format!(
            "[pipelines.rows]\ntables = [\"items\"]\nplugins = []\n
             [pipelines.rows.source]\ngrpc = \"{url}\"\ndataset = \"rows\"\n{keys}"
        ),
    );
}

#[tokio::test]
async fn f4_an_exception_in_the_handler_is_the_servers_error() {
    let home = items().await;
    let text = "Exception calling application: division by zero";
    let source = script()
        .chunk(rows(1..=5))
        .chunk(rows(6..=10))
        .then(1, Then::Fail(Code::Unknown, text))
        .serve();
    // An outage would be waited for during five minutes.
    home.configure(&source.pipeline(&["items"], ""));
    let mut host = home.start("");
    host.until("failed: UNKNOWN: Exception calling application: division by zero");
    let report = host.wait().exit(1);
    let address = source.url();
    let message = report["message"].as_str().unwrap();
    assert_eq!(
        message,
        format!("gave up after 6 attempts: source {address} failed: UNKNOWN: {text}")
    );
    assert_eq!(report["rows"]["inserted"], 10);

    source.change(|script| Script {
        then: None,
        ..script
    });
    assert_eq!(home.run().done()["rows"]["inserted"], 10);
}

#[tokio::test]
async fn f4_statuses_are_final_defects_or_outages() {
    let home = items().await;
    let mut said = String::new();
    for code in [
        Code::Unknown,
        Code::Internal,
        Code::DataLoss,
        Code::Unavailable,
        Code::ResourceExhausted,
        Code::NotFound,
        Code::PermissionDenied,
    ] {
        let source = script().then(0, Then::Fail(code, "out of paper")).serve();
        configure(&home, &source, "", "100ms");
        let report = home.run().exit(1);
        let message = report["message"].as_str().unwrap();
        said += &format!("{}\n", message.replace(&source.url(), "URL"));
    }
    assert_snapshot!(said, @"
    gave up after 100ms: source URL failed: UNKNOWN: out of paper
    gave up after 100ms: source URL failed: INTERNAL: out of paper
    gave up after 100ms: source URL failed: DATA_LOSS: out of paper
    gave up after 100ms: source URL is away: UNAVAILABLE: out of paper
    gave up after 100ms: source URL is away: RESOURCE_EXHAUSTED: out of paper
    source URL: NOT_FOUND: out of paper
    source URL: PERMISSION_DENIED: out of paper
      hint: the server knows this client but does not let it in; see `source.auth`
    ");
}

#[tokio::test]
async fn f2_a_silent_source_is_told_of_and_asked_again() {
    let home = items().await;
    let source = script()
        .chunk(rows(1..=5))
        .chunk(rows(6..=10))
        .then(1, Then::Silence)
        .serve();
    configure(&home, &source, "idle_timeout = \"400ms\"", "5m");
    let mut host = home.start("");
    host.until("the source is silent: waiting for a chunk since 200ms, for at most 400ms (`source.idle_timeout`)");
    host.until("is away: silent for 400ms, with a chunk to come");
    source.change(|script| Script {
        then: None,
        ..script
    });
    let report = host.wait().done();
    assert_eq!(report["rows"]["inserted"], 10);
    assert!(source.opened() >= 2, "{}", source.opened());
}

#[tokio::test]
async fn f2_a_source_that_stays_silent_is_given_up() {
    let home = items().await;
    for chunks in [0, 1] {
        let source = script()
            .chunk(rows(1..=5))
            .then(chunks, Then::Silence)
            .serve();
        configure(&home, &source, "idle_timeout = \"200ms\"", "100ms");
        let ended = home.run();
        ended.said("gave up after 100ms").said("silent for 200ms");
        ended.said("hint: if it needs longer between two chunks, raise `source.idle_timeout`");
        ended.exit(1);
    }
}

#[tokio::test]
async fn f2_signs_of_life_without_progress_are_silence() {
    let home = items().await;
    // The position stands still, and no row comes.
    let chunks = (0..5_000).fold(script().chunk(rows(1..=5)), |script, _| script.chunk([]));
    let source = chunks
        .token(|_| "still".to_owned())
        .then(5_001, Then::Silence)
        .serve();
    configure(&home, &source, "idle_timeout = \"300ms\"", "100ms");
    let ended = home.run();
    ended.said("silent for 300ms, with a chunk to come");
    let report = ended.exit(1);
    assert_eq!(report["chunks"], 1, "{report:#}");
}

#[tokio::test]
async fn i5_a_position_that_does_not_move_is_an_error_of_the_source() {
    let home = items().await;
    let chunks = |script: Script| (0..9).fold(script, |script, _| script.chunk(rows(1..=5)));
    for (token, said) in [
        (
            (|_| "same".to_owned()) as fn(usize) -> String,
            "sent 5 rows with the same resume token as the chunk before, `same`: its position does not move",
        ),
        (
            |place| format!("circle {}", place % 2),
            "sent 5 rows with the same resume token as the chunk 2 before",
        ),
    ] {
        let source = chunks(script()).token(token).serve();
        home.configure(&source.pipeline(&["items"], ""));
        let ended = home.run();
        ended.said(said);
        let report = ended.exit(1);
        assert_eq!(report["status"], "failed", "{report:#}");
        assert_eq!(source.opened(), 1);
        // The next start stands where this one stood.
        home.run().exit(1);
        home.start_command(&["checkpoint", "reset", "rows"], "")
            .wait()
            .exit(0);
    }
}

#[tokio::test]
async fn f6_a_stream_that_ends_before_the_promised_rows_removes_nothing() {
    let home = items().await;
    let to = |last: i64, promised: u64| {
        let keys: Vec<i64> = (1..=last).collect();
        let chunks = keys.chunks(50).map(|keys| rows(keys.to_vec()));
        chunks.fold(script(), Script::chunk).counting(promised)
    };
    let source = to(200, 200).serve();
    home.configure(&source.pipeline(&["items"], "missing = \"remove\""));
    home.run().done();

    source.change(|_| to(190, 200));
    let ended = home.run();
    let said = "the source says that it has 200 rows, and sent 190: the 10 missing ones are kept";
    ended.said(said);
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
    let report = ended.exit(3);
    assert_eq!(report["status"], "held_back", "{report:#}");
    assert_eq!(report["missing"]["status"], "held_back");
    let count = "select count(*) from items";
    assert_eq!(home.database.number(count).await, 200);

    let mut allowed = home.start_command(&["run", "--allow-missing"], "");
    allowed.until("run ended");
    allowed.wait().exit(0);
    assert_eq!(home.database.number(count).await, 190);
    // Rows that the source no longer counts are gone.
    source.change(|_| to(180, 180));
    assert_eq!(home.run().done()["missing"]["removed"], 10);
}

#[tokio::test]
async fn f6_without_missing_it_is_said_in_the_log() {
    let home = items().await;
    let source = script().chunk(rows(1..=5)).counting(9).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let ended = home.run();
    ended.said("the source has ended its streams before all rows that it says it has");
    ended.done();
}

#[tokio::test]
async fn i11_a_partition_that_is_listed_twice_is_said() {
    let home = items().await;
    let source = script()
        .partition("north", rows(1..=5))
        .described(|dataset| dataset.partitions.push("north".into()))
        .serve();
    configure(&home, &source, "", "100ms");
    let ended = home.start_command(&["run"], "").wait();
    ended.said("dataset `rows`: the partition `north` is listed twice");
    ended.exit(1);
}
