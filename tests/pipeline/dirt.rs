//! Refused rows cost about themselves: they are found beside other chunks, in few round trips, and
//! come out as if rows had been written one by one.

use std::collections::BTreeSet;

use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use support::{Home, RowBuilder, Script, row};

const FIELDS: [(&str, FieldType); 2] = [("name", FieldType::Text), ("parent", FieldType::Integer)];

const ITEMS: &str =
    "create table items (id int primary key, name text, parent int, vector vector(2) not null)";

fn item(key: i64) -> RowBuilder {
    row(&key.to_string(), &[key as f32, 0.5]).text("name", &format!("name {key}"))
}

fn chunks(rows: usize, items: impl IntoIterator<Item = RowBuilder>) -> Script {
    let items: Vec<_> = items.into_iter().collect();
    let chunks = items.chunks(rows);
    chunks.fold(Script::new(2, &FIELDS), |script, rows| {
        script.chunk(rows.iter().cloned())
    })
}

/// Keys and codes of the dead letters, by key.
async fn letters(home: &Home) -> Vec<String> {
    let query = "select key || ' ' || code from forebay.dead_letter order by key::int";
    home.database.texts(query).await
}

#[tokio::test]
async fn what_was_refused_before_its_turn_is_tried_again_in_turn() {
    // A code of its own, so that nothing tells that it depends on other rows.
    let follows = format!(
        "{ITEMS};
        create function follow() returns trigger language plpgsql as $$ begin
            if new.parent is not null and not exists (select from items where id = new.parent) then
                raise exception 'before its parent' using errcode = 'FB002';
            end if;
            return new;
        end $$;
        create trigger follow before insert on items for each row execute function follow()"
    );
    let items = (0..600).map(|key: i64| match key {
        // No row has these parents, now or later.
        _ if key % 97 == 0 => item(key).set("parent", Kind::Integer(10_000 + key)),
        // Rows of the chunk before, which is mostly not committed yet.
        10.. => item(key).set(
            "parent",
            Kind::Integer(key - 10 - key % 10 + (key % 10 + 1) % 10),
        ),
        _ => item(key),
    });
    let items: Vec<_> = items.collect();
    let mut ends = Vec::new();
    for writers in ["writers = 1", "writers = 4"] {
        let home = Home::new().await;
        home.database.execute(&follows).await;
        let source = chunks(10, items.clone()).serve();
        let more = format!("dead_letter_limit = \"100%\"\n{writers}");
        home.configure(&source.pipeline(&["items"], &more));
        let report = home.run().done();
        assert_eq!(report["starts"], 1);
        let refused = letters(&home).await;
        assert_eq!(report["rows"]["dead_lettered"], refused.len());
        assert_eq!(report["rows"]["inserted"], 600 - refused.len());
        ends.push(refused);
    }
    // A refused row takes the rows with it that refer to it.
    let refused: BTreeSet<&String> = ends[0].iter().collect();
    assert!(refused.contains(&"97 SQL_FB002".to_owned()) && refused.len() < 600);
    assert_eq!(ends[1], ends[0]);
}

