//! Rows that are right only together: a unique value that moves from one row to another, a row that
//! refers to a later one, a row that comes under another key.

use std::os::unix::process::ExitStatusExt;

use forebay::demo::api_server;
use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Home, RowBuilder, Script, anywhere, row, tombstone};

const FIELDS: [(&str, FieldType); 2] = [("slug", FieldType::Text), ("parent", FieldType::Text)];
const DOCS: &str = "create table docs (id text primary key, slug text unique,
    parent text references docs, vector vector(2) not null);";
const REMOVE: &str = "missing = \"remove\"\nmissing_limit = \"100%\"";

fn doc(key: &str, slug: &str) -> RowBuilder {
    row(key, &[1.0, 1.0]).text("slug", slug)
}

/// A document that refers to another one, with a slug of its own.
fn child(key: &str, parent: &str) -> RowBuilder {
    doc(key, key).text("parent", parent)
}

fn script(rows: impl IntoIterator<Item = RowBuilder>) -> Script {
    Script::new(2, &FIELDS).chunk(rows)
}

/// Inserted, updated, unchanged, dead-lettered, resolved.
#[track_caller]
fn counts(report: &Value) -> [u64; 5] {
    let rows = &report["rows"];
    let count = |name: &str| rows[name].as_u64().unwrap();
    let written = count("inserted") + count("updated") + count("unchanged");
    let all = written + count("dropped") + count("dead_lettered");
    assert_eq!(count("received"), all, "{report:#}");
    let [inserted, updated, unchanged, letters] =
        ["inserted", "updated", "unchanged", "dead_lettered"].map(count);
    let resolved = report["resolved"].as_u64().unwrap();
    [inserted, updated, unchanged, letters, resolved]
}

/// `key=slug` of every document, in the order of the keys.
async fn slugs(home: &Home) -> String {
    let slugs = "select coalesce(string_agg(id || '=' || coalesce(slug, '-'), ' ' order by id), '') from docs";
    home.database.texts(slugs).await.concat()
}

/// `key status` of every dead letter.
async fn letters(home: &Home) -> Vec<String> {
    let letters = "select key || ' ' || status from forebay.dead_letter order by id";
    home.database.texts(letters).await
}

#[tokio::test]
async fn d2_a_row_that_comes_under_another_key_is_there_under_that_one() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let others = || (0..20).map(|number| doc(&format!("x{number:02}"), &format!("s{number}")));
    let source = script([doc("a", "u1")].into_iter().chain(others())).serve();
    let api = api_server::start(anywhere()).unwrap();
    let notify = format!("notify = {{ grpc = \"{}\", target = \"docs\" }}", api.url());
    home.configure(&source.pipeline(&["docs"], &format!("{notify}\n{REMOVE}")));
    home.run().done();
    source.change(|_| script([doc("a2", "u1")].into_iter().chain(others())));
    let report = home.run().done();
    assert_eq!(counts(&report), [1, 0, 20, 0, 0], "{report:#}");
    assert_eq!(report["missing"]["removed"], 1, "{report:#}");
    assert_eq!(report["codes"], serde_json::json!([]), "{report:#}");
    assert!(slugs(&home).await.starts_with("a2=u1 x00="));
    assert_eq!(letters(&home).await, ["a2 resolved"]);
    let told: Vec<u64> = api
        .received()
        .iter()
        .map(|call| call.changed_rows)
        .collect();
    assert_eq!(told, [21, 2]);
    assert_eq!(counts(&home.run().done()), [0, 0, 21, 0, 0]);

    // Where the old row has to stay, the new one waits, in every run, without doing harm.
    home.database
        .execute("create table orders (doc text references docs); insert into orders values ('a2')")
        .await;
    source.change(|_| script([doc("a3", "u1")].into_iter().chain(others())));
    for _ in 0..2 {
        let report = home.run().done();
        assert_eq!(counts(&report), [0, 0, 20, 1, 0], "{report:#}");
        assert_eq!(report["codes"][0]["rows"], 1, "{report:#}");
        assert!(slugs(&home).await.starts_with("a2=u1 x00="));
        assert_eq!(letters(&home).await, ["a2 resolved", "a3 open"]);
    }
    home.database.execute("delete from orders").await;
    assert_eq!(counts(&home.run().done()), [1, 0, 20, 0, 0]);
    assert!(slugs(&home).await.starts_with("a3=u1 x00="));
    assert_eq!(letters(&home).await, ["a2 resolved", "a3 resolved"]);
}

