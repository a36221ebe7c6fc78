//! Tombstones: rows that the source marks deleted are removed, in the order of the rows.

use forebay::demo::api_server;
use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use serde_json::{Value, json};
use support::{Home, RowBuilder, Script, anywhere, row, rows, tombstone};

const NUMBER: [(&str, FieldType); 1] = [("number", FieldType::Integer)];
const ITEMS: &str =
    "create table items (id int primary key, number int not null, vector vector(2) not null);";

fn item(key: i64, number: i64) -> RowBuilder {
    row(&key.to_string(), &[1.0, 2.0]).set("number", Kind::Integer(number))
}

/// `received`, `inserted`, `updated`, `unchanged`, `dropped`, `dead_lettered`, `deleted`.
fn counts(report: &Value) -> [u64; 7] {
    [
        "received",
        "inserted",
        "updated",
        "unchanged",
        "dropped",
        "dead_lettered",
        "deleted",
    ]
    .map(|fate| report["rows"][fate].as_u64().unwrap())
}

async fn ids(home: &Home, table: &str) -> String {
    let ids = format!("select coalesce(string_agg(id::text, ' ' order by id), '') from {table}");
    home.database.texts(&ids).await.concat()
}

#[tokio::test]
async fn keys_that_come_twice_in_a_chunk_end_as_they_would_in_two() {
    let changes = || {
        vec![
            // Written and deleted.
            item(11, 11),
            tombstone("11"),
            // Deleted and written.
            tombstone("1"),
            item(1, 100),
            // Changed, deleted, and written as it was.
            item(2, 200),
            tombstone("2"),
            item(2, 2),
            // Deleted twice, and once without being there.
            tombstone("3"),
            tombstone("3"),
            tombstone("99"),
            item(4, 400),
        ]
    };
    let mut ends = Vec::new();
    for width in [1, 4, 11] {
        let home = Home::new().await;
        home.database.execute(ITEMS).await;
        let mut script = Script::new(2, &NUMBER).chunk(rows(1..=5));
        for chunk in changes().chunks(width) {
            script = script.chunk(chunk.to_vec());
        }
        let source = script.serve();
        home.configure(&source.pipeline(&["items"], ""));
        let report = home.run().done();
        let digests = "select key || ' ' || digest from forebay.row_digest order by 1";
        let items = "select (to_jsonb(i) - 'vector')::text from items i order by 1";
        ends.push((
            home.database.texts(items).await,
            home.database.texts(digests).await,
            counts(&report),
        ));
    }
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0], ends[2]);
    let (items, digests, counts) = &ends[0];
    assert_eq!((items.len(), digests.len()), (4, 4));
    assert_eq!(items[0], r#"{"id": 1, "number": 100}"#);
    // Inserted: 1 to 5, 11, 1 and 2 again. Updated: 2, 4, and the tombstones of 11, 1, 2 and 3.
    assert_eq!(*counts, [16, 8, 6, 2, 0, 0, 4]);
}

#[tokio::test]
async fn a_row_goes_from_all_tables_and_its_embedding_first() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id text primary key, number int not null);
             create table vectors (id text primary key references items, vector vector(2) not null);",
        )
        .await;
    let source = Script::new(2, &NUMBER)
        .chunk((1..=300).map(|key| item(key, key)))
        .serve();
    home.configure(&source.pipeline(&["vectors", "items"], ""));
    home.run().done();
    source.change(|_| {
        let gone = (1..=299).map(|key| tombstone(&key.to_string()));
        Script::new(2, &NUMBER).chunk(gone).chunk([item(300, 300)])
    });
    let report = home.run().done();
    assert_eq!(counts(&report), [300, 0, 299, 1, 0, 0, 299]);
    for table in ["items", "vectors"] {
        assert_eq!(ids(&home, table).await, "300", "{table}");
    }
    let digests = "select string_agg(key, ' ') from forebay.row_digest";
    assert_eq!(home.database.texts(digests).await, ["300"]);
    // Not there any more: nothing is done.
    assert_eq!(counts(&home.run().done()), [300, 0, 0, 300, 0, 0, 0]);
}

