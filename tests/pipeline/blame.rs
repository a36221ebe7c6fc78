//! Who is to blame for a refusal: a row if its chunk passes without it; else the table or the server,
//! and then nothing is lost and nothing looks like success.

mod fuzz;

use std::time::Instant;

use forebay::proto::FieldType;
use forebay::proto::vector::Elements;
use serde_json::Value;
use support::{Database, Home, RowBuilder, Script, Scripted, row, tombstone};

const FIELDS: [(&str, FieldType); 3] = [
    ("body", FieldType::Text),
    ("lang", FieldType::Text),
    ("state", FieldType::Text),
];

const DOCS: &str = "create table docs (id text primary key, state text, vector vector(2))";

/// Refuses rows with a `state`, which is the SQLSTATE to raise.
const RAISING: &str = "create function refuse() returns trigger language plpgsql as $$ begin
        if new.state <> '' then raise exception 'not this one' using errcode = new.state; end if;
        return new; end $$;
    create trigger refuse before insert or update on docs for each row execute function refuse()";

fn doc(number: usize) -> RowBuilder {
    row(&format!("doc-{number}"), &[number as f32, 0.5])
        .text("body", "words in a row")
        .text("lang", "english")
}

/// A hundred documents in chunks of `rows`, spoiled by `spoil`.
fn docs(rows: usize, spoil: impl Fn(usize, RowBuilder) -> RowBuilder) -> Script {
    let numbers: Vec<usize> = (1..=100).collect();
    let chunks = numbers.chunks(rows);
    chunks.fold(Script::new(2, &FIELDS), |script, numbers| {
        script.chunk(numbers.iter().map(|number| spoil(*number, doc(*number))))
    })
}

/// Keys and codes of the dead letters, in the order of their numbers.
async fn letters(home: &Home) -> Vec<String> {
    let query = "select key || ' ' || stage || ' ' || code from forebay.dead_letter order by id";
    home.database.texts(query).await
}

async fn count(home: &Home) -> i64 {
    home.database.number("select count(*) from docs").await
}

fn fates(report: &Value) -> [i64; 6] {
    let fate = |name: &str| report["rows"][name].as_i64().unwrap();
    let fates = [
        "received",
        "inserted",
        "updated",
        "unchanged",
        "dropped",
        "dead_lettered",
    ];
    fates.map(fate)
}

/// In chunks, in chunks of one row, and as changes.
fn shapes(spoil: impl Fn(usize, RowBuilder) -> RowBuilder + Copy) -> [Script; 3] {
    [docs(50, spoil), docs(1, spoil), docs(50, spoil).changes()]
}

#[tokio::test]
async fn a1_a_row_whose_generated_column_cannot_be_made_costs_itself() {
    for script in shapes(|number, doc| match number {
        60 => doc.text("lang", "klingon"),
        _ => doc,
    }) {
        let home = Home::new().await;
        home.database
            .execute(
                "create table docs (id text primary key, body text, lang regconfig not null, vector vector(2),
                     tsv tsvector generated always as (to_tsvector(lang, body)) stored)",
            )
            .await;
        let source = script.serve();
        home.configure(&source.pipeline(&["docs"], ""));
        assert_eq!(fates(&home.run().done()), [100, 99, 0, 0, 0, 1]);
        assert_eq!(letters(&home).await, ["doc-60 write SQL_42704"]);
    }
}

