//! Values and keys of every type arrive as they were sent, and as `proto/README.md` says.

use std::collections::BTreeSet;

use bytes::Bytes;
use forebay::proto::value::Kind;
use forebay::proto::vector::Elements;
use forebay::proto::{FieldType, Texts};
use half::f16;
use prost_types::Timestamp;
use serde_json::{Value, json};
use support::{Home, RowBuilder, Script, row};

#[tokio::test]
async fn values_of_every_type_arrive() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id text primary key, flag bool, tiny smallint, wide bigint, half real,
                 whole double precision, price numeric(10, 2), title varchar(20), raw bytea, at timestamptz,
                 day date, tags text[], extra jsonb, other uuid, updated_at timestamptz not null,
                 vector vector(2) not null)",
        )
        .await;
    let fields = [
        ("flag", FieldType::Boolean),
        ("tiny", FieldType::Integer),
        ("wide", FieldType::Integer),
        ("half", FieldType::Real),
        ("whole", FieldType::Real),
        ("price", FieldType::Real),
        ("title", FieldType::Text),
        ("raw", FieldType::Binary),
        ("at", FieldType::Timestamp),
        ("day", FieldType::Timestamp),
        ("tags", FieldType::Texts),
        ("extra", FieldType::Json),
        ("other", FieldType::Text),
    ];
    let moment = || {
        Kind::Timestamp(Timestamp {
            seconds: 1_234_567_890,
            nanos: 123_456_000,
        })
    };
    let tags = ["a", "", "with \"quotes\"", "{,}\\", "NULL", "ünï"].map(str::to_owned);
    let full = row("ключ 1", &[0.1, -2.5])
        .set("flag", Kind::Boolean(true))
        .set("tiny", Kind::Integer(-32_768))
        .set("wide", Kind::Integer(i64::MIN))
        .set("half", Kind::Real(0.5))
        .set("whole", Kind::Real(-0.1))
        .set("price", Kind::Real(12.25))
        .text("title", "twenty characters ✓")
        .set("raw", Kind::Binary(Bytes::from_static(&[0, 1, 255])))
        .set("at", moment())
        .set("day", moment())
        .set(
            "tags",
            Kind::Texts(Texts {
                values: tags.to_vec(),
            }),
        )
        .set("extra", Kind::Json("{\"a\": [1, null]}".to_owned()))
        .text("other", "6F9619FF-8B86-D011-B42D-00CF4FC964FF");
    let source = Script::new(2, &fields)
        .chunk([full, row("nulls", &[0.0, 1.0])])
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert_eq!(home.run().done()["rows"]["inserted"], 2);

    let found = home.database.texts(
        "select (to_jsonb(t) - 'updated_at' - 'at' || jsonb_build_object('at', at at time zone 'UTC'))::text
         from items t order by id <> 'nulls'",
    );
    let found: Vec<Value> = found
        .await
        .iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let expected = json!({
        "id": "ключ 1", "flag": true, "tiny": -32_768, "wide": i64::MIN, "half": 0.5, "whole": -0.1,
        "price": 12.25, "title": "twenty characters ✓", "raw": "\\x0001ff",
        "at": "2009-02-13T23:31:30.123456", "day": "2009-02-13", "tags": tags, "extra": { "a": [1, null] },
        "other": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "vector": "[0.1,-2.5]",
    });
    assert_eq!(found[1], expected);
    let nulls = found[0]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| value.is_null());
    assert_eq!(nulls.count(), fields.len(), "{}", found[0]);

    assert_eq!(home.run().done()["rows"]["unchanged"], 2);
}

