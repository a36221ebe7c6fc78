//! Values and counts are as the server has them: under any settings, beside triggers that swallow
//! rows, and with what other tools have written. What it refuses is said with its place.

use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use support::{Home, Script, row};

/// The messages of the dead letters, by key.
async fn refusals(home: &Home) -> Vec<String> {
    let letters =
        "select format('%s %s [%s] %s', key, code, field, message) from forebay.dead_letter
        order by key::int";
    home.database.texts(letters).await
}

#[tokio::test]
async fn g_a_refusal_names_column_and_value() {
    let home = Home::new().await;
    home.database
        .execute(
            "create type mood as enum ('good', 'bad');
             create domain short as varchar(5) check (value <> 'none');
             create table items (id int primary key, code character(2), title text, amount numeric(4, 2),
                 mood mood, day interval, tags varchar(3)[], brief short, at timestamptz,
                 needed int not null check (needed <> 13), vector vector(2) not null);
             create table item_label (id int references items, label varchar(4), primary key (id, label));
             create function unlucky() returns trigger language plpgsql as
                 $$ begin if new.title = 'unlucky' then raise exception 'no luck'; end if; return new; end $$;
             create trigger unlucky before insert or update on items for each row execute function unlucky();",
        )
        .await;
    let fields = [
        ("code", FieldType::Text),
        ("title", FieldType::Text),
        ("amount", FieldType::Real),
        ("mood", FieldType::Text),
        ("day", FieldType::Text),
        ("tags", FieldType::Texts),
        ("brief", FieldType::Text),
        ("at", FieldType::Timestamp),
        ("needed", FieldType::Integer),
        ("labels", FieldType::Texts),
    ];
    let good = |key: i64| {
        let row = row(&key.to_string(), &[key as f32, 1.0]);
        row.set("needed", Kind::Integer(1)).text("code", "ab")
    };
    let early = prost_types::Timestamp {
        seconds: -300_000_000_000,
        nanos: 0,
    };
    let rows = |title: &str| {
        [
            good(1).text("code", "abc"),
            good(2).text("title", "a\0b"),
            good(3).set("amount", Kind::Real(12_345.0)),
            good(4).text("mood", "middling"),
            good(5).text("day", "soon"),
            good(6).texts("tags", ["abc", "abcd"]),
            good(7).text("brief", "none"),
            good(8).set("at", Kind::Timestamp(early)),
            good(9).without("needed"),
            good(10).set("needed", Kind::Integer(13)),
            good(11).texts("labels", ["one", "seven"]),
            good(12).text("title", "unlucky"),
            good(13).text("title", title),
        ]
    };
    let source = Script::new(2, &fields).chunk(rows("new")).serve();
    let rename = "rename = { labels = \"item_label.label\" }";
    home.configure(&source.pipeline(&["items", "item_label"], rename));
    assert_eq!(home.run().done()["rows"]["inserted"], 1);
    insta::assert_snapshot!(refusals(&home).await.join("\n"), @r#"
    1 SQL_22001 [code] items.code: value too long for type character(2); received "abc"
    2 SQL_22021 [title] `title` cannot hold a NUL, and its text has one at byte 1
    3 SQL_22003 [amount] items.amount: numeric field overflow: A field with precision 4, scale 2 must round to an absolute value less than 10^2.; received "12345"
    4 SQL_22P02 [mood] items.mood: invalid input value for enum mood: "middling"
    5 SQL_22007 [day] items.day: invalid input syntax for type interval: "soon"
    6 SQL_22001 [tags] items.tags: value too long for type character varying(3); received "{\"abc\",\"abcd\"}"
    7 SQL_23514 [brief] items.brief: value for domain short violates check constraint "short_check"; received "none"
    8 SQL_22008 [at] `at` cannot hold a time -300000000000 s from 1970: the server's are from 4714 BC to 294276
    9 SQL_23502 [needed] null value in column "needed" of relation "items" violates not-null constraint: Failing row contains (9, ab, null, null, null, null, null, null, null, null, [9,1]).
    10 SQL_23514 [items_needed_check] new row for relation "items" violates check constraint "items_needed_check": Failing row contains (10, ab, null, null, null, null, null, null, null, 13, [10,1]).
    11 SQL_22001 [label] item_label.label: value too long for type character varying(4); received "seven"
    12 SQL_P0001 [] no luck (in PL/pgSQL function unlucky() line 1 at RAISE)
    "#);
}

#[tokio::test]
async fn g_an_error_of_the_server_is_said_with_its_sqlstate() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, vector vector(2));
             create schema forebay; create table forebay.migration (nothing int)",
        )
        .await;
    let source = Script::new(2, &[]).chunk([row("1", &[1.0, 2.0])]).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let ended = home.run();
    ended.said("column \"version\" does not exist (SQLSTATE 42703)");
    assert!(!ended.log.contains(" at line "), "{}", ended.log);
    drop(ended.exit(1));
}
