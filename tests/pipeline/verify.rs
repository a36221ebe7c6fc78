//! `forebay verify`: the tables are compared with the source, and repaired.

use forebay::demo::api_server;
use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use serde_json::Value;
use support::{Home, RowBuilder, Script, anywhere, row, rows, tombstone};

const NUMBER: [(&str, FieldType); 1] = [("number", FieldType::Integer)];
const ITEMS: &str =
    "create table items (id int primary key, number int not null check (number > 0),
    vector vector(2) not null);";

/// Verifies, and returns the result of a command that ended with this exit code.
#[track_caller]
fn verify(home: &Home, more: &[&str], code: i32) -> Value {
    let arguments = [&["verify", "rows", "--json"], more].concat();
    let ended = home.start_command(&arguments, "").wait();
    let json = serde_json::from_str(&ended.stdout).unwrap_or_default();
    ended.exit(code);
    json
}

/// `compared`, `equal`, `missing`, `differing`, `failed`.
fn counts(verified: &Value) -> [u64; 5] {
    ["compared", "equal", "missing", "differing", "failed"].map(|it| verified[it].as_u64().unwrap())
}

/// `table.column rows` for each finding, and `table rows` for rows that a table has not got.
fn findings(verified: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for table in verified["tables"].as_array().unwrap() {
        let name = table["table"].as_str().unwrap();
        if table["missing"] != 0 {
            found.push(format!("{name} {}", table["missing"]));
        }
        for column in table["columns"].as_array().unwrap() {
            let column_name = column["column"].as_str().unwrap();
            found.push(format!("{name}.{column_name} {}", column["rows"]));
        }
    }
    found
}

async fn position(home: &Home) -> Vec<String> {
    let checkpoint = "select partition || ':' || position from forebay.checkpoint order by 1";
    home.database.texts(checkpoint).await
}

