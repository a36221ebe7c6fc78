//! Chunks are written side by side, and yet everything comes out as if they had been written one
//! after the other: whatever they share with each other, openly or behind the host's back.

use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use serde_json::Value;
use support::{Home, RowBuilder, Script, row};

const FIELDS: [(&str, FieldType); 2] = [("name", FieldType::Text), ("parent", FieldType::Integer)];

/// Small chunks, and many of them at once.
const CHUNK: i64 = 10;
const WRITERS: &str = "writers = 4";

fn item(key: i64, name: &str) -> RowBuilder {
    row(&key.to_string(), &[key as f32, 0.5]).text("name", name)
}

fn script(rows: impl IntoIterator<Item = RowBuilder>) -> Script {
    let mut rows = rows.into_iter().peekable();
    let mut script = Script::new(2, &FIELDS);
    while rows.peek().is_some() {
        let chunk: Vec<_> = rows.by_ref().take(CHUNK as usize).collect();
        script = script.chunk(chunk);
    }
    script
}

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
struct Left {
    rows: Value,
    codes: Value,
    items: Vec<String>,
    letters: Vec<String>,
}

async fn run(tables: &str, script: &Script, more: &str) -> (Left, String) {
    let home = Home::new().await;
    home.database.execute(tables).await;
    let source = script.clone().serve();
    home.configure(&source.pipeline(&["items"], more));
    let ended = home.run();
    let log = ended.log.clone();
    let report = ended.done();
    assert_eq!(report["starts"], 1);
    let items = "select id || ' ' || coalesce(name, '-') || ' ' || coalesce(parent::text, '-') from items order by id";
    let letters = "select key || ' ' || code || ' ' || coalesce(field, '-') from forebay.dead_letter order by key, code";
    let left = Left {
        rows: report["rows"].clone(),
        codes: report["codes"].clone(),
        items: home.database.texts(items).await,
        letters: home.database.texts(letters).await,
    };
    (left, log)
}

/// Runs with one writer and with four, and compares.
async fn comes_out_the_same(tables: &str, script: &Script) -> (Left, String) {
    let (alone, _) = run(tables, script, "writers = 1").await;
    let (together, log) = run(tables, script, WRITERS).await;
    assert_eq!(together, alone, "{log}");
    (together, log)
}

const ITEMS: &str = "create table items (
    id int primary key, name text, parent int, vector vector(2) not null)";

#[tokio::test]
async fn the_last_of_a_key_wins() {
    // Each chunk has the keys of the one before it, and every second one what was there before.
    let rows = (0..200).map(|place: i64| {
        let (chunk, key) = (place / CHUNK, place % CHUNK);
        item(key, if chunk % 3 == 2 { "odd" } else { "even" })
    });
    let (left, _) = comes_out_the_same(ITEMS, &script(rows)).await;
    assert_eq!(left.rows["inserted"], CHUNK);
    assert_eq!(left.items[0], "0 even -");
}

#[tokio::test]
async fn the_first_of_a_unique_name_wins() {
    let unique = ITEMS.replace("name text", "name text unique");
    // Every seventh row takes the name of the row before it, often of another chunk.
    let rows = (0..400).map(|key: i64| {
        let named = if key % 7 == 0 { key - 1 } else { key };
        item(key, &format!("name {named}"))
    });
    let (left, _) = comes_out_the_same(&unique, &script(rows)).await;
    assert_eq!(left.letters.len(), 57);
    assert_eq!(left.letters[0], "105 SQL_23505 items_name_key");
}

#[tokio::test]
async fn rows_refer_to_rows_of_the_chunk_before() {
    let tree = ITEMS.replace("parent int", "parent int references items");
    let rows = (0..400).map(|key: i64| {
        let row = item(key, "node");
        if key >= CHUNK {
            row.set("parent", Kind::Integer(key - CHUNK))
        } else {
            row
        }
    });
    let (left, _) = comes_out_the_same(&tree, &script(rows)).await;
    assert_eq!(left.rows["inserted"], 400);
}

#[tokio::test]
async fn a_trigger_that_every_row_goes_through_holds_nobody_up_for_ever() {
    let counted = format!(
        "{ITEMS};
        create table tally (name text primary key, items int not null);
        create function count_item() returns trigger language plpgsql as $$ begin
            insert into tally values (new.name, 1)
            on conflict (name) do update set items = tally.items + 1;
            return new;
        end $$;
        create trigger count_item before insert on items for each row execute function count_item();"
    );
    // Whoever is first, the other waits for it: a later chunk has to give way.
    let rows = (0..400).map(|key: i64| item(key, if (key / CHUNK) % 2 == 0 { "a" } else { "b" }));
    let (left, _) = comes_out_the_same(&counted, &script(rows)).await;
    assert_eq!(left.rows["inserted"], 400);
}

#[tokio::test]
async fn chunks_that_are_all_round_trips_are_joined() {
    let rows: Vec<_> = (0..600).map(|key: i64| item(key, "name")).collect();
    let mut script = Script::new(2, &FIELDS);
    for row in rows {
        script = script.chunk([row]);
    }
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = script.serve();
    let pipeline = source.pipeline_with(&["items"], "plugins = []", 1, "");
    home.configure(&pipeline.replace("chunk_rows = 1", "chunk_rows = 1, max_chunk_rows = 64"));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 600);
    assert_eq!(report["checkpoint"][0]["position"], "600");
    // A chunk of one row waits for the server nine times, and for nothing else.
    let chunks = report["chunks"].as_u64().unwrap();
    assert!(chunks < 600, "{chunks}");
}