#[tokio::test]
async fn d3_a_row_that_refers_to_a_later_one_is_there_in_the_end() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let rows = (0..150).map(|number| {
        let key = format!("d{number:03}");
        match number {
            10 => child(&key, "d140"),
            _ => doc(&key, &key),
        }
    });
    let rows: Vec<RowBuilder> = rows.collect();
    let chunks = rows.chunks(50).map(<[_]>::to_vec);
    let source = chunks
        .fold(Script::new(2, &FIELDS).changes(), Script::chunk)
        .serve();
    home.configure(&source.pipeline_with(
        &["docs"],
        "plugins = []",
        50,
        "writers = 1\nmax_writers = 1",
    ));
    let report = home.run().done();
    assert_eq!(counts(&report), [150, 0, 0, 0, 0], "{report:#}");
    assert_eq!(letters(&home).await, ["d010 resolved"]);

    // A reference that comes in a later run, and a chain of them.
    source.change(|script| script.chunk([child("e1", "e2"), child("e2", "e3"), doc("f", "f")]));
    let report = home.run().done();
    assert_eq!(counts(&report), [1, 0, 0, 2, 0], "{report:#}");
    source.change(|script| script.chunk([doc("g", "g")]));
    assert_eq!(counts(&home.run().done()), [1, 0, 0, 0, 0]);
    source.change(|script| script.chunk([doc("e3", "e3")]));
    let ended = home.run();
    assert!(
        ended
            .stdout
            .contains("resolved 2 dead letters of earlier runs"),
        "{}",
        ended.stdout
    );
    assert_eq!(counts(&ended.done()), [1, 0, 0, 0, 2]);
    assert_eq!(
        letters(&home).await,
        ["d010 resolved", "e1 resolved", "e2 resolved"]
    );
    // Nothing came, but somebody else has brought what was missing.
    source.change(|script| script.chunk([child("h", "theirs")]));
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 1, 0]);
    home.database
        .execute("insert into docs values ('theirs', 'theirs', null, '[1,1]')")
        .await;
    let ended = home.run();
    assert!(!ended.stdout.contains("nothing"), "{}", ended.stdout);
    assert_eq!(counts(&ended.done()), [0, 0, 0, 0, 1]);
    // A tombstone waits for the rows that refer to its own.
    source.change(|script| script.chunk([tombstone("e3")]));
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 1, 0]);
    source.change(|script| script.chunk([tombstone("e2"), tombstone("e1")]));
    let report = home.run().done();
    assert_eq!(report["resolved"], 1, "{report:#}");
    let gone = "select count(*) from docs where id in ('e1', 'e2', 'e3')";
    assert_eq!(home.database.number(gone).await, 0);
}

#[tokio::test]
async fn d3_rows_that_wait_for_each_other_across_chunks_all_come_in() {
    for backwards in [false, true] {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        // Row n refers to the row that comes a chunk later, or has the slug that one gives up.
        let mut order: Vec<usize> = (0..60).collect();
        if backwards {
            order.reverse();
        }
        let key = |number: usize| format!("d{number:02}");
        let first = order.iter().map(|number| doc(&key(*number), &key(*number)));
        let first: Vec<RowBuilder> = first.collect();
        let source = first
            .chunks(10)
            .map(<[_]>::to_vec)
            .fold(Script::new(2, &FIELDS).changes(), Script::chunk)
            .serve();
        let more = "writers = 1\nmax_writers = 1";
        home.configure(&source.pipeline_with(&["docs"], "plugins = []", 10, more));
        home.run().done();
        let moved = order
            .iter()
            .map(|number| doc(&key(*number), &key(number + 1)));
        let moved: Vec<RowBuilder> = moved.collect();
        source.change(|script| {
            moved
                .chunks(10)
                .map(<[_]>::to_vec)
                .fold(script, Script::chunk)
        });
        let report = home.run().done();
        assert_eq!(counts(&report), [0, 60, 0, 0, 0], "{report:#}");
        let slugs = slugs(&home).await;
        assert!(
            slugs.starts_with("d00=d01 d01=d02 ") && slugs.ends_with(" d59=d60"),
            "{slugs}"
        );
    }
}