#[tokio::test]
async fn halves_and_wholes_arrive_in_either_column() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table halves (id bigint primary key, vector halfvec(3) not null);
             create table wholes (id bigint primary key references halves, vector vector(3) not null)",
        )
        .await;
    let elements = [1.5_f32, -0.099_975_586, 65_504.0];
    let halves: Vec<u8> = elements
        .iter()
        .flat_map(|element| f16::from_f32(*element).to_le_bytes())
        .collect();
    let source = Script::new(3, &[])
        .chunk([
            row("1", &elements),
            row("-9223372036854775808", &[0.0; 3]).elements(Elements::F16(halves.into())),
            row("3", &[1.0, 2.0, 70_000.0]),
        ])
        .serve();
    home.configure(&source.pipeline(&["wholes", "halves"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 2, "{report:#}");
    assert_eq!(report["codes"][0]["code"], "VALUE_RANGE");
    let found = home.database.texts(
        "select id || ' ' || (h.vector::vector = w.vector) || ' ' || (w.vector <-> '[1.5,-0.099975586,65504]')
         from halves h join wholes w using (id) order by id",
    );
    assert_eq!(found.await, ["-9223372036854775808 true 0", "1 true 0"]);
}

#[tokio::test]
async fn different_spellings_of_a_key_are_one_key() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table by_uuid (id uuid primary key, vector vector(2) not null);
             create table by_number (id int primary key, vector vector(2) not null);
             create table by_text (id char(10) primary key, vector vector(2) not null);",
        )
        .await;
    let uuids = [
        "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
        "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
    ];
    for (table, spellings) in [
        ("by_uuid", uuids),
        ("by_number", ["7", "+007"]),
        ("by_text", ["a", "a  "]),
    ] {
        let chunk = (0_i16..)
            .zip(spellings)
            .map(|(place, key)| row(key, &[f32::from(place), 1.0]));
        let source = Script::new(2, &[]).chunk(chunk).serve();
        home.configure(
            &source
                .pipeline(&[table], "")
                .replace("pipelines.rows", &format!("pipelines.{table}")),
        );
        let report = home.run().done();
        assert_eq!(report["rows"]["dead_lettered"], 0, "{report:#}");
        assert_eq!(
            home.database
                .texts(&format!("select vector::text from {table}"))
                .await,
            ["[1,1]"]
        );
    }
}

/// A line of the table in `proto/README.md`.
struct Line {
    column: String,
    fed_by: Vec<String>,
    fits: String,
    stored: String,
    /// A value and its code.
    refused: Option<(String, String)>,
}

const FIELD_TYPES: [(&str, FieldType); 8] = [
    ("boolean", FieldType::Boolean),
    ("integer", FieldType::Integer),
    ("real", FieldType::Real),
    ("text", FieldType::Text),
    ("binary", FieldType::Binary),
    ("timestamp", FieldType::Timestamp),
    ("texts", FieldType::Texts),
    ("json", FieldType::Json),
];

const USERS_TYPES: &str = "create extension citext; create type level as enum ('low', 'high');
    create domain short as varchar(5) check (value <> 'none');";

fn documented() -> Vec<Line> {
    let table = include_str!("../../proto/README.md")
        .lines()
        .filter(|line| line.starts_with("| `"));
    let lines: Vec<Line> = table
        .map(|line| {
            let cells: Vec<String> = line
                .strip_suffix('|')
                .unwrap()
                .split('|')
                .skip(1)
                .map(|cell| cell.trim().trim_matches('`').replace('␀', "\0"))
                .collect();
            let [column, fed_by, fits, stored, refused, code] = cells.try_into().unwrap();
            Line {
                column,
                fed_by: fed_by.split(", ").map(str::to_owned).collect(),
                fits,
                stored,
                refused: (!code.is_empty()).then_some((refused, code)),
            }
        })
        .collect();
    assert!(lines.len() > 30);
    lines
}

/// A value as the table writes it.
fn value(field_type: &str, text: &str) -> Kind {
    match field_type {
        "boolean" => Kind::Boolean(text.parse().unwrap()),
        "integer" => Kind::Integer(text.parse().unwrap()),
        "real" => Kind::Real(text.parse().unwrap()),
        "text" => Kind::Text(text.to_owned()),
        "json" => Kind::Json(text.to_owned()),
        "timestamp" => Kind::Timestamp(match text.strip_prefix('@') {
            Some(seconds) => Timestamp {
                seconds: seconds.parse().unwrap(),
                nanos: 0,
            },
            None => text.parse().unwrap(),
        }),
        "texts" => Kind::Texts(Texts {
            values: serde_json::from_str(&text.replace('\0', "\\u0000")).unwrap(),
        }),
        "binary" => {
            let digits = text.strip_prefix("\\x").unwrap().as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
            Kind::Binary(digits.chunks(2).map(byte).collect())
        }
        other => panic!("no type {other}"),
    }
}

