//! Lists become rows of a table of their own, which stay equal to the list.

use forebay::proto::FieldType;
use serde_json::Value;

use crate::support::{Home, RowBuilder, Script, row};

const FIELDS: [(&str, FieldType); 5] = [
    ("company", FieldType::Text),
    ("skills", FieldType::Texts),
    ("numbers", FieldType::Texts),
    ("line", FieldType::Texts),
    ("languages", FieldType::Json),
];

/// One table for each way to make rows of a list.
const TABLES: &str = "create table posting (id int primary key, company text, vector vector(2) not null);
    create table skill (
        posting int references posting on delete cascade, name varchar(12) check (name <> 'none'),
        position int not null, noted_at timestamptz not null default now(), primary key (posting, name));
    create table number (id int references posting, number bigint, primary key (number, id));
    create table line (
        id int references posting, position smallint, line text not null, updated_at timestamptz,
        primary key (id, position));
    create table languages (
        id int references posting, language text, level int, note jsonb, primary key (id, language));";

const PIPELINE: &str = "rename = { skills = \"skill.name\", numbers = \"number\" }";

const NAMES: [&str; 5] = ["languages", "line", "skill", "posting", "number"];

/// What all tables have, a line for each posting.
const FOUND: &str = "select format('%s %s | %s | %s | %s | %s', p.id, company,
        (select string_agg(name || '@' || position, ' ' order by position) from skill where posting = p.id),
        (select string_agg(number::text, ' ' order by number) from number n where n.id = p.id),
        (select string_agg(position || '=' || line, ' ' order by position) from line l where l.id = p.id),
        (select string_agg(format('%s:%s:%s', language, level, note), ' ' order by language)
            from languages a where a.id = p.id))
    from posting p order by p.id";

fn posting(key: i64) -> RowBuilder {
    row(&key.to_string(), &[key as f32, 1.0]).text("company", "Acme")
}

fn full(key: i64) -> RowBuilder {
    posting(key)
        .texts("skills", ["rust", "c, c++", "rust", "\"q\""])
        .texts("numbers", ["3", "-1", "+3"])
        .texts("line", ["b", "a", "b"])
        .json(
            "languages",
            r#"[{"language": "de", "level": 3, "note": {"a": [1]}}, {"language": "en"}, {"language": "de", "level": 1}]"#,
        )
}

async fn started(source: &Script) -> (Home, crate::support::Scripted) {
    let home = Home::new().await;
    home.database.execute(TABLES).await;
    let source = source.clone().serve();
    home.configure(&source.pipeline(&NAMES, PIPELINE));
    (home, source)
}

fn script(rows: impl IntoIterator<Item = RowBuilder>) -> Script {
    Script::new(2, &FIELDS).chunk(rows)
}