#[tokio::test]
async fn a1_whatever_code_a_trigger_raises_the_row_costs_itself() {
    let codes = [
        "42P01", "42501", "0A000", "XX000", "P0001", "57014", "57P01", "53100", "40001", "08006",
        "25006", "55P03", "58030", "ZZ999", "26000", "XX001",
    ];
    for script in shapes(
        |number, doc| match codes.get(number / 5 - number.min(5) / 5) {
            Some(code) if number % 5 == 0 => doc.text("state", code),
            _ => doc,
        },
    ) {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        home.database.execute(RAISING).await;
        let source = script.serve();
        home.configure(&source.pipeline(&["docs"], ""));
        assert_eq!(fates(&home.run().done()), [100, 84, 0, 0, 0, 16]);
        let raised = codes.iter().zip(1..);
        let raised = raised.map(|(code, place)| format!("doc-{} write SQL_{code}", 5 * place));
        assert_eq!(letters(&home).await, raised.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a2_a_key_that_the_database_cannot_store_costs_itself() {
    for script in shapes(|number, doc| match number {
        60 => row("Łódź", &[1.0, 2.0]),
        61 => row("Köln", &[1.0, 2.0]),
        62 => doc.text("body", "三"),
        _ => doc,
    }) {
        let latin = "encoding 'LATIN1' locale 'C' template template0";
        let home = Home::with(Database::created(latin).await);
        home.database
            .execute("create table docs (id text primary key, body text, vector vector(2))")
            .await;
        let source = script.serve();
        home.configure(&source.pipeline(&["docs"], ""));
        assert_eq!(fates(&home.run().done()), [100, 98, 0, 0, 0, 2]);
        let refused = [
            "\\u{141}\\u{f3}d\\u{17a} write SQL_22P05",
            "doc-62 write SQL_22P05",
        ];
        assert_eq!(letters(&home).await, refused);
        let kept = home
            .database
            .number("select count(*) from docs where id = 'Köln'");
        assert_eq!(kept.await, 1);
    }
}

#[tokio::test]
async fn a2_a_key_that_the_database_cannot_store_hides_no_missing_row() {
    let latin = "encoding 'LATIN1' locale 'C' template template0";
    let home = Home::with(Database::created(latin).await);
    home.database.execute(DOCS).await;
    let named = |number: usize, doc: RowBuilder| match number {
        60 => row("Łódź", &[1.0, 2.0]),
        61 => row("Köln", &[1.0, 2.0]),
        _ => doc,
    };
    let source = docs(50, named).serve();
    home.configure(&source.pipeline(&["docs"], "missing = \"remove\""));
    assert_eq!(fates(&home.run().done())[1], 99);
    source.change(|_| {
        let rest = (2..=100).map(|number| named(number, doc(number)));
        Script::new(2, &FIELDS).chunk(rest)
    });
    let report = home.run().done();
    assert_eq!(report["missing"]["removed"], 1, "{report:#}");
    assert_eq!(count(&home).await, 98);
}

#[tokio::test]
async fn a1_rows_that_a_table_has_kept_from_before_a_rule_are_no_evidence() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    home.database
        .execute(
            "insert into docs select 'old-' || i, 'short', '[1,2]' from generate_series(1, 5) i;
         insert into docs select 'new-' || i, '', '[1,2]' from generate_series(1, 5) i;
         alter table docs add constraint brief check (length(state) < 3) not valid",
        )
        .await;
    let source = docs(1, |number, doc| match number {
        60 => doc.text("state", "P0001"),
        _ => doc,
    });
    let source = source.serve();
    home.configure(&source.pipeline(&["docs"], ""));
    assert_eq!(fates(&home.run().done()), [100, 99, 0, 0, 0, 1]);
}

#[tokio::test]
async fn b1_a_sequence_behind_its_rows_stops_the_run() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table docs (no serial primary key, id text not null unique, vector vector(2));
             insert into docs (id, vector) select 'old-' || i, '[1,2]' from generate_series(1, 20000) i;
             select setval('docs_no_seq', 100)",
        )
        .await;
    let source = docs(50, |_, doc| doc).serve();
    home.configure(&source.pipeline(&["docs"], ""));
    let ended = home.run();
    ended
        .said("SQLSTATE 23505 (docs_pkey)")
        .said("hint: no row is to blame");
    assert_eq!(fates(&ended.exit(3))[5], 0);
}

/// A run that halts because a table refuses all rows alike: nothing is dead-lettered, the message
/// says what is wrong, and once it is mended nothing is missing.
async fn halts(home: &Home, source: &Scripted, more: &str, said: &[&str], mend: &str) {
    home.configure(&source.pipeline(&["docs"], more));
    let ended = home.run();
    for text in said {
        ended.said(text);
    }
    ended.said("hint: no row is to blame");
    let report = ended.exit(3);
    assert_eq!(report["status"], "halted", "{report:#}");
    assert_eq!(fates(&report)[5], 0, "{report:#}");
    assert_eq!(letters(home).await, [""; 0]);
    home.database.execute(mend).await;
    let report = home.run().done();
    assert_eq!(fates(&report)[5], 0, "{report:#}");
    assert_eq!(count(home).await, 100);
}

