//! Rows that a source no longer has: removed or flagged after a run that has read its whole
//! dataset, and not by accident.

use std::os::unix::process::ExitStatusExt;

use forebay::demo::api_server;
use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use insta::assert_snapshot;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Home, RowBuilder, Script, Scripted, State, anywhere, row, rows, tombstone};

const NUMBER: [(&str, FieldType); 1] = [("number", FieldType::Integer)];
const ITEMS: &str =
    "create table items (id int primary key, number int not null check (number > 0),
    vector vector(2) not null);";
const REMOVE: &str = "missing = \"remove\"";
const REMOVE_ALL: &str = "missing = \"remove\"\nmissing_limit = \"100%\"";

fn script(keys: impl IntoIterator<Item = i64>) -> Script {
    let keys: Vec<i64> = keys.into_iter().collect();
    let chunks = keys.chunks(300).map(|keys| rows(keys.to_vec()));
    chunks.fold(Script::new(2, &NUMBER), Script::chunk)
}

/// Tables, and a first run over rows with these keys.
async fn filled(tables: &str, keys: impl IntoIterator<Item = i64>, more: &str) -> (Home, Scripted) {
    let home = Home::new().await;
    home.database.execute(tables).await;
    let source = script(keys).serve();
    home.configure(&source.pipeline(&["items"], more));
    home.run().done();
    (home, source)
}

async fn count(home: &Home, what: &str) -> i64 {
    let query = format!("select count(*) from {what}");
    home.database.number(&query).await
}

/// `known`, `rows`, `removed`, `flagged`, `kept`.
fn missing(report: &Value) -> [u64; 5] {
    ["known", "rows", "removed", "flagged", "kept"]
        .map(|it| report["missing"][it].as_u64().unwrap())
}

/// Nothing is left of what was noted on the way.
async fn nothing_noted(home: &Home) {
    for table in ["forebay.seen_keys", "forebay.missing_key"] {
        assert_eq!(count(home, table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn rows_that_do_not_come_are_removed_from_all_tables() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, number int not null);
             create table vectors (id int primary key references items, vector vector(2) not null);",
        )
        .await;
    let source = script(1..=100).serve();
    let api = api_server::start(anywhere()).unwrap();
    let notify = format!(
        "notify = {{ grpc = \"{}\", target = \"items\" }}",
        api.url()
    );
    let more = format!("{notify}\n{REMOVE}");
    home.configure(&source.pipeline(&["vectors", "items"], &more));
    let report = home.run().done();
    assert_eq!(missing(&report), [100, 0, 0, 0, 0]);

    source.change(|_| script((1..=95).chain([200])));
    let ended = home.run();
    assert!(
        ended
            .stdout
            .contains("missing from the source: 5 of 101 rows, removed 5\n"),
        "{}",
        ended.stdout
    );
    let report = ended.done();
    assert_eq!(missing(&report), [101, 5, 5, 0, 0]);
    assert_eq!(report["missing"]["status"], "done");
    assert_eq!(report["rows"]["received"], 96);
    for table in ["items", "vectors", "forebay.row_digest"] {
        assert_eq!(count(&home, table).await, 96, "{table}");
    }
    nothing_noted(&home).await;
    // Nothing but missing rows.
    source.change(|_| script(1..=95));
    let report = home.run().done();
    assert_eq!(report["notify"]["status"], "delivered");
    let told: Vec<u64> = api
        .received()
        .iter()
        .map(|call| call.changed_rows)
        .collect();
    assert_eq!(told, [100, 6, 1]);
    let report = home.run().done();
    assert_eq!(report["notify"]["status"], "nothing_changed");
    // A row that comes back is a new one.
    source.change(|_| script(1..=100));
    assert_eq!(home.run().done()["rows"]["inserted"], 5);
}

#[tokio::test]
async fn without_a_word_rows_stay() {
    let (home, source) = filled(ITEMS, 1..=10, "").await;
    source.change(|_| script(1..=9));
    let report = home.run().done();
    assert_eq!(report["missing"], Value::Null);
    assert_eq!(count(&home, "items").await, 10);
}

#[tokio::test]
async fn a_row_that_fails_or_is_dropped_is_not_missing() {
    let (home, source) = filled(ITEMS, 1..=100, REMOVE).await;
    source.change(|_| {
        let spoil = |key: i64, row: RowBuilder| match key {
            // Refused when decoded, by the database, and of the wrong type.
            3 => row.set("unknown", Kind::Integer(1)),
            4 => row.set("number", Kind::Integer(-1)),
            5 => row.text("number", "five"),
            // Its tombstone is refused.
            6 => tombstone("6"),
            _ => row,
        };
        let spoilt = (1..=99).zip(rows(1..=99)).map(|(key, row)| spoil(key, row));
        Script::new(2, &NUMBER).chunk(spoilt)
    });
    home.database
        .execute("create table orders (item int references items); insert into orders values (6)")
        .await;
    let report = home.run().done();
    assert_eq!(report["rows"]["dead_lettered"], 4, "{report:#}");
    assert_eq!(missing(&report), [100, 1, 1, 0, 0]);
    assert_eq!(count(&home, "items where id < 100").await, 99);
}

#[tokio::test]
async fn flagged_rows_stay_and_are_flagged_once_until_they_come_back() {
    flag("boolean not null default false", "gone").await;
    flag("boolean", "coalesce(gone, false)").await;
    flag("timestamptz", "gone is not null").await;
}

async fn flag(column: &str, is_flagged: &str) {
    let tables = format!(
        "create table items (id int primary key, gone {column}, number int, vector vector(2) not null,
             updated_at timestamptz not null default now());"
    );
    let (home, source) = filled(&tables, 1..=20, "missing = { flag = \"gone\" }").await;
    let flagged = format!(
        "select coalesce(string_agg(id || ' ' || updated_at || coalesce(gone::text, ''), ', ' order by id), '')
         from items where {is_flagged}"
    );
    let flagged = async || home.database.texts(&flagged).await.concat();
    let before = "select updated_at::text from items where id = 20";
    let before = home.database.texts(before).await;

    source.change(|_| script(1..=18));
    let report = home.run().done();
    assert_eq!(missing(&report), [20, 2, 0, 2, 0]);
    let first = flagged().await;
    assert!(
        first.starts_with("19 ") && first.contains(", 20 "),
        "{first}"
    );
    assert!(!first.contains(&before[0]), "{first}");

    // Once: neither again nor counted again.
    assert_eq!(missing(&home.run().done()), [18, 0, 0, 0, 0]);
    assert_eq!(flagged().await, first);

    // As it was, and it is the row that was there.
    source.change(|_| script((1..=18).chain([20])));
    let report = home.run().done();
    assert_eq!(report["rows"]["updated"], 1, "{report:#}");
    assert_eq!(report["rows"]["unchanged"], 18);
    assert!(flagged().await.starts_with("19 "));
    assert_eq!(count(&home, "items").await, 20);
    assert_eq!(home.run().done()["rows"]["unchanged"], 19);

    // Removed after all.
    home.configure(&source.pipeline(&["items"], REMOVE));
    assert_eq!(missing(&home.run().done()), [20, 1, 1, 0, 0]);
    assert_eq!(flagged().await, "");
}