#[tokio::test]
async fn lists_become_rows_that_stay_equal_to_them() {
    let before = [full(1), full(2), full(3), posting(4)];
    let (home, source) = started(&script(before.clone())).await;
    assert_eq!(home.run().done()["rows"]["inserted"], 4);
    let all = "Acme | rust@1 c, c++@2 \"q\"@4 | -1 3 | 1=b 2=a 3=b | de:3:{\"a\": [1]} en::";
    let found = home.database.texts(FOUND).await;
    assert_eq!(
        found,
        [
            format!("1 {all}"),
            format!("2 {all}"),
            format!("3 {all}"),
            "4 Acme |  |  |  | ".to_owned()
        ]
    );
    // Nothing had to be written again in a savepoint, which would have had its own number.
    let transactions = "select count(distinct xmin::text) from (select xmin from posting union all
        select xmin from skill union all select xmin from number union all select xmin from line union all
        select xmin from languages union all select xmin from forebay.row_digest) t";
    assert_eq!(home.database.number(transactions).await, 1);
    // A row whose lists are empty lacks nothing.
    assert_eq!(home.run().done()["rows"]["unchanged"], 4);

    let versions = "select 'skill ' || posting || ' ' || name || ' ' || xmin from skill
        union all select 'number ' || id || ' ' || number || ' ' || xmin from number
        union all select 'line ' || id || ' ' || position || ' ' || xmin from line
        union all select 'languages ' || id || ' ' || language || ' ' || xmin from languages order by 1";
    let written = home.database.texts(versions).await;
    let changed = full(1)
        .texts("skills", ["rust", "sql"])
        .texts("numbers", ["4", "3"])
        .texts("line", ["b", "c"])
        .json(
            "languages",
            r#"[{"language": "fr", "level": null}, {"language": "en"}]"#,
        );
    let emptied = posting(2)
        .texts("skills", [])
        .texts("numbers", [])
        .texts("line", [])
        .json("languages", "[]");
    let after = [changed, emptied, full(3), full(4)];
    source.change(|_| script(after));
    let report = home.run().done();
    assert_eq!(report["rows"]["updated"], 3, "{report:#}");
    assert_eq!(
        home.database.texts(FOUND).await,
        [
            "1 Acme | rust@1 sql@2 | 3 4 | 1=b 2=c | en:: fr::".to_owned(),
            "2 Acme |  |  |  | ".to_owned(),
            format!("3 {all}"),
            format!("4 {all}")
        ]
    );
    // What was in the list before and still is, is not written again.
    let now = home.database.texts(versions).await;
    let kept: Vec<&str> = written
        .iter()
        .filter(|line| now.contains(line))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .filter(|line| line.contains(" 1 "))
        .collect();
    assert_eq!(
        kept,
        ["languages 1 en", "line 1 1", "number 1 3", "skill 1 rust"]
    );

    // Null is an empty list, and so is JSON's null.
    source.change(|_| script([posting(1), posting(3).json("languages", "null")]));
    assert_eq!(home.run().done()["rows"]["updated"], 2);
    let found = home.database.texts(FOUND).await;
    assert_eq!(found[0], "1 Acme |  |  |  | ");
    assert_eq!(found[2], "3 Acme |  |  |  | ");
}

/// Rows of which some have an item that is refused, by the codes.
const REFUSED: [(i64, &str); 7] = [
    (20, "SQL_22001"),
    (21, "SQL_23514"),
    (22, "VALUE_TYPE"),
    (23, "SQL_22P02"),
    (24, "SQL_23502"),
    (25, "SQL_22023"),
    (26, "VALUE_RANGE"),
];

fn spoilt(key: i64) -> RowBuilder {
    let row = full(key).text("company", "Bolt");
    match key {
        20 => row.texts("skills", ["rust", "a skill too long"]),
        21 => row.texts("skills", ["sql", "none"]),
        22 => row.texts("numbers", ["1", "one"]),
        23 => row.json("languages", r#"[{"language": "de", "level": "high"}]"#),
        24 => row.json("languages", r#"[{"level": 1}]"#),
        25 => row.json("languages", r#"{"language": "de"}"#),
        26 => row.texts("numbers", ["9223372036854775808"]),
        _ => row,
    }
}

#[tokio::test]
async fn an_item_that_is_refused_costs_its_row() {
    let (home, source) = started(&script((1..=300).map(spoilt))).await;
    let check = async |report: Value, fate: &str| {
        assert_eq!(report["rows"][fate], 293, "{report:#}");
        assert_eq!(report["rows"]["dead_lettered"], 7, "{report:#}");
        let codes = "select key || ' ' || code from forebay.dead_letter order by key::int";
        let expected: Vec<String> = REFUSED
            .iter()
            .map(|(key, code)| format!("{key} {code}"))
            .collect();
        assert_eq!(home.database.texts(codes).await, expected);
        let bolts = "select count(*) from posting where company = 'Bolt'";
        assert_eq!(home.database.number(bolts).await, 293);
        let skills = "select count(*) from skill";
        home.database.number(skills).await
    };
    // New rows are copied …
    assert_eq!(check(home.run().done(), "inserted").await, 3 * 293);
    // … known ones are compared with what is there.
    source.change(|_| script((1..=300).map(full)));
    assert_eq!(home.run().done()["rows"]["received"], 300);
    source.change(|_| script((1..=300).map(spoilt)));
    assert_eq!(check(home.run().done(), "updated").await, 3 * 300);
}