#[tokio::test]
async fn a_tombstone_that_the_database_refuses_costs_no_other_row() {
    refused("").await;
    // Speaks up at the commit.
    refused("deferrable initially deferred").await;
}

/// Rows 5 and 8 are referred to by a table that the pipeline does not know.
async fn refused(constraint: &str) {
    let home = Home::new().await;
    home.database
        .execute(&format!(
            "{ITEMS}
             create table orders (item int references items {constraint});"
        ))
        .await;
    let source = Script::new(2, &NUMBER)
        .changes()
        .chunk(rows(1..=10))
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    home.run().done();
    home.database
        .execute("insert into orders values (5), (8)")
        .await;
    source.change(|script| {
        let gone = (2..=9).map(|key| tombstone(&key.to_string()));
        script.chunk(gone.chain([item(10, 11), item(11, 11)]))
    });
    let report = home.run().done();
    assert_eq!(counts(&report), [10, 1, 7, 0, 0, 2, 6], "{report:#}");
    assert_eq!(ids(&home, "items").await, "1 5 8 10 11");
    assert_eq!(
        report["codes"],
        json!([{ "fate": "dead_lettered", "stage": "write", "code": "SQL_23503", "rows": 2 }])
    );
    let shown = home.start_command(&["dlq", "show", "1"], "").wait().stdout;
    assert!(shown.contains("\"deleted\": true"), "{shown}");
    // Their digests are kept: as they were they are unchanged.
    source.change(|script| script.chunk(rows([5, 8])));
    assert_eq!(counts(&home.run().done()), [2, 0, 0, 2, 0, 0, 0]);
    home.database.execute("delete from orders").await;
    source.change(|script| script.chunk([tombstone("5"), tombstone("8")]));
    assert_eq!(counts(&home.run().done()), [2, 0, 2, 0, 0, 0, 2]);
}

#[tokio::test]
async fn a_tombstone_is_tried_again_where_the_policy_says_so() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, company_name text, vector vector(2) not null);
             create sequence tries;
             create function refuse() returns trigger language plpgsql as $$ begin
                 if nextval('tries') <= 2 then raise exception 'retry'; end if;
                 return old;
             end $$;
             create trigger refuse before delete on items for each row execute function refuse();",
        )
        .await;
    let source = Script::new(2, &[("company_name", FieldType::Text)])
        .changes()
        .chunk([row("1", &[1.0, 1.0]).text("company_name", "any")])
        .serve();
    let plugins = "plugins = [\"judge\"]";
    let pipeline = source.pipeline_with(&["items"], plugins, 300, "");
    home.configure_with(&home.only("judge"), "", &pipeline);
    home.run().done();
    source.change(|script| script.chunk([tombstone("1")]));
    assert_eq!(counts(&home.run().done()), [1, 0, 1, 0, 0, 0, 1]);
    // At once, alone, and at the policy's word.
    assert_eq!(
        home.database.number("select last_value from tries").await,
        3
    );
}

#[tokio::test]
async fn rows_that_refer_to_each_other_go_together() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, number int references items, vector vector(2) not null);
             create table orders (item int references items);",
        )
        .await;
    // Each row refers to the one before it.
    let make = |key: i64| match key {
        1 => item(key, key).without("number"),
        _ => item(key, key - 1),
    };
    let source = Script::new(2, &NUMBER)
        .changes()
        .chunk((1..=100).map(make))
        .serve();
    home.configure(&source.pipeline(&["items"], "dead_letter_limit = \"100%\""));
    home.run().done();
    home.database
        .execute("insert into orders values (50)")
        .await;
    // Row 50 stays, and with it those that it refers to.
    let gone = || (1..=100).map(|key| tombstone(&key.to_string()));
    source.change(|script| script.chunk(gone()));
    let report = home.run().done();
    assert_eq!(report["rows"]["dead_lettered"], 50, "{report:#}");
    assert_eq!(report["rows"]["deleted"], 50);
    home.database.execute("delete from orders").await;
    source.change(|script| script.chunk(gone()));
    assert_eq!(counts(&home.run().done()), [100, 0, 50, 50, 0, 0, 50]);
}