#[tokio::test]
async fn a_row_that_comes_back_at_the_second_try_loses_its_flag() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, company_name text, gone boolean, vector vector(2) not null);
             create sequence tries;
             create function refuse() returns trigger language plpgsql as $$ begin
                 if nextval('tries') <= 3 then raise exception 'retry'; end if;
                 return new;
             end $$;",
        )
        .await;
    let make = |keys: std::ops::RangeInclusive<u8>| {
        let named = |key: u8| row(&key.to_string(), &[1.0, 1.0]).text("company_name", "any");
        Script::new(2, &[("company_name", FieldType::Text)]).chunk(keys.map(named))
    };
    let source = make(1..=9).serve();
    let more = "missing = { flag = \"gone\" }\nmissing_limit = \"50%\"";
    let pipeline = source.pipeline_with(&["items"], "plugins = [\"judge\"]", 300, more);
    home.configure_with(&home.only("judge"), "", &pipeline);
    home.run().done();
    source.change(|_| make(1..=8));
    assert_eq!(missing(&home.run().done()), [9, 1, 0, 1, 0]);
    home.database
        .execute("create trigger refuse before insert or update on items for each row execute function refuse()")
        .await;
    source.change(|_| make(1..=9));
    assert_eq!(home.run().done()["rows"]["updated"], 1);
    assert!(home.database.number("select last_value from tries").await > 3);
    assert_eq!(count(&home, "items where gone").await, 0);
}