fn fed_first(line: &Line) -> FieldType {
    let known = FIELD_TYPES.iter();
    known
        .clone()
        .find(|(name, _)| *name == line.fed_by[0])
        .unwrap()
        .1
}

/// A table for each line: each goes its own way to the server, whatever the others need.
#[tokio::test]
async fn values_are_stored_or_refused_as_documented() {
    let (home, lines) = (Home::new().await, documented());
    home.database.execute(USERS_TYPES).await;
    let (mut fields, mut tables, mut rename) = (Vec::new(), Vec::new(), Vec::new());
    for (index, line) in lines.iter().enumerate() {
        let column = &line.column;
        let create = format!("create table t{index} (id text primary key, value {column})");
        home.database.execute(&create).await;
        fields.push((format!("f{index}"), fed_first(line)));
        tables.push(format!("t{index}"));
        rename.push(format!("f{index} = \"t{index}.value\""));
    }
    let fields: Vec<(&str, FieldType)> = fields.iter().map(|(name, t)| (&**name, *t)).collect();
    let tables: Vec<&str> = tables.iter().map(|name| &**name).collect();
    let all = |key: &str| {
        let row = row(key, &[1.0]);
        let set = |row: RowBuilder, (index, line): (usize, &Line)| {
            row.set(&format!("f{index}"), value(&line.fed_by[0], &line.fits))
        };
        lines.iter().enumerate().fold(row, set)
    };
    let refused = |prefix: &str| {
        let row = |(index, line): (usize, &Line)| {
            let (text, _) = line.refused.as_ref()?;
            let row = row(&format!("{prefix}{index}"), &[1.0]);
            Some(row.set(&format!("f{index}"), value(&line.fed_by[0], text)))
        };
        lines.iter().enumerate().filter_map(row).collect::<Vec<_>>()
    };
    let none = |prefix: &str| {
        let row = |index| row(&format!("{prefix}{index}"), &[1.0]);
        (0..lines.len()).map(row).collect::<Vec<_>>()
    };
    let stored = async |key: &str| {
        for (index, line) in lines.iter().enumerate() {
            let (column, stored) = (&line.column, line.stored.replace('\'', "''"));
            let found = home
                .database
                .texts(&format!(
                    "select coalesce(nullif(value::text, '{stored}'::{column}::text), 'as documented')
                     from t{index} where id = '{key}'"
                ))
                .await;
            assert_eq!(found, ["as documented"], "{key}: {column}");
            let nulls = format!("select count(*) from t{index} where value is null");
            assert_eq!(home.database.number(&nulls).await, 1 + lines.len() as i64);
        }
    };
    let codes = async |prefix: &str| {
        let letters = format!(
            "select substr(key, 4) || ' ' || code from forebay.dead_letter
             where starts_with(key, '{prefix}') order by substr(key, 4)::int"
        );
        let code = |(index, line): (usize, &Line)| {
            let (_, code) = line.refused.as_ref()?;
            Some(format!("{index} {code}"))
        };
        let expected: Vec<String> = lines.iter().enumerate().filter_map(code).collect();
        assert_eq!(home.database.texts(&letters).await, expected);
    };

    let first = [
        vec![all("one"), row("two", &[1.0])],
        none("old"),
        refused("new"),
    ];
    let source = Script::new(1, &fields).chunk(first.concat()).serve();
    let rename = format!(
        "rename = {{ {} }}\ndead_letter_limit = \"100%\"",
        rename.join(", ")
    );
    home.configure(&source.pipeline(&tables, &rename));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 2 + lines.len(), "{report:#}");
    stored("one").await;
    codes("new").await;

    // The same with rows that are there already, which are not copied.
    source.change(|_| {
        let second = [vec![row("one", &[1.0]), all("two")], refused("old")];
        Script::new(1, &fields).chunk(second.concat())
    });
    assert_eq!(home.run().done()["rows"]["updated"], 2);
    stored("two").await;
    codes("old").await;
}