#[tokio::test]
async fn d3_an_older_row_never_overwrites_a_newer_one() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let source = Script::new(2, &FIELDS)
        .changes()
        .chunk([
            doc("a", "a"),
            doc("b", "b"),
            doc("c", "c"),
            doc("d", "d"),
            doc("taken", "x"),
        ])
        .serve();
    home.configure(&source.pipeline(&["docs"], ""));
    home.run().done();
    let free = async |slug: &str| {
        let free = format!(
            "update docs set slug = null where id = 'taken'; update docs set slug = '{slug}' where id = 'taken'"
        );
        home.database.execute(&free).await;
    };
    // Each asks for a value that is taken, and then comes again: changed, unchanged, deleted, and
    // failed for another reason.
    source.change(|script| script.chunk(["a", "b", "c", "d"].map(|key| doc(key, "x"))));
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 4, 0]);
    source.change(|script| {
        let other = doc("d", "d").set("slug", Kind::Integer(1));
        script.chunk([doc("a", "a2"), doc("b", "b"), tombstone("c"), other])
    });
    assert_eq!(counts(&home.run().done()), [0, 2, 1, 1, 0]);
    let superseded = [
        "a superseded",
        "b superseded",
        "c superseded",
        "d superseded",
        "d open",
    ];
    assert_eq!(letters(&home).await, superseded);
    free("y").await;
    source.change(|script| script.chunk([doc("e", "e")]));
    assert_eq!(counts(&home.run().done()), [1, 0, 0, 0, 0]);
    assert_eq!(slugs(&home).await, "a=a2 b=b d=d e=e taken=y");

    // Within one chunk, and before the value is free again.
    source.change(|script| script.chunk([doc("e", "y"), doc("e", "e2")]));
    assert_eq!(counts(&home.run().done()), [0, 1, 0, 1, 0]);
    source.change(|script| script.chunk([doc("e", "y")]));
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 1, 0]);
    assert_eq!(letters(&home).await.last().unwrap(), "e open");
    free("z").await;
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 0, 1]);
    assert_eq!(slugs(&home).await, "a=a2 b=b d=d e=y taken=z");
    // Written otherwise: nothing is tried twice.
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn d3_a_row_that_is_kept_out_twice_in_a_chunk_still_waits() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let source = Script::new(2, &FIELDS)
        .changes()
        .chunk([doc("taken", "x")])
        .serve();
    home.configure(&source.pipeline(&["docs"], ""));
    home.run().done();
    let later = doc("b", "x").text("parent", "taken");
    source.change(|script| script.chunk([doc("b", "x"), later]));
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 2, 0]);
    assert_eq!(letters(&home).await, ["b open"]);
    home.database
        .execute("update docs set slug = null where id = 'taken'")
        .await;
    assert_eq!(counts(&home.run().done()), [0, 0, 0, 0, 1]);
    let last = home
        .database
        .number("select count(*) from docs where id = 'b' and parent = 'taken'");
    assert_eq!(last.await, 1);
}

#[tokio::test]
async fn d3_in_a_snapshot_only_rows_that_it_has_are_tried_again() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let source = script([child("a", "b"), doc("c", "c")]).serve();
    home.configure(&source.pipeline(&["docs"], ""));
    assert_eq!(counts(&home.run().done()), [1, 0, 0, 1, 0]);
    source.change(|_| script([doc("b", "b"), doc("c", "c")]));
    assert_eq!(counts(&home.run().done()), [1, 0, 1, 0, 0]);
    assert_eq!(slugs(&home).await, "b=b c=c");
    assert_eq!(letters(&home).await, ["a open"]);
}

#[tokio::test]
async fn d3_a_host_that_is_killed_tries_again_what_it_has_not_written() {
    // The first commits are those of the chunks.
    let points = [
        ("again.before", 1),
        ("write.rows", 4),
        ("commit.before", 4),
        ("commit.after", 4),
        ("again.committed", 1),
        ("again.done", 1),
        ("finish.before", 1),
    ];
    for (point, passage) in points {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        let source = Script::new(2, &FIELDS)
            .changes()
            .chunk([child("a", "b"), doc("x", "x")])
            .chunk([child("b", "c"), doc("y", "y")])
            .chunk([doc("c", "c"), doc("z", "z")])
            .serve();
        let more = "writers = 1\nmax_writers = 1";
        home.configure(&source.pipeline_with(&["docs"], "plugins = []", 2, more));
        let faults = format!("{point}={}*off->return", passage - 1);
        let ended = home.start(&faults).wait();
        let killed = ended.status.signal() == Some(Signal::SIGKILL as i32);
        assert!(killed, "{point} {passage}: {}\n{}", ended.status, ended.log);
        let report = home.run().done();
        assert_eq!(
            counts(&report),
            [6, 0, 0, 0, 0],
            "{point} {passage}: {report:#}"
        );
        assert_eq!(
            letters(&home).await,
            ["a resolved", "b resolved"],
            "{point}"
        );
        assert_eq!(slugs(&home).await, "a=a b=b c=c x=x y=y z=z");
    }
}