#[tokio::test]
async fn more_than_the_limit_is_held_back_until_somebody_allows_it() {
    let (home, source) = filled(ITEMS, 1..=100, REMOVE).await;
    source.change(|_| script((1..=89).chain([101])));
    let ended = home.run();
    let text: Vec<&str> = ended.stdout.lines().take(5).collect();
    assert_snapshot!(text.join("\n"), @r#"
    rows: done, but missing rows were kept
      received 90 = inserted 1 + updated 0 + unchanged 89 + dropped 0
        + dead-lettered 0
      missing from the source: 11 of 101 rows, all kept
      11 of 101 rows are missing, more than missing_limit = "10%": they are kept. If the source is right, run the pipeline once with --allow-missing
    "#);
    ended.said("missing_limit");
    let report = ended.exit(3);
    assert_eq!(report["status"], "held_back");
    assert_eq!(report["missing"]["status"], "held_back");
    assert_eq!(missing(&report), [101, 11, 0, 0, 0]);
    // What came is there, and the next run begins anew.
    assert_eq!(count(&home, "items").await, 101);
    nothing_noted(&home).await;
    let again = home.run().exit(3);
    assert_ne!(again["run_id"], report["run_id"]);
    assert_eq!(again["rows"]["unchanged"], 90);

    let mut once = home.start_command(&["run", "--allow-missing", "--report", "once.json"], "");
    while once.next_line().is_some() {}
    assert_eq!(once.wait().status.code(), Some(0));
    assert_eq!(count(&home, "items").await, 90);

    // Exactly the limit may go.
    source.change(|_| script(1..=81));
    assert_eq!(missing(&home.run().done()), [90, 9, 9, 0, 0]);
    // An empty dataset empties no table.
    source.change(|_| Script::new(2, &NUMBER));
    assert_eq!(missing(&home.run().exit(3)), [81, 81, 0, 0, 0]);
    home.configure(&source.pipeline(&["items"], REMOVE_ALL));
    assert_eq!(missing(&home.run().done()), [81, 81, 81, 0, 0]);
    assert_eq!(count(&home, "items").await, 0);
}

#[tokio::test]
async fn a_row_without_a_readable_key_may_be_any_of_the_missing() {
    let (home, source) = filled(ITEMS, 1..=100, REMOVE_ALL).await;
    source.change(|_| script(1..=99).chunk([row("x", &[1.0, 1.0]), row("", &[1.0, 1.0])]));
    let ended = home.run();
    ended.said("2 rows came without a readable key");
    let report = ended.exit(3);
    assert_eq!(missing(&report), [100, 1, 0, 0, 0]);
    assert_eq!(count(&home, "items").await, 100);
    // Where nothing is missing it is none of it.
    source.change(|_| script(1..=100).chunk([row("x", &[1.0, 1.0])]));
    assert_eq!(missing(&home.run().done()), [100, 0, 0, 0, 0]);
}

#[tokio::test]
async fn all_partitions_have_to_come_to_their_end() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let both = |left: Vec<RowBuilder>, right: Vec<RowBuilder>| {
        Script::new(2, &NUMBER)
            .partition("left", left)
            .partition("right", right)
    };
    let source = both(rows(1..=50), rows(51..=100)).serve();
    home.configure(&source.pipeline(&["items"], REMOVE_ALL));
    home.run().done();
    // Rows have changed sides, and one chunk of the right is out of order.
    source.change(|_| {
        let mut script = both(rows(41..=60), rows(1..=5)).partition("right", rows(6..=30));
        script.skip_sequence_at = Some(2);
        script
    });
    let report = home.run().exit(1);
    assert_eq!(report["missing"]["status"], "unfinished");
    assert_eq!(count(&home, "items").await, 100);
    source.change(|mut script| {
        script.skip_sequence_at = None;
        script
    });
    let report = home.run().done();
    assert_eq!(report["starts"], 2);
    assert_eq!(missing(&report), [100, 50, 50, 0, 0]);
    assert_eq!(
        count(&home, "items where id <= 30 or id between 41 and 60").await,
        50
    );
    nothing_noted(&home).await;
}

#[tokio::test]
async fn a_run_that_began_without_looking_leaves_it_to_the_next() {
    let (home, source) = filled(ITEMS, 1..=10, "").await;
    source.change(|_| script(1..=4).chunk(rows(5..=9)));
    let killed = home.start("commit.after=return").wait();
    assert_eq!(killed.status.signal(), Some(Signal::SIGKILL as i32));
    home.configure(&source.pipeline(&["items"], REMOVE_ALL));
    let report = home.run().done();
    assert_eq!(report["missing"]["status"], "next_run", "{report:#}");
    assert_eq!(count(&home, "items").await, 10);
    assert_eq!(missing(&home.run().done()), [10, 1, 1, 0, 0]);

    // The other way round nothing stays noted.
    let killed = home.start("commit.after=return").wait();
    assert_eq!(killed.status.signal(), Some(Signal::SIGKILL as i32));
    home.configure(&source.pipeline(&["items"], ""));
    home.run().done();
    home.run().done();
    nothing_noted(&home).await;
}

#[tokio::test]
async fn a_row_that_the_database_does_not_let_go_stays_and_is_tried_again() {
    for constraint in ["", "deferrable initially deferred"] {
        let tables =
            format!("{ITEMS} create table orders (item int references items {constraint});");
        let (home, source) = filled(&tables, 1..=10, REMOVE_ALL).await;
        home.database.execute("insert into orders values (8)").await;
        source.change(|_| script(1..=6));
        let ended = home.run();
        ended.said("the database refused to remove `8`");
        assert_eq!(missing(&ended.done()), [10, 4, 3, 0, 1]);
        assert_eq!(missing(&home.run().done()), [7, 1, 0, 0, 1]);
        home.database.execute("delete from orders").await;
        assert_eq!(missing(&home.run().done()), [7, 1, 1, 0, 0]);
    }
}

