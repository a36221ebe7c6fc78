//! Rows that the database refuses: each is dead-lettered with its SQLSTATE, and no other is.

use std::collections::BTreeMap;

use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use support::{Home, RowBuilder, Script, row};

const FIELDS: [(&str, FieldType); 7] = [
    ("number", FieldType::Integer),
    ("name", FieldType::Text),
    ("small", FieldType::Integer),
    ("parent", FieldType::Integer),
    ("amount", FieldType::Real),
    ("slot", FieldType::Integer),
    ("day", FieldType::Text),
];

const ITEMS: &str = "create table parents (id int primary key);
    insert into parents values (1);
    create table items (
        id int primary key,
        number int not null check (number <> 13),
        name text unique,
        small smallint,
        parent int references parents,
        amount numeric(4, 2),
        day interval,
        vector vector(2) not null
    );";

fn item(key: i64) -> RowBuilder {
    let item = row(&key.to_string(), &[key as f32, 0.5]);
    let item = item
        .set("number", Kind::Integer(1_000 + key))
        .text("name", &format!("name {key}"));
    item.set("parent", Kind::Integer(1))
        .set("amount", Kind::Real(9.5))
        .text("day", "1 day")
}

/// The dead letters by key.
async fn refused(home: &Home) -> BTreeMap<String, String> {
    let letters = home
        .database
        .texts("select key || ' ' || stage || ' ' || code from forebay.dead_letter");
    let pair = |letter: &String| {
        letter
            .split_once(' ')
            .map(|(key, code)| (key.to_owned(), code.to_owned()))
    };
    letters.await.iter().filter_map(pair).collect()
}

fn expected(letters: &[(i64, &str)]) -> BTreeMap<String, String> {
    letters
        .iter()
        .map(|(key, code)| (key.to_string(), format!("write {code}")))
        .collect()
}

#[tokio::test]
async fn only_the_guilty_rows_are_left_out() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let spoil = |key: i64| match key {
        13 => item(key).set("number", Kind::Integer(13)),
        40 => item(key).text("name", "nul \0 inside"),
        77 => item(key).without("number"),
        120 => item(key).set("parent", Kind::Integer(2)),
        121 => item(key).set("amount", Kind::Real(12_345.0)),
        200 => item(key).text("name", "name 3"),
        250 => item(key).set("small", Kind::Integer(70_000)),
        299 => item(key).text("day", "not a day"),
        _ => item(key),
    };
    let source = Script::new(2, &FIELDS).chunk((1..=300).map(spoil)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 292, "{report:#}");
    let letters = [
        (13, "SQL_23514"),
        (40, "SQL_22021"),
        (77, "SQL_23502"),
        (120, "SQL_23503"),
        (121, "SQL_22003"),
        (200, "SQL_23505"),
        (250, "VALUE_RANGE"),
        (299, "SQL_22007"),
    ];
    assert_eq!(refused(&home).await, expected(&letters));
    assert_eq!(
        home.database.number("select count(*) from items").await,
        292
    );
}

#[tokio::test]
async fn a_row_that_the_second_table_refuses_is_in_neither() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, number int not null);
             create table vectors (id int primary key references items, small int check (small <> 5),
                 vector vector(2) not null);",
        )
        .await;
    let make = |key: i64| item(key).set("small", Kind::Integer(key % 100));
    let source = Script::new(2, &FIELDS).chunk((1..=300).map(make)).serve();
    home.configure(&source.pipeline(&["vectors", "items"], ""));
    assert_eq!(home.run().done()["rows"]["inserted"], 297);
    let letters = [(5, "SQL_23514"), (105, "SQL_23514"), (205, "SQL_23514")];
    assert_eq!(refused(&home).await, expected(&letters));
    for table in ["items", "vectors"] {
        assert_eq!(
            home.database
                .number(&format!("select count(*) from {table}"))
                .await,
            297
        );
    }
}

#[tokio::test]
async fn a_constraint_that_speaks_up_at_the_commit_costs_its_row() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, slot int unique deferrable initially deferred,
                 vector vector(2) not null)",
        )
        .await;
    let make = |key: i64| item(key).set("slot", Kind::Integer(if key == 180 { 70 } else { key }));
    let source = Script::new(2, &FIELDS).chunk((1..=300).map(make)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert_eq!(home.run().done()["rows"]["inserted"], 299);
    assert_eq!(refused(&home).await, expected(&[(180, "SQL_23505")]));
}

#[tokio::test]
async fn rows_that_refer_to_later_ones_are_not_guilty_of_a_neighbours_fault() {
    // Each row refers to the next one.
    chained("deferrable initially deferred", 1).await;
    // Each row of the first half refers to one of the second.
    chained("", 150).await;
}

/// Row 299 is refused; nobody refers to it.
async fn chained(reference: &str, distance: i64) {
    let home = Home::new().await;
    home.database
        .execute(&format!(
            "create table items (id int primary key, number int not null check (number <> 13),
                 parent int references items {reference}, vector vector(2) not null)"
        ))
        .await;
    let make = |key: i64| match key + distance {
        _ if key == 299 => item(key).set("number", Kind::Integer(13)).without("parent"),
        299 | 301.. => item(key).without("parent"),
        parent => item(key).set("parent", Kind::Integer(parent)),
    };
    let source = Script::new(2, &FIELDS).chunk((1..=300).map(make)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(refused(&home).await, expected(&[(299, "SQL_23514")]));
    assert_eq!(report["rows"]["inserted"], 299);
}