#[tokio::test]
async fn d5_what_somebody_else_changed_is_counted_and_repaired() {
    let home = Home::new().await;
    home.database
        .execute(
            "create extension citext;
             create domain score as numeric(6, 1) check (value < 1000);
             create type mood as enum ('sad', 'ok');
             create table docs (id text primary key, price numeric(8, 2), score score, name citext,
                 code char(5), short varchar(4), at timestamptz(0), body json, extra jsonb, ratio real,
                 span interval, place point, tags text[], mood mood, amount money,
                 note text default 'mine', size int generated always as (length(code)) stored,
                 updated_at timestamptz not null default now());
             create table vectors (id text primary key references docs, vector halfvec(2));
             create table lines (doc text references docs, position int, line varchar(6),
                 primary key (doc, position));
             create table skills (doc text references docs, skill text, primary key (doc, skill));",
        )
        .await;
    let fields = [
        ("price", FieldType::Real),
        ("score", FieldType::Text),
        ("name", FieldType::Text),
        ("code", FieldType::Text),
        ("short", FieldType::Text),
        ("at", FieldType::Timestamp),
        ("body", FieldType::Json),
        ("extra", FieldType::Json),
        ("ratio", FieldType::Real),
        ("span", FieldType::Text),
        ("place", FieldType::Text),
        ("tags", FieldType::Texts),
        ("mood", FieldType::Text),
        ("amount", FieldType::Real),
        ("line", FieldType::Texts),
        ("skill", FieldType::Texts),
    ];
    let doc = |number: i32| {
        let at = minutes(number);
        row(&format!("doc-{number}"), &[0.1, number as f32 / 3.0])
            .set("price", Kind::Real(f64::from(number) + 0.12345))
            .text("score", "12.3456")
            .text("name", "Name")
            .text("code", "ab")
            .text("short", "abc    ")
            .set("at", at)
            .json("body", "{ \"a\":  1, \"a\": 2 }")
            .json("extra", "{\"b\": 1.0, \"a\": 2}")
            .set("ratio", Kind::Real(0.1))
            .text("span", "36 hours")
            .text("place", "(1.50, 2)")
            .texts("tags", ["x", "y\"z"])
            .text("mood", "ok")
            .set("amount", Kind::Real(1.25))
            .texts("line", ["one", "two   "])
            .texts("skill", ["rust", "sql", "rust"])
    };
    let docs: Vec<RowBuilder> = (1..=40).map(doc).collect();
    let chunks = docs.chunks(15).map(<[_]>::to_vec);
    let source = chunks.fold(Script::new(2, &fields), Script::chunk).serve();
    home.configure(&source.pipeline(&["docs", "vectors", "lines", "skills"], ""));
    assert_eq!(home.run().done()["rows"]["inserted"], 40);
    let verified = verify(&home, &[], 0);
    assert_eq!(counts(&verified), [40, 40, 0, 0, 0], "{verified:#}");
    assert_eq!(verified["extra"]["rows"], 0);

    // What is equal for the server, or not ours, is no difference.
    home.database
        .execute(
            "update docs set extra = '{\"a\": 2, \"b\": 1.00}', note = 'theirs', updated_at = now();
             update docs set name = 'NAME' where id = 'doc-10';
             update docs set price = 0 where id in ('doc-1', 'doc-2');
             update docs set span = '1 day', mood = 'sad', place = '(2,2)' where id = 'doc-2';
             update vectors set vector = '[9,9]' where id = 'doc-3';
             delete from vectors where id = 'doc-4';
             delete from lines where doc = 'doc-5' and position = 2;
             update lines set line = 'three' where doc = 'doc-6' and position = 1;
             insert into skills values ('doc-7', 'c');
             delete from skills where doc = 'doc-8' and skill = 'sql';
             delete from skills where doc = 'doc-9'; delete from lines where doc = 'doc-9';
             delete from vectors where id = 'doc-9'; delete from docs where id = 'doc-9';",
        )
        .await;
    let before = position(&home).await;
    let verified = verify(&home, &[], 5);
    assert_eq!(counts(&verified), [40, 30, 1, 9, 0], "{verified:#}");
    assert_eq!(
        findings(&verified),
        [
            "docs 1",
            "docs.price 2",
            "docs.name 1",
            "docs.span 1",
            "docs.place 1",
            "docs.mood 1",
            "vectors 2",
            "vectors.vector 1",
            "lines.position 2",
            "lines.line 1",
            "skills.skill 3",
        ]
    );
    let column = &verified["tables"][0]["columns"][0];
    assert_eq!(column["samples"], serde_json::json!(["doc-1", "doc-2"]));
    assert_eq!(position(&home).await, before);
    let runs = "select count(*) from forebay.run";
    assert_eq!(home.database.number(runs).await, 1);

    let repaired = verify(&home, &["--repair"], 0);
    assert_eq!(repaired["repaired"]["received"], 10, "{repaired:#}");
    assert_eq!(repaired["repaired"]["inserted"], 1);
    assert_eq!(repaired["repaired"]["updated"], 9);
    let verified = verify(&home, &[], 0);
    assert_eq!(counts(&verified), [40, 40, 0, 0, 0], "{verified:#}");
    // What is right already was left alone.
    let theirs = "select count(*) from docs where note = 'theirs'";
    assert_eq!(home.database.number(theirs).await, 39);
    // A snapshot begins at its start again, and what was repaired is known.
    assert_eq!(home.run().done()["rows"]["unchanged"], 40);
}

/// 2024-01-01 and so many minutes and a half second.
fn minutes(minutes: i32) -> Kind {
    Kind::Timestamp(prost_types::Timestamp {
        seconds: 1_704_067_200 + i64::from(minutes) * 60,
        nanos: 499_999_000,
    })
}

