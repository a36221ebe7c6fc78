//! Feeds that never end: their runs roll over, with every row in one of them, and the API server is
//! told on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay::demo::api_server;
use forebay::proto::FieldType;
use nix::sys::signal::Signal;
use support::endless::Endless;
use support::{Ended, Home, RowBuilder, Script, Scripted, Then, rows};

/// Rows of the feed. Every 16th has a vector of the wrong length.
const ROWS: i64 = 480;

const CHUNK: i64 = 12;

async fn home() -> Home {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, number int, vector vector(2))")
        .await;
    home
}

/// A feed that falls silent after its last row, and does not end.
fn feed() -> Scripted {
    let bad = |row: RowBuilder, index: usize| match index % 16 {
        15 => row.vector("vector", &[1.0]),
        _ => row,
    };
    let all: Vec<RowBuilder> = (0..)
        .zip(rows(1..=ROWS))
        .map(|(index, row)| bad(row, index))
        .collect();
    let script = Script::new(2, &[("number", FieldType::Integer)]).changes();
    let chunks = all.chunks(CHUNK as usize);
    let script = chunks.fold(script, |script, chunk| script.chunk(chunk.to_vec()));
    script.then(u64::MAX >> 1, Then::Silence).serve()
}

fn configure(home: &Home, feed: &Scripted, more: &str) {
    home.configure(&feed.pipeline_with(&["items"], "plugins = []", CHUNK as u32, more));
}

/// Runs until every row of the feed is committed, and stops.
async fn run_through(home: &Home) -> Ended {
    let mut host = home.start("");
    host.until("run started");
    home.database
        .until(&format!(
            "select coalesce(sum(received), 0) = {ROWS} from forebay.run"
        ))
        .await;
    host.signal(Signal::SIGTERM);
    host.wait()
}

/// Asserts that every row is in one of the runs, and in the tables.
async fn assert_whole(home: &Home, what: &str) {
    let database = &home.database;
    let sums = "select concat_ws(' ', sum(received), sum(inserted), sum(dead_lettered), sum(updated + unchanged + dropped)) from forebay.run";
    let bad = ROWS / 16;
    let expected = format!("{ROWS} {} {bad} 0", ROWS - bad);
    assert_eq!(database.texts(sums).await, [expected], "{what}");
    let items = "select count(*) from items";
    assert_eq!(database.number(items).await, ROWS - bad, "{what}");
    let codes = "select sum(rows)::bigint from forebay.run_code where fate = 'dead_lettered'";
    assert_eq!(database.number(codes).await, bad, "{what}");
    let letters = "select count(*) from forebay.dead_letter where seen = 1";
    assert_eq!(database.number(letters).await, bad, "{what}");
}

#[tokio::test]
async fn a_feed_that_never_ends_rolls_over_by_rows() {
    let (home, feed) = (home().await, feed());
    configure(&home, &feed, "roll_over = { rows = 100 }");
    let ended = run_through(&home).await;
    ended.said("run rolled over");
    let report = ended.exit(130);
    assert_eq!(report["status"], "interrupted");
    assert_whole(&home, "rolled over").await;

    let database = &home.database;
    let closed = "select count(*) from forebay.run where status = 'succeeded'";
    let closed = database.number(closed).await;
    // 100 rows and what was in flight are far from half of them.
    assert!((2..=4).contains(&closed), "{closed} runs");
    let short = "select count(*) from forebay.run where status = 'succeeded' and received < 100";
    assert_eq!(database.number(short).await, 0);
    // One claim, and no run is started twice.
    let claims = "select epoch from forebay.checkpoint";
    assert_eq!(database.number(claims).await, 1);
    let starts = "select max(starts)::bigint from forebay.run";
    assert_eq!(database.number(starts).await, 1);
    // The checkpoint has the rows of the last run only.
    let rest =
        "select c.rows - r.received from forebay.checkpoint c join forebay.run r on r.id = c.run";
    assert_eq!(database.number(rest).await, 0);
}