#[tokio::test]
async fn d4_a_row_that_a_plugin_drops_now_is_missing_and_one_that_it_rejects_is_not() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let keys = ["a", "b", "c", "d"];
    let source = script(keys.map(|key| doc(key, key))).serve();
    let faulty = home.only("faulty");
    let configure = |faults: &str, more: &str| {
        let plugins = format!("plugins = [\"faulty\"]\nsettings = {{ faulty = {{ {faults} }} }}");
        let pipeline = source.pipeline_with(&["docs"], &plugins, 300, more);
        home.configure_with(&faulty, "", &pipeline);
    };
    configure("", "");
    assert_eq!(home.run().done()["dropped_known"], 0);

    // Without `missing` they stay, and that is said.
    let strict = "drop_on = \"b\", reject_on = \"c\"";
    configure(strict, "");
    for _ in 0..2 {
        let ended = home.run();
        for text in [
            "1 of the dropped rows are in the tables and stay there",
            "1 of the dead-lettered rows are in the tables as they were before",
        ] {
            assert!(ended.stdout.contains(text), "{}", ended.stdout);
        }
        let report = ended.done();
        assert_eq!(report["dropped_known"], 1, "{report:#}");
        assert_eq!(report["stale"], 1, "{report:#}");
        assert_eq!(report["rows"]["dropped"], 1, "{report:#}");
        assert_eq!(slugs(&home).await, "a=a b=b c=c d=d");
    }
    let checked = home.start_command(&["check"], "").wait();
    let warning =
        "warn pipeline rows: 1 rows that the plugins dropped in the last run are in the tables";
    assert!(checked.stdout.contains(warning), "{}", checked.stdout);
    checked.exit(0);

    // A share beyond the limit is held back, as of rows that do not come.
    configure(strict, "missing = \"remove\"");
    let report = home.run().exit(3);
    assert_eq!(report["missing"]["status"], "held_back", "{report:#}");
    configure(strict, REMOVE);
    let ended = home.run();
    for text in [
        "1 of the dropped rows were in the tables, and count as missing",
        "missing from the source: 1 of 4 rows, removed 1",
    ] {
        assert!(ended.stdout.contains(text), "{}", ended.stdout);
    }
    ended.done();
    assert_eq!(slugs(&home).await, "a=a c=c d=d");
    let report = home.run().done();
    assert_eq!(report["dropped_known"], 0, "{report:#}");
    // The rule is as it was: the row is there again.
    configure("", REMOVE);
    assert_eq!(home.run().done()["rows"]["inserted"], 1);
    assert_eq!(slugs(&home).await, "a=a b=b c=c d=d");
}

/// Documents in a table with these unique constraints, before and after, and what is there then:
/// all of them updated, by one chunk.
async fn d1_moves(columns: &str, before: &[(&str, &str)], after: &[(&str, &str)]) {
    let home = Home::new().await;
    let table = format!(
        "create table docs (id text primary key, parent text, vector vector(2), {columns});"
    );
    home.database.execute(&table).await;
    let docs = |docs: &[(&str, &str)]| {
        let docs = docs
            .iter()
            .map(|(key, slug)| doc(key, slug).text("parent", "p"));
        docs.collect::<Vec<_>>()
    };
    let source = script(docs(before)).serve();
    home.configure(&source.pipeline(&["docs"], ""));
    home.run().done();
    source.change(|_| script(docs(after)));
    let report = home.run().done();
    let updated = before.len() as u64;
    let inserted = (after.len() - before.len()) as u64;
    assert_eq!(
        counts(&report),
        [inserted, updated, 0, 0, 0],
        "{columns}: {report:#}"
    );
    assert_eq!(letters(&home).await, [""; 0], "{columns}");
    let mut expected: Vec<String> = after
        .iter()
        .map(|(key, slug)| format!("{key}={slug}"))
        .collect();
    expected.sort();
    assert_eq!(slugs(&home).await, expected.join(" "), "{columns}");
}