#[tokio::test]
async fn a_host_that_is_killed_goes_on_and_does_nothing_twice() {
    // What a run comes to that is killed at each of these passages.
    async fn after(points: &[&str]) -> State {
        let home = Home::new().await;
        home.database.execute(ITEMS).await;
        let source = script(1..=2_400).serve();
        let api = api_server::start(anywhere()).unwrap();
        let notify = format!(
            "notify = {{ grpc = \"{}\", target = \"items\" }}",
            api.url()
        );
        let more = format!("{notify}\n{REMOVE_ALL}");
        home.configure(&source.pipeline(&["items"], &more));
        home.run().done();
        source.change(|_| script(1..=300));
        for point in points {
            let killed = home.start(point).wait();
            let signal = killed.status.signal();
            assert_eq!(
                signal,
                Some(Signal::SIGKILL as i32),
                "{point}: {}",
                killed.log
            );
        }
        let report = home.run().done();
        assert_eq!(missing(&report), [2_400, 2_100, 2_100, 0, 0], "{points:?}");
        nothing_noted(&home).await;
        let told = api.received();
        assert_eq!(told.last().unwrap().changed_rows, 2_100, "{points:?}");
        State::of(&home.database, &["items"]).await
    }
    let undisturbed = after(&[]).await;
    for points in [
        &["commit.after=return", "missing.before=return"][..],
        &["missing.found=return", "missing.treated=return"],
        &["missing.treated=2*off->return", "missing.committed=return"],
        &["missing.committed=1*off->return", "missing.done=return"],
        &["notify.called=return", "finish.before=return"],
    ] {
        undisturbed.assert_same(&after(points).await, &format!("killed at {points:?}"));
    }
}

#[tokio::test]
async fn a_host_that_is_overtaken_removes_nothing() {
    let (home, source) = filled(ITEMS, 1..=100, REMOVE_ALL).await;
    source.change(|_| script(1..=50));
    let held = home
        .database
        .hold("select from items where id = 70 for update")
        .await;
    let first = home.start("");
    home.database.until_blocked().await;
    let reset = home.start_command(&["checkpoint", "reset", "rows"], "");
    reset.wait().exit(0);
    held.rollback().await.unwrap();
    let first = first.wait();
    first.said("another host has taken over");
    first.exit(1);
    assert_eq!(count(&home, "items").await, 100);
    assert_eq!(missing(&home.run().done()), [100, 50, 50, 0, 0]);
    nothing_noted(&home).await;
}

#[tokio::test]
async fn a_signal_ends_it_between_two_transactions() {
    let (home, source) = filled(ITEMS, 1..=2_500, REMOVE_ALL).await;
    source.change(|_| script(1..=100));
    let held = home
        .database
        .hold("select from items where id = 101 for update")
        .await;
    let mut host = home.start("");
    home.database.until_blocked().await;
    host.signal(Signal::SIGTERM);
    host.until("stopping after the received chunks are committed");
    held.rollback().await.unwrap();
    let report = host.wait().exit(130);
    assert_eq!(missing(&report), [2_500, 2_400, 1_000, 0, 0], "{report:#}");
    assert_eq!(report["status"], "interrupted");
    let report = home.run().done();
    assert_eq!(report["starts"], 2);
    assert_eq!(missing(&report), [2_500, 2_400, 2_400, 0, 0]);
}

#[tokio::test]
async fn unchanged_rows_cost_less_than_100_bytes_of_wal() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = script(1..=9_000).serve();
    home.configure(&source.pipeline(&["items"], REMOVE));
    home.run().done();
    home.database
        .execute("create extension pg_walinspect")
        .await;
    let flushed = "select pg_logical_emit_message(false, 'test', '', true)::text";
    let before = home.database.texts(flushed).await.concat();
    let report = home.run().done();
    let after = home.database.texts(flushed).await.concat();
    assert_eq!(report["rows"]["unchanged"], 9_000);
    assert_eq!(missing(&report), [9_000, 0, 0, 0, 0]);
    // Other tests write into the same server: only records about this database count.
    let wal = format!(
        "select coalesce(sum(length), 0)::bigint from (
             select distinct on (start_lsn) record_length as length
             from pg_get_wal_block_info('{before}', '{after}', false)
             where reldatabase = (select oid from pg_database where datname = current_database())) records"
    );
    let bytes = home.database.number(&wal).await;
    println!("{bytes} bytes of WAL for 9,000 unchanged rows");
    // At least the hashes.
    assert!((72_000..900_000).contains(&bytes), "{bytes} bytes");
}