#[tokio::test]
async fn a_feed_that_never_ends_rolls_over_by_age() {
    let (home, feed) = (home().await, feed());
    configure(&home, &feed, "roll_over = { after = \"1ms\" }");
    let ended = run_through(&home).await;
    ended.said("run rolled over");
    assert_whole(&home, "by age").await;
    // Nothing came any more: such a run stays, however old it is.
    let empty = "select count(*) from forebay.run where received = 0";
    assert!(home.database.number(empty).await <= 1);
}

#[tokio::test]
async fn killed_where_it_rolls_over_it_goes_on() {
    for (point, passage) in [
        ("roll_over.before", 1),
        ("roll_over.after", 1),
        ("roll_over.after", 2),
        ("run.begun", 2),
        ("stream.open", 2),
        ("commit.after", 12),
    ] {
        let what = format!("killed at passage {passage} of {point}");
        let (home, feed) = (home().await, feed());
        configure(&home, &feed, "roll_over = { rows = 100 }");
        let faults = format!("{point}={}*off->return", passage - 1);
        let ended = home.start(&faults).wait();
        assert_eq!(ended.status.code(), None, "{what}:\n{}", ended.log);
        run_through(&home).await.exit(130);
        assert_whole(&home, &what).await;
        let open =
            "select count(*) from forebay.run where status not in ('succeeded', 'interrupted')";
        assert_eq!(home.database.number(open).await, 0, "{what}");
    }
}

#[tokio::test]
async fn the_api_server_is_told_while_the_feed_runs() {
    let home = home().await;
    let feed = Endless::feed(Duration::from_millis(5));
    let api = api_server::start(support::anywhere()).unwrap();
    let (source, notify) = (feed.url(), api.url());
    home.configure(&format!(
        r#"
        [pipelines.rows]
        source = {{ grpc = "{source}", dataset = "rows", chunk_rows = 60 }}
        plugins = []
        tables = ["items"]
        notify = {{ grpc = "{notify}", target = "items", every = "50ms" }}
        roll_over = {{ rows = 1_000 }}"#
    ));
    let mut host = home.start("");
    let told = || {
        let calls = api.received().into_iter();
        let calls = calls.map(|call| (call.notification_id, call.changed_rows));
        calls.collect::<BTreeMap<_, _>>()
    };
    // One that rolls over may take a call's answer away, which is then made again.
    while told().len() < 5 {
        host.until("notified");
    }
    host.signal(Signal::SIGTERM);
    host.wait().exit(130);

    let calls = api.received();
    let told = told();
    // An identity stands for the same rows at every attempt.
    assert!(
        calls
            .iter()
            .all(|call| told[&call.notification_id] == call.changed_rows)
    );
    // What the stop has left untold is still owed.
    let owed = "select id || ' ' || changed_rows from forebay.outbox where delivered_at is null";
    let owed = home.database.texts(owed).await;
    let owed = owed.iter().map(|line| line.split_once(' ').unwrap());
    let owed = owed.filter(|(id, _)| !told.contains_key(*id));
    let owed: u64 = owed.map(|(_, rows)| rows.parse::<u64>().unwrap()).sum();
    let rows = home.database.number("select count(*) from items").await;
    assert_eq!(told.values().sum::<u64>() + owed, rows.unsigned_abs());
    // What is delivered does not pile up.
    let kept = "select count(*) from forebay.outbox o join forebay.run r on r.id = o.run where r.status = 'succeeded' and delivered_at is not null";
    assert_eq!(home.database.number(kept).await, 0);
}

#[tokio::test]
async fn keys_of_feeds_are_refused_for_what_is_read_as_a_whole() {
    let home = home().await;
    let script = Script::new(2, &[("number", FieldType::Integer)]);
    let source = script.chunk(rows(1..=3)).serve();
    let more = "roll_over = {}\nnotify = { grpc = \"http://127.0.0.1:1\", target = \"t\", every = \"1s\" }";
    home.configure(&source.pipeline(&["items"], more));
    let ended = home.run();
    for key in ["roll_over", "notify.every"] {
        ended.said(&format!(
            "pipelines.rows.{key}: has no effect: `rows` is not a feed of changes"
        ));
    }
    assert_eq!(ended.status.code(), Some(2), "{}", ended.log);
}