#[tokio::test]
async fn d5_rows_without_a_place_in_the_source_are_counted() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = Script::new(2, &NUMBER).chunk(rows(1..=100)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    home.run().done();
    // Somebody else's row is not ours to judge; rows that are gone already are no surplus.
    home.database
        .execute("insert into items values (1000, 1, '[1,1]'); delete from items where id = 99")
        .await;
    source.change(|_| {
        // Refused by the table, and known as such after the run.
        let refused = row("1", &[1.0, 1.0]).set("number", Kind::Integer(-1));
        // Cannot be decoded.
        let broken = row("2", &[1.0, 1.0]).text("number", "two");
        Script::new(2, &NUMBER).chunk([refused, broken].into_iter().chain(rows(3..=95)))
    });
    home.run().exit(0);
    let verified = verify(&home, &[], 5);
    assert_eq!(counts(&verified), [93, 93, 0, 0, 2], "{verified:#}");
    // 96, 97, 98 and 100.
    assert_eq!(verified["extra"]["rows"], 4, "{verified:#}");
    assert_eq!(verified["extra"]["dropped"], 0);
    let ended = home.start_command(&["verify", "rows"], "").wait();
    for text in [
        "rows: the tables differ from the source",
        "extra 4",
        "not compared 2",
    ] {
        assert!(ended.stdout.contains(text), "{}", ended.stdout);
    }
    ended.exit(5);
}

#[tokio::test]
async fn d5_a_feed_of_changes_is_repaired_where_it_is() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let number =
        |key: &str, number: i64| row(key, &[1.0, 1.0]).set("number", Kind::Integer(number));
    let script = || Script::new(2, &NUMBER).changes();
    let source = script()
        .chunk([
            number("1", 1),
            number("2", 1),
            number("3", 1),
            number("1", 2),
        ])
        .chunk([tombstone("2"), number("3", 2), number("4", 1)])
        .chunk([number("4", 2), number("5", 1)])
        .serve();
    let api = api_server::start(anywhere()).unwrap();
    let notify = format!(
        "notify = {{ grpc = \"{}\", target = \"items\" }}",
        api.url()
    );
    home.configure(&source.pipeline(&["items"], &notify));
    home.run().done();
    let verified = verify(&home, &[], 0);
    assert_eq!(counts(&verified), [4, 4, 0, 0, 0], "{verified:#}");
    assert_eq!(verified["extra"], Value::Null);

    home.database
        .execute("update items set number = 1 where id in (1, 3); delete from items where id = 5")
        .await;
    let before = position(&home).await;
    assert_eq!(counts(&verify(&home, &[], 5)), [4, 1, 1, 2, 0]);
    let repaired = verify(&home, &["--repair"], 0);
    assert_eq!(repaired["repaired"]["received"], 3, "{repaired:#}");
    assert_eq!(position(&home).await, before);
    let items = "select string_agg(id || '=' || number, ' ' order by id) from items";
    assert_eq!(home.database.texts(items).await, ["1=2 3=2 4=2 5=1"]);
    let told: Vec<u64> = api
        .received()
        .iter()
        .map(|call| call.changed_rows)
        .collect();
    assert_eq!(told.last(), Some(&3));
    // The feed goes on where it was.
    source.change(|script| script.chunk([number("6", 1)]));
    assert_eq!(home.run().done()["rows"]["received"], 1);
    verify(&home, &[], 0);
}

#[tokio::test]
async fn d5_a_repair_that_is_cut_off_is_brought_to_its_end_by_the_next_run() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let chunks = (0..4).map(|chunk| rows(chunk * 50 + 1..=chunk * 50 + 50));
    let source = chunks.fold(Script::new(2, &NUMBER), Script::chunk).serve();
    let more = "missing = \"remove\"\nwriters = 1";
    home.configure(&source.pipeline_with(&["items"], "plugins = []", 50, more));
    home.run().done();
    home.database
        .execute("update items set number = 7 where id % 10 = 0")
        .await;
    let arguments = ["verify", "rows", "--repair"];
    let killed = home
        .start_command(&arguments, "commit.before=1*off->return")
        .wait();
    assert_eq!(killed.status.code(), None, "{}", killed.log);
    // Another repair would be in the way of the run that is not finished.
    let refused = home.start_command(&arguments, "").wait();
    refused
        .said("is not finished (running)")
        .said("forebay run rows");
    refused.exit(2);
    let report = home.run().done();
    assert_eq!(report["missing"]["removed"], 0, "{report:#}");
    verify(&home, &["--repair"], 0);
    assert_eq!(counts(&verify(&home, &[], 0)), [200, 200, 0, 0, 0]);
}