#[tokio::test]
async fn b1_a_sequence_at_its_end_stops_the_run_and_loses_nothing() {
    for script in shapes(|_, doc| doc) {
        let home = Home::new().await;
        home.database
            .execute(
                "create table docs (no smallint generated always as identity (start 32760) primary key,
                     id text not null unique, vector vector(2))",
            )
            .await;
        let said = [
            "docs refuses ",
            "SQLSTATE 2200H",
            "docs_no_seq",
            "for example row `doc-",
        ];
        let mend = "alter table docs alter no type bigint; alter sequence docs_no_seq as bigint";
        halts(&home, &script.serve(), "", &said, mend).await;
    }
}

#[tokio::test]
async fn b2_a_column_that_changes_during_a_run_stops_it() {
    for script in shapes(|_, doc| doc) {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        let source = script.serve();
        home.configure(&source.pipeline(&["docs"], ""));
        let mut migrate = home.start_command(&["migrate"], "");
        while migrate.next_line().is_some() {}
        // In the transaction of the first chunk: the rows that are there fit the new type.
        home.database
            .execute(
                "create function alter_docs() returns trigger language plpgsql as $$ begin
                     if new.sequence = 1 and old.sequence = 0 then
                         alter table docs alter vector type vector(3) using '[1,2,3]';
                     end if;
                     return null; end $$;
                 create trigger alter_docs after update on forebay.checkpoint for each row execute function alter_docs()",
            )
            .await;
        let said = ["docs", "column `vector` was vector(2) and is vector(3) now"];
        let mend = "drop trigger alter_docs on forebay.checkpoint;
            alter table docs alter vector type vector(2) using '[1,2]'";
        halts(&home, &source, "", &said, mend).await;
    }
}

#[tokio::test]
async fn b2_a_table_that_takes_no_row_stops_the_run() {
    let frozen = "create function frozen() returns trigger language plpgsql as $$
        begin raise exception 'docs are frozen' using errcode = '57014'; end $$;
        create trigger frozen before insert or update on docs for each row execute function frozen()";
    for script in shapes(|_, doc| doc) {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        home.database
            .execute("insert into docs values ('old', null, '[1,2]')")
            .await;
        home.database.execute(frozen).await;
        let said = [
            "docs refuses ",
            "SQLSTATE 57014: docs are frozen (in PL/pgSQL function",
            "for example row `doc-",
            "a row that it has already is refused as well",
        ];
        let mend = "drop trigger frozen on docs; delete from docs where id = 'old'";
        halts(&home, &script.serve(), "", &said, mend).await;
    }
    // An empty table cannot be asked: a few rows alone are believed to be bad, many are not.
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    home.database.execute(frozen).await;
    let source = docs(50, |_, doc| doc).serve();
    halts(
        &home,
        &source,
        "",
        &["refuses 50 new rows of a chunk alike, and accepts none"],
        "drop trigger frozen on docs",
    )
    .await;
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    home.database.execute(frozen).await;
    let source = docs(1, |_, doc| doc).serve();
    home.configure(&source.pipeline(&["docs"], ""));
    let report = home.run().exit(3);
    assert_eq!(fates(&report), [9, 0, 0, 0, 0, 9], "{report:#}");
}

#[tokio::test]
async fn b2_a_chunk_of_bad_rows_stops_nothing_where_the_table_takes_others() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    home.database.execute(RAISING).await;
    // A chunk of its own for ten bad rows.
    let source = docs(10, |number, doc| match number {
        51..=60 => doc.text("state", "P0002"),
        _ => doc,
    });
    let source = source.serve();
    home.configure(&source.pipeline(&["docs"], ""));
    assert_eq!(fates(&home.run().done()), [100, 90, 0, 0, 0, 10]);
}