#[tokio::test]
async fn a_row_that_copy_does_not_name_is_found_all_the_same() {
    let home = Home::new().await;
    home.database
        .execute(&format!(
            "{ITEMS}; alter table items alter name set storage plain, add check (id <> 5)"
        ))
        .await;
    // Rows are stored some at a time: the server names the last of them.
    let spoil = |key: i64| match key {
        60 => item(key).text("name", &"wide".repeat(3_000)),
        _ => item(key),
    };
    let source = chunks(100, (1..=200).map(spoil)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert_eq!(home.run().done()["rows"]["inserted"], 198);
    assert_eq!(letters(&home).await, ["5 SQL_23514", "60 SQL_54000"]);
}

#[tokio::test]
async fn rows_that_are_there_under_their_key_are_not_refused_among_those_that_are() {
    let home = Home::new().await;
    home.database
        .execute(&format!(
            "{ITEMS}; alter table items add check (name <> 'bad'), add unique (name);
             create table latecomers (id int);
             create function latecomer() returns trigger language plpgsql as $$ begin
                 if new.id = 7 then
                     insert into items values (8, 'early', null, '[0,0]') on conflict do nothing;
                 end if;
                 return new; end $$;
             create trigger latecomer before insert on items for each row execute function latecomer()"
        ))
        .await;
    let spoil = |key: i64| match key {
        20 | 21 | 150 => item(key).text("name", "bad"),
        30 => item(key).text("name", "name 3"),
        _ => item(key),
    };
    let source = chunks(50, (1..=200).map(spoil)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["dead_lettered"], 4, "{report:#}");
    let refused = [
        "20 SQL_23514",
        "21 SQL_23514",
        "30 SQL_23505",
        "150 SQL_23514",
    ];
    assert_eq!(letters(&home).await, refused);
    let named = "select count(*) from items where name = 'name ' || id";
    assert_eq!(home.database.number(named).await, 196);
}

#[tokio::test]
async fn a_row_that_was_refused_last_night_is_known_and_not_tried() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, no serial, name text, parent int check (parent < 100),
                 vector vector(2) not null)",
        )
        .await;
    let spoil =
        |key: i64| item(key).set("parent", Kind::Integer(if key % 50 == 0 { 200 } else { 1 }));
    let source = chunks(40, (1..=200).map(spoil)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert_eq!(home.run().done()["rows"]["dead_lettered"], 4);
    let refused = [
        "50 SQL_23514",
        "100 SQL_23514",
        "150 SQL_23514",
        "200 SQL_23514",
    ];
    assert_eq!(letters(&home).await, refused);
    let messages = "select message || coalesce(field, '') from forebay.dead_letter order by id";
    let messages_before = home.database.texts(messages).await;
    // A row that is tried takes a number, whatever becomes of it.
    let last = "select last_value from items_no_seq";
    let taken = home.database.number(last).await;
    let report = home.run().done();
    assert_eq!(report["rows"]["unchanged"], 196, "{report:#}");
    assert_eq!(report["rows"]["dead_lettered"], 4);
    assert_eq!(report["codes"][0]["code"], "SQL_23514", "{report:#}");
    assert_eq!(home.database.number(last).await, taken);
    assert_eq!(home.database.texts(messages).await, messages_before);
    let seen = "select count(*) from forebay.dead_letter where seen = 2 and status = 'open'
        and run = (select id from forebay.run order by id desc limit 1)";
    assert_eq!(home.database.number(seen).await, 4);
    // One that has changed is tried, and so are all once the constraint is another one.
    source.change(|_| chunks(40, (1..=200).map(|key| spoil(key).text("name", "new name"))));
    assert_eq!(home.run().done()["rows"]["dead_lettered"], 4);
    assert!(home.database.number(last).await >= taken + 4);
    home.database
        .execute(
            "alter table items drop constraint items_parent_check,
                 add constraint items_parent_check check (parent < 300)",
        )
        .await;
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 4, "{report:#}");
    assert_eq!(report["rows"]["unchanged"], 196);
}

#[tokio::test]
async fn what_a_refused_row_waits_for_lets_it_in_the_next_night() {
    let home = Home::new().await;
    home.database
        .execute(&format!(
            "{ITEMS};
             alter table items add column until timestamptz default now() - interval '1 hour',
                 add check (parent is distinct from 3 or until > now());
             create table allowed (name text primary key);
             insert into allowed select 'name ' || i from generate_series(1, 100) i where i % 10 > 0;
             create function allow() returns trigger language plpgsql as $$ begin
                 if not exists (select from allowed where name = new.name) then
                     raise exception 'not allowed' using errcode = 'FB003';
                 end if;
                 return new;
             end $$;
             create trigger allow before insert on items for each row execute function allow()"
        ))
        .await;
    let with_parent = |key: i64| item(key).set("parent", Kind::Integer(key));
    let source = chunks(25, (1..=100).map(with_parent)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert_eq!(home.run().done()["rows"]["dead_lettered"], 11);
    // Nothing of the tables changes, and only some rows may come in now.
    home.database
        .execute("insert into allowed values ('name 30'), ('name 70')")
        .await;
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 2, "{report:#}");
    assert_eq!(report["rows"]["unchanged"], 89);
    assert_eq!(report["rows"]["dead_lettered"], 9);
    // A table that refuses its rows alike is still to blame itself.
    home.database
        .execute(
            "create or replace function allow() returns trigger language plpgsql as $$ begin
                 raise exception 'frozen' using errcode = 'FB004'; end $$;
             drop trigger allow on items;
             create trigger allow before insert or update on items for each row execute function allow()",
        )
        .await;
    let ended = home.run();
    ended.said("items refuses").said("hint: no row is to blame");
    assert_eq!(ended.exit(3)["rows"]["dead_lettered"], 0);
}
