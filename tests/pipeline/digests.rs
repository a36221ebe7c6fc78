//! Digests: what is known of rows by their keys, from whatever version it comes.

use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use support::{Home, RowBuilder, Script, Scripted, row};

const NUMBER: [(&str, FieldType); 1] = [("number", FieldType::Integer)];

/// Text keys of all kinds, some of which look like UUIDs.
const KEYS: [&str; 9] = [
    "a",
    "Ähre \u{1f33e}",
    "01234567-89ab-cdef-0123-456789abcdef",
    "01234567-89AB-CDEF-0123-456789ABCDEF",
    "0123456789abcdef0123456789abcdef",
    "{01234567-89ab-cdef-0123-456789abcde}",
    "sixteen bytes !!",
    "a key of sixty bytes, as people make them of several columns",
    "7",
];

/// What earlier versions kept, made from what is there now.
const AS_BEFORE: &str = r#"create table kept as select * from forebay.row_digest;
    drop view forebay.row_digest;
    drop table forebay.digest;
    create table forebay.row_digest (pipeline integer not null, key text collate "C" not null,
        digest uuid not null, primary key (pipeline, key));
    insert into forebay.row_digest select * from kept;
    drop table kept;
    delete from forebay.migration where version = 9;"#;

fn item(key: &str, number: i64) -> RowBuilder {
    row(key, &[1.0, 2.0]).set("number", Kind::Integer(number))
}

fn script(keys: &[&str]) -> Script {
    let rows = keys.iter().map(|key| item(key, 1));
    Script::new(2, &NUMBER).chunk(rows.collect::<Vec<_>>())
}

async fn filled(id: &str, keys: &[&str]) -> (Home, Scripted) {
    let home = Home::new().await;
    let table =
        format!("create table items (id {id} primary key, number int, vector vector(2) not null)");
    home.database.execute(&table).await;
    let source = script(keys).serve();
    home.configure(&source.pipeline(&["items"], "missing = \"remove\"\nmissing_limit = \"100%\""));
    let inserted = keys.len() as u64;
    assert_eq!(home.run().done()["rows"]["inserted"], inserted);
    (home, source)
}

#[tokio::test]
async fn digests_of_earlier_versions_are_taken_over() {
    let uuids = [KEYS[2], "fffffff0-0000-4000-8000-000000000000"];
    for (id, keys) in [("text", &KEYS[..]), ("uuid", &uuids)] {
        let (home, source) = filled(id, keys).await;
        let digests = "select key || ' ' || digest from forebay.row_digest order by 1";
        let kept = home.database.texts(digests).await;
        assert_eq!(kept.len(), keys.len());
        let versions = "select id || ' ' || xmin from items order by 1";
        let written = home.database.texts(versions).await;
        home.database.execute(AS_BEFORE).await;
        let report = home.run().done();
        assert_eq!(report["rows"]["unchanged"], keys.len() as u64, "{id}");
        assert_eq!(home.database.texts(versions).await, written);
        assert_eq!(home.database.texts(digests).await, kept);
        // What is no longer there is still found by them.
        source.change(|_| script(&keys[1..]));
        let report = home.run().done();
        assert_eq!(report["missing"]["removed"], 1, "{id}");
        let left = home.database.number("select count(*) from items").await;
        assert_eq!(left, keys.len() as i64 - 1);
    }
}

#[tokio::test]
async fn keys_with_one_id_cost_no_row() {
    // The beginning of the SHA-256 of `abc`.
    let keys = ["abc", "ba7816bf-8f01-cfea-4141-40de5dae2223", "other"];
    let home = Home::new().await;
    let table = "create table items (id text primary key, number int, vector vector(2) not null)";
    home.database.execute(table).await;
    let source = script(&keys).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 3, "{report:#}");
    assert_eq!(home.run().done()["rows"]["unchanged"], 3);
    for changed in keys {
        source.change(|_| {
            let rows = keys.map(|key| item(key, if key == changed { 2 } else { 1 }));
            Script::new(2, &NUMBER).chunk(rows)
        });
        home.run().done();
        let numbers = "select id from items where number = 2";
        assert_eq!(home.database.texts(numbers).await, [changed]);
    }
}