#[tokio::test]
async fn columns_are_refused_to_all_fields_but_those_documented() {
    let (home, lines) = (Home::new().await, documented());
    home.database.execute(USERS_TYPES).await;
    let (mut fields, mut columns) = (Vec::new(), String::new());
    let mut expected = BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        for (name, field_type) in FIELD_TYPES {
            columns.push_str(&format!(", c{index}_{name} {}", line.column));
            fields.push((format!("c{index}_{name}"), field_type));
            if !line.fed_by.iter().any(|fed_by| fed_by == name) {
                expected.insert(format!("c{index}_{name}"));
            }
        }
    }
    let create = format!("create table items (id text primary key{columns})");
    home.database.execute(&create).await;
    let fields: Vec<(&str, FieldType)> = fields.iter().map(|(name, t)| (&**name, *t)).collect();
    let source = Script::new(1, &fields).chunk([row("k", &[1.0])]).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let ended = home.run();
    let refused: BTreeSet<String> = ended
        .log
        .lines()
        .filter_map(|line| line.split_once("items.c"))
        .filter_map(|(_, rest)| rest.split_once(": has type "))
        .map(|(column, _)| format!("c{column}"))
        .collect();
    assert_eq!(refused, expected);
    drop(ended.exit(2));
    assert_eq!(home.database.number("select count(*) from items").await, 0);
}

/// As texts and as reals, by `COPY` and by casts of the server, which have to agree.
#[tokio::test]
async fn numbers_arrive_to_the_last_digit() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table copied (id text primary key, exact numeric, rounded numeric(24, 3), real numeric);
             create table cast_by_server (id text primary key, real float8, day interval);",
        )
        .await;
    let fields = [
        ("exact", FieldType::Text),
        ("rounded", FieldType::Text),
        ("real", FieldType::Real),
    ];
    let numbers = [
        "0",
        "-0",
        "0.000",
        "000",
        ".5",
        "5.",
        "+7",
        "-1",
        "9999",
        "10000",
        "10001",
        "12345.6789",
        "0.0001",
        "0.00012345",
        "-0.00000000000000000012",
        "100000000",
        "1000000000000000",
        "1.50e3",
        "1e-5",
        "12E+2",
        "120e-1",
        "0001.1000",
        "99999999999999999.9995",
        " 3 ",
        "NaN",
    ];
    let large = [
        "1e300",
        "-1.7976931348623157e308",
        "5e-324",
        "inf",
        "-Infinity",
    ];
    let make = |(place, number): (usize, &&str)| {
        let row = row(number, &[1.0]);
        let row = row
            .set("real", Kind::Real(number.trim().parse().unwrap()))
            .text("exact", number);
        if place < numbers.len() {
            row.text("rounded", number)
        } else {
            row
        }
    };
    let rows = numbers.iter().chain(&large).enumerate().map(make);
    let source = Script::new(1, &fields).chunk(rows).serve();
    home.configure(&source.pipeline(&["copied", "cast_by_server"], ""));
    let report = home.run().done();
    assert_eq!(
        report["rows"]["inserted"],
        numbers.len() + large.len(),
        "{report:#}"
    );
    let wrong = "select format('%s: %s %s %s %s', id, exact, rounded, c.real, s.real)
        from copied c join cast_by_server s using (id)
        where exact::text <> id::numeric::text
            or case when rounded is not null then rounded::text <> id::numeric(24, 3)::text end
            or c.real::text <> s.real::text::numeric::text";
    assert_eq!(home.database.texts(wrong).await, Vec::<String>::new());
    assert_eq!(
        home.run().done()["rows"]["unchanged"],
        numbers.len() + large.len()
    );
}