#[tokio::test]
async fn d1_a_value_moves_from_row_to_row_of_a_chunk() {
    let plain = "slug text unique";
    let three = [("a", "one"), ("b", "two"), ("c", "three")];
    d1_moves(
        plain,
        &three,
        &[("a", "two"), ("b", "three"), ("c", "four")],
    )
    .await;
    d1_moves(
        plain,
        &three,
        &[("c", "four"), ("b", "three"), ("a", "two")],
    )
    .await;
    // A new row takes what a known one gives up, before and after it.
    d1_moves(
        plain,
        &three,
        &[("n", "one"), ("a", "two"), ("b", "four"), ("c", "x")],
    )
    .await;
    d1_moves(
        plain,
        &three,
        &[("a", "n"), ("b", "m"), ("c", "o"), ("z", "one")],
    )
    .await;
    let other = [
        "slug text, unique (parent, slug)",
        "slug text, size int generated always as (length(slug)) stored, unique (slug) include (size)",
        "slug text, tenant int default 1, unique (tenant, slug)",
        "slug text not null unique, constraint two unique (slug, parent)",
    ];
    for columns in other {
        d1_moves(
            columns,
            &three,
            &[("a", "two"), ("b", "three"), ("c", "four")],
        )
        .await;
    }
}

#[tokio::test]
async fn d1_values_are_swapped() {
    let four = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    // A pair and a circle of three are among them.
    let pair = [("a", "2"), ("b", "1"), ("c", "33"), ("d", "3")];
    let circle = [("a", "2"), ("b", "3"), ("c", "1"), ("d", "44")];
    for columns in [
        "slug text unique",
        "slug text not null unique",
        "slug varchar(40) not null, unique (parent, slug)",
    ] {
        d1_moves(columns, &four, &pair).await;
        d1_moves(columns, &four, &circle).await;
    }
    let indexes = "slug text not null, n int generated always as (slug::int) stored";
    d1_moves(indexes, &four, &circle).await;
}

#[tokio::test]
async fn d1_indexes_of_expressions_and_parts_are_seen() {
    for index in [
        "create unique index on docs (lower(slug))",
        "create unique index on docs (slug) where slug <> 'none'",
        "create unique index on docs ((slug || '!'), parent) where parent is null",
    ] {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        home.database
            .execute(&format!(
                "alter table docs drop constraint docs_slug_key; {index}"
            ))
            .await;
        let source = script([doc("a", "One"), doc("b", "two"), doc("c", "none")]).serve();
        home.configure(&source.pipeline(&["docs"], ""));
        home.run().done();
        source.change(|_| {
            script([
                doc("a", "two"),
                doc("b", "three"),
                doc("n", "one"),
                doc("c", "x"),
            ])
        });
        assert_eq!(counts(&home.run().done()), [1, 3, 0, 0, 0], "{index}");
        assert_eq!(slugs(&home).await, "a=two b=three c=x n=one", "{index}");
    }
}

#[tokio::test]
async fn d1_a_row_of_a_circle_that_is_refused_keeps_its_value() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    home.database
        .execute("alter table docs add check (id <> 'b' or slug <> 'one'); alter table docs alter slug set not null")
        .await;
    let source = script([
        doc("a", "one"),
        doc("b", "two"),
        doc("c", "three"),
        doc("d", "four"),
    ])
    .serve();
    home.configure(&source.pipeline(&["docs"], ""));
    home.run().done();
    // `b` may not have `one`, so `a` cannot have `two`, nor `c` what `a` has; `d` is not concerned.
    let swapped = [
        doc("a", "two"),
        doc("b", "one"),
        doc("c", "one"),
        doc("d", "three"),
    ];
    source.change(|_| script(swapped));
    let report = home.run().done();
    assert_eq!(
        slugs(&home).await,
        "a=one b=two c=three d=four",
        "{report:#}"
    );
    assert_eq!(counts(&report)[3], 4, "{report:#}");
    // The check is no more: all of it is right in one go.
    home.database
        .execute("alter table docs drop constraint docs_check")
        .await;
    let swapped = [
        doc("a", "two"),
        doc("b", "one"),
        doc("c", "c"),
        doc("d", "three"),
    ];
    source.change(|_| script(swapped));
    assert_eq!(counts(&home.run().done()), [0, 4, 0, 0, 0]);
    assert_eq!(slugs(&home).await, "a=two b=one c=c d=three");
}

