//! Values and keys of every type arrive as they were sent.

use bytes::Bytes;
use forebay::proto::value::Kind;
use forebay::proto::vector::Elements;
use forebay::proto::{FieldType, Texts};
use half::f16;
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::support::{Home, Script, row};

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