#[tokio::test]
async fn what_a_deleted_row_took_along_is_written_again() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, number int unique,
                 vector vector(2) not null, parent int references items on delete cascade);",
        )
        .await;
    let fields = [NUMBER[0], ("parent", FieldType::Integer)];
    let child = |parent| item(2, 2).set("parent", Kind::Integer(parent));
    let source = Script::new(2, &fields)
        .changes()
        .chunk([item(1, 1), child(1), item(3, 3)])
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    home.run().done();
    // Row 2 is taken along, and comes again; row 4 gets the unique value of row 1.
    source.change(|script| script.chunk([tombstone("1"), item(4, 1), child(3)]));
    assert_eq!(counts(&home.run().done()), [3, 2, 1, 0, 0, 0, 1]);
    assert_eq!(ids(&home, "items").await, "2 3 4");
}

#[tokio::test]
async fn plugins_do_not_see_tombstones_and_the_api_server_is_told() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = Script::new(2, &NUMBER)
        .changes()
        .chunk(rows(1..=20))
        .serve();
    let api = api_server::start(anywhere()).unwrap();
    let more = format!(
        "notify = {{ grpc = \"{}\", target = \"items\" }}",
        api.url()
    );
    let plugins = "plugins = [\"faulty\"]\nsettings = { faulty = { trap_on = \"7\" } }";
    home.configure_with(
        &home.only("faulty"),
        "",
        &source.pipeline_with(&["items"], plugins, 300, &more),
    );
    assert_eq!(counts(&home.run().done()), [20, 19, 0, 0, 0, 1, 0]);
    source.change(|script| {
        let gone = (6..=8).map(|key| tombstone(&key.to_string()));
        script.chunk(gone)
    });
    let report = home.run().done();
    // The plugin would trap on row 7, which is not in the table.
    assert_eq!(counts(&report), [3, 0, 2, 1, 0, 0, 2]);
    assert_eq!(report["plugins"][0]["rows"], 0);
    let told: Vec<u64> = api
        .received()
        .iter()
        .map(|call| call.changed_rows)
        .collect();
    assert_eq!(told, [19, 2]);
    source.change(|script| script.chunk([tombstone("6")]));
    assert_eq!(home.run().done()["notify"]["status"], "nothing_changed");
}

#[tokio::test]
async fn a_host_that_is_killed_deletes_once() {
    for point in ["write.rows", "commit.before", "commit.after"] {
        let home = Home::new().await;
        home.database.execute(ITEMS).await;
        let source = Script::new(2, &NUMBER)
            .changes()
            .chunk(rows(1..=20))
            .serve();
        home.configure(&source.pipeline(&["items"], ""));
        home.run().done();
        source.change(|script| {
            script
                .chunk([tombstone("1"), item(2, 200), tombstone("3")])
                .chunk([item(1, 1), tombstone("2")])
        });
        let killed = home.start(&format!("{point}=return")).wait();
        assert_eq!(killed.status.code(), None, "{point}: {}", killed.log);
        let report = home.run().done();
        assert_eq!(counts(&report), [5, 1, 4, 0, 0, 0, 3], "{point}");
        let expected = (1..=20).filter(|id| ![2, 3].contains(id));
        let expected: Vec<String> = expected.map(|id| id.to_string()).collect();
        assert_eq!(ids(&home, "items").await, expected.join(" "), "{point}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_the_rows_alone_finds_no_row() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (number int, id int, vector vector(2) not null, primary key (number, id));
             insert into items values (2, 7, '[1, 1]')",
        )
        .await;
    let source = Script::new(2, &NUMBER)
        .chunk([item(7, 1), item(8, 1)])
        .chunk([tombstone("7"), item(8, 1)])
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert_eq!(counts(&home.run().done()), [4, 2, 0, 1, 0, 1, 0]);
    let letter = "select key || ' ' || stage || ' ' || code from forebay.dead_letter";
    assert_eq!(home.database.texts(letter).await, ["7 write DELETE_KEY"]);
    assert_eq!(ids(&home, "items").await, "7 7 8");

    home.configure(&source.pipeline(&["items"], "missing = \"remove\""));
    let refused = home.run();
    refused.said("items: its key is not the row's key alone, which identifies missing rows");
    refused.exit(2);
}