#[tokio::test]
async fn b2_a_table_that_lets_no_row_go_stops_the_run_and_one_row_costs_itself() {
    let keep = |condition: &str| {
        format!(
            "create function keep() returns trigger language plpgsql as $$ begin
                 if {condition} then raise exception 'kept' using errcode = '42501'; end if;
                 return old; end $$;
             create trigger keep before delete on docs for each row execute function keep()"
        )
    };
    for (condition, code, dead_letters, left) in
        [("true", 3, 0, 100), ("old.id = 'doc-1'", 0, 1, 91)]
    {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        let source = docs(50, |_, doc| doc).changes().serve();
        home.configure(&source.pipeline(&["docs"], ""));
        home.run().done();
        home.database.execute(&keep(condition)).await;
        let gone = |number: i32| tombstone(&format!("doc-{number}"));
        source.change(|script| script.chunk((1..=10).map(gone)));
        let ended = home.run();
        if code == 3 {
            ended
                .said("docs refuses 10 deleted rows of a chunk alike, and accepts none: SQLSTATE 42501")
                .said("hint: no row is to blame");
        }
        assert_eq!(fates(&ended.exit(code))[5], dead_letters);
        assert_eq!(count(&home).await, left);
        home.database.execute("drop trigger keep on docs").await;
        if code == 3 {
            home.run().done();
            assert_eq!(count(&home).await, 90);
        }
    }
}

#[tokio::test]
async fn b4_vectors_of_another_type_are_no_success() {
    for script in shapes(|number, doc| match number {
        1..=3 => doc,
        _ => doc.elements(Elements::F32(vec![0; 16].into())),
    }) {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        let source = script.serve();
        home.configure(&source.pipeline(&["docs"], ""));
        let ended = home.run();
        ended
            .said("dead_letter_limit = \"20%\"")
            .said("for example row `doc-")
            .said("--allow-dead-letters");
        let report = ended.exit(4);
        assert_eq!(report["status"], "halted", "{report:#}");
        // Once, on purpose.
        let mut once = home.start_command(
            &["run", "--allow-dead-letters", "--report", "once.json"],
            "",
        );
        while once.next_line().is_some() {}
        assert_eq!(once.wait().status.code(), Some(0));
        assert_eq!(letters(&home).await.len(), 97);
        assert_eq!(count(&home).await, 3);
    }
}

#[tokio::test]
async fn nothing_of_the_chunk_that_exceeds_the_limit_is_written() {
    let home = Home::new().await;
    home.database.execute(DOCS).await;
    home.database.execute(RAISING).await;
    let source = docs(25, |number, doc| match number {
        // Five of the third chunk and nine of the last: 14 of 100.
        71..=75 | 90..=98 => doc.text("state", "P0003"),
        _ => doc,
    });
    let source = source.serve();
    let limited =
        |limit: &str| source.pipeline(&["docs"], &format!("dead_letter_limit = \"{limit}\""));
    home.configure(&limited("13%"));
    let ended = home.run();
    ended.said("14 of the last 100 rows are dead letters (14.0 %), more than dead_letter_limit = \"13%\": SQL_P0003 14; for example row `doc-90`: write SQL_P0003: not this one (in");
    assert_eq!(fates(&ended.exit(4)), [75, 70, 0, 0, 0, 5]);
    assert_eq!(count(&home).await, 70);
    // A new start knows what went before it.
    assert_eq!(fates(&home.run().exit(4)), [75, 70, 0, 0, 0, 5]);
    home.configure(&limited("14%"));
    assert_eq!(fates(&home.run().done()), [100, 86, 0, 0, 0, 14]);
}

#[tokio::test]
async fn ten_thousand_refused_rows_are_judged_in_seconds() {
    let bad = |number| doc(number).text("state", "P0004");
    // The table has a row and takes it again, or it has none.
    for (first, received, code) in [(Some(doc(0)), 1, 4), (None, 0, 3)] {
        let home = Home::new().await;
        home.database.execute(DOCS).await;
        home.database.execute(RAISING).await;
        let mut script = Script::new(2, &FIELDS);
        if let Some(first) = first {
            script = script.chunk([first]);
        }
        let source = script.chunk((1..=10_000).map(bad)).serve();
        home.configure(&source.pipeline_with(&["docs"], "plugins = []", 10_000, ""));
        let started = Instant::now();
        let report = home.run().exit(code);
        println!("{:?}", started.elapsed());
        assert_eq!(fates(&report)[0], received, "{report:#}");
    }
}