#[tokio::test]
async fn d1_a_long_chain_in_the_worst_order_moves_in_one_go() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let docs =
        |shift: usize| (0..10_000).map(move |n| doc(&format!("d{n:05}"), &(n + shift).to_string()));
    let source = script(docs(0)).serve();
    home.configure(&source.pipeline_with(&["docs"], "plugins = []", 10_000, ""));
    home.run().done();
    source.change(|_| script(docs(1)));
    let report = home.run().done();
    assert_eq!(counts(&report), [0, 10_000, 0, 0, 0], "{report:#}");
    let moved = "select count(*) from docs where slug::int = right(id, 5)::int + 1";
    assert_eq!(home.database.number(moved).await, 10_000);
}

#[tokio::test]
async fn d3_rows_that_wait_for_others_are_judged_at_the_end_of_the_run() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    let children =
        |parent: &'static str| (0..30).map(move |n| child(&format!("{parent}{n:02}"), parent));
    // All of the first chunk are refused, and come in after all.
    let source = Script::new(2, &FIELDS)
        .changes()
        .chunk(children("p"))
        .chunk([doc("p", "p")])
        .serve();
    let more = "writers = 1\nmax_writers = 1";
    home.configure(&source.pipeline_with(&["docs"], "plugins = []", 30, more));
    assert_eq!(counts(&home.run().done()), [31, 0, 0, 0, 0]);

    // What they wait for does not come: the run is at its end, and does not look like success.
    source.change(|script| script.chunk(children("q")));
    let ended = home.run();
    for text in [
        "rows: done, but too many rows are dead letters",
        "30 of the 30 rows of this run are dead letters",
        "SQL_23503 30",
    ] {
        assert!(ended.stdout.contains(text), "{}", ended.stdout);
    }
    let report = ended.exit(4);
    assert_eq!(report["status"], "held_back", "{report:#}");
    assert_eq!(counts(&report), [0, 0, 0, 30, 0]);
    // The feed is not held up by it.
    source.change(|script| script.chunk([doc("q", "q")]));
    assert_eq!(counts(&home.run().done()), [1, 0, 0, 0, 30]);
}

#[tokio::test]
async fn d1_values_are_swapped_across_chunks_and_tables() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table docs (id text primary key, vector vector(2) not null);
             create table names (id text primary key references docs, slug text not null unique);",
        )
        .await;
    let key = |number: usize| format!("d{number}");
    let docs = |slugs: [usize; 6]| -> Vec<RowBuilder> {
        let docs = slugs.iter().enumerate();
        docs.map(|(number, slug)| doc(&key(number), &format!("s{slug}")))
            .collect()
    };
    let script = |rows: Vec<RowBuilder>| {
        let chunks = rows.chunks(2).map(<[_]>::to_vec);
        chunks.fold(Script::new(2, &FIELDS[..1]), Script::chunk)
    };
    let source = script(docs([0, 1, 2, 3, 4, 5])).serve();
    let more = "writers = 1\nmax_writers = 1";
    home.configure(&source.pipeline_with(&["docs", "names"], "plugins = []", 2, more));
    home.run().done();
    // A pair within a chunk, and a circle of three through two chunks.
    source.change(|_| script(docs([1, 0, 4, 2, 3, 6])));
    assert_eq!(counts(&home.run().done()), [0, 6, 0, 0, 0]);
    let names = "select string_agg(slug, ' ' order by id) from names";
    assert_eq!(home.database.texts(names).await, ["s1 s0 s4 s2 s3 s6"]);
}

#[tokio::test]
async fn d2_what_an_exclusion_keeps_out_is_tried_again_as_well() {
    let home = Home::new().await;
    home.database
        .execute("create table docs (id text primary key, vector vector(2), slug int4range, exclude using gist (slug with &&));")
        .await;
    let others = || (0..9).map(|n| doc(&format!("x{n}"), &format!("[{n}00,{n}50)")));
    let source = script([doc("a", "[1,9)")].into_iter().chain(others())).serve();
    home.configure(&source.pipeline(&["docs"], REMOVE));
    assert_eq!(counts(&home.run().done()), [9, 0, 0, 1, 0]);
    source.change(|_| script([doc("a", "[51,59)")].into_iter().chain(others())));
    assert_eq!(counts(&home.run().done()), [1, 1, 8, 0, 0]);
    // Another key takes the range of one that goes, and two pass theirs on.
    let moved = [
        doc("b", "[52,58)"),
        doc("x0", "[100,150)"),
        doc("x1", "[51,52)"),
    ];
    source.change(|_| script(moved.into_iter().chain(others().skip(2))));
    assert_eq!(counts(&home.run().done()), [1, 2, 7, 0, 0]);
    let docs = "select count(*) from docs where id <> 'a'";
    assert_eq!(home.database.number(docs).await, 10);
}
