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

/// `inserted`, `updated`, `unchanged`, `dead_lettered`.
fn fates(home: &Home) -> [u64; 4] {
    let report = home.run().done();
    ["inserted", "updated", "unchanged", "dead_lettered"]
        .map(|fate| report["rows"][fate].as_u64().unwrap())
}

fn numbered(keys: impl IntoIterator<Item = i64>, number: i64) -> Vec<RowBuilder> {
    let items = keys.into_iter().map(|key| item(&key.to_string(), number));
    items.collect()
}

async fn empty(more: &str) -> Home {
    let home = Home::new().await;
    let tables = format!(
        "create table items (id int primary key, number int check (number < 100), vector vector(2) not null);
         create table copies (id int primary key references items, vector vector(2) not null);{more}"
    );
    home.database.execute(&tables).await;
    home
}

async fn items(home: &Home) -> Vec<String> {
    let items = "select i.id || ' ' || number || ' ' || (c.id is not null)
        from items i left join copies c using (id) order by i.id";
    home.database.texts(items).await
}

/// Number of times that the index of the digests was asked, once all rows are counted.
async fn digests_asked(home: &Home, written: u64) -> i64 {
    let counted = format!(
        "select n_tup_ins = {written} from pg_stat_user_tables where relid = 'forebay.digest'::regclass"
    );
    home.database.until(&counted).await;
    let asked =
        "select idx_scan from pg_stat_user_indexes where relid = 'forebay.digest'::regclass";
    home.database.number(asked).await
}

#[tokio::test]
async fn a_first_load_looks_nothing_up() {
    let home = empty("").await;
    let chunks = |number| {
        let script = Script::new(2, &NUMBER).chunk(numbered(1..=300, number));
        script.chunk(numbered(301..=600, number))
    };
    let source = chunks(1).serve();
    home.configure(&source.pipeline(&["items", "copies"], ""));
    assert_eq!(fates(&home), [600, 0, 0, 0]);
    let asked = digests_asked(&home, 600).await;
    assert!(asked <= 2, "{asked}");
    assert_eq!(fates(&home), [0, 0, 600, 0]);
    assert!(digests_asked(&home, 600).await >= 600);
    source.change(|_| chunks(2));
    assert_eq!(fates(&home), [0, 600, 0, 0]);
}

#[tokio::test]
async fn rows_taken_for_new_that_are_there_count_as_what_they_are() {
    // A first load in which keys come again, in later chunks and in one.
    let home = empty("").await;
    let source = Script::new(2, &NUMBER)
        .chunk(numbered(1..=20, 1))
        .chunk(numbered(11..=30, 2))
        .chunk(numbered(11..=30, 2))
        .chunk(
            [
                numbered(40..=45, 1),
                numbered(44..=46, 200),
                numbered(45..=47, 3),
            ]
            .concat(),
        )
        .serve();
    home.configure(&source.pipeline(&["items", "copies"], "writers = 2"));
    // 44 and 45 stay as they were before 200 was refused, and 45 comes once more.
    assert_eq!(fates(&home), [30 + 6 + 2, 10 + 1, 20, 3]);
    let first = items(&home).await;
    let numbers = |keys: std::ops::RangeInclusive<i64>, number| {
        keys.map(move |key| format!("{key} {number} true"))
    };
    let mut expected: Vec<String> = numbers(1..=10, 1).chain(numbers(11..=30, 2)).collect();
    expected.extend(numbers(40..=44, 1).chain(numbers(45..=47, 3)));
    assert_eq!(first, expected);

    // Rows of others, the same and otherwise, in one table or both, beside rows of the pipeline.
    home.database
        .execute(
            "insert into items select k, 1, '[1,2]' from generate_series(50, 59) k;
             insert into copies select k, '[1,2]' from generate_series(50, 54) k;
             delete from copies where id = 47",
        )
        .await;
    source.change(|_| {
        let script = Script::new(2, &NUMBER).chunk(numbered(1..=10, 1));
        script
            .chunk(
                [
                    numbered(47..=51, 1),
                    numbered(52..=59, 2),
                    numbered(60..=61, 1),
                ]
                .concat(),
            )
            .chunk(numbered(62..=70, 1))
    });
    // 48, 49, 60 and on are new; 47 and 52 to 59 differ; the others are as they come.
    assert_eq!(fates(&home), [4 + 9, 1 + 8, 10 + 2, 0]);
    let missing = "select count(*) from items left join copies c using (id) where c.id is null";
    assert_eq!(home.database.number(missing).await, 0);
}

#[tokio::test]
async fn nothing_is_assumed_of_tables_that_others_have_filled() {
    for more in [
        "insert into items select k, 1, '[1,2]' from generate_series(1, 10) k;",
        // A trigger that makes an update of an insert keeps a row out of the table without an error.
        "insert into items select k, 1, '[1,2]' from generate_series(1, 10) k;
         insert into copies select k, '[1,2]' from generate_series(1, 10) k;
         create function upsert() returns trigger language plpgsql as $$ begin
             update items set number = new.number where id = new.id;
             if found then return null; end if; return new; end $$;
         create trigger upsert before insert on items for each row execute function upsert();",
    ] {
        let home = empty(more).await;
        let source = Script::new(2, &NUMBER)
            .chunk(numbered(6..=15, 1))
            .chunk(numbered(16..=20, 1))
            .serve();
        home.configure(&source.pipeline(&["items", "copies"], ""));
        let report = home.run().done();
        assert_eq!(report["rows"]["inserted"], 10, "{report:#}");
        assert_eq!(report["rows"]["dead_lettered"], 0, "{report:#}");
        assert_eq!(fates(&home), [0, 0, 15, 0]);
    }
}
