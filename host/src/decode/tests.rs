#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use insta::assert_snapshot;
use prost::Message;

use super::*;
use crate::proto;
use crate::proto::value::Kind;
use crate::proto::vector::Elements;
use crate::row::{Column, EmbeddingColumn, FieldType};

const KEY: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
const MAX_ROW_BYTES: usize = 4_096;

fn schema() -> Schema {
    use FieldType::{Binary, Boolean, Integer, Json, Real, Text, Texts, Timestamp};
    let columns = [
        ("flag", Some(Boolean)),
        ("years", Some(Integer)),
        ("score", Some(Real)),
        ("title", Some(Text)),
        ("blob", Some(Binary)),
        ("posted", Some(Timestamp)),
        ("skills", Some(Texts)),
        ("extra", Some(Json)),
        // A column that only plugins can fill.
        ("filled", None),
    ];
    let column = |(name, field_type): (&str, _)| Column {
        name: name.into(),
        field_type,
    };
    let embedding = |name: &str, dimensions| EmbeddingColumn {
        name: name.into(),
        dimensions,
    };
    Schema {
        columns: columns.map(column).into(),
        embeddings: vec![embedding("half", 2), embedding("vector", 3)],
    }
}

fn decoder(key_type: KeyType) -> Decoder {
    Decoder {
        schema: Arc::new(schema()),
        key_type,
        max_row_bytes: MAX_ROW_BYTES,
        needs: Needs::default(),
        format: Format::Row,
    }
}

fn f32s(elements: &[f32]) -> Vec<u8> {
    elements
        .iter()
        .flat_map(|element| element.to_le_bytes())
        .collect()
}

fn vector(elements: Elements) -> proto::Vector {
    proto::Vector {
        elements: Some(elements),
    }
}

/// A row with a member of every kind.
fn row() -> proto::Row {
    let fields = [
        ("flag", Kind::Boolean(true)),
        ("years", Kind::Integer(-7)),
        ("score", Kind::Real(0.5)),
        ("title", Kind::Text("Bäcker".into())),
        ("blob", Kind::Binary(Bytes::from_static(b"\0\xff"))),
        (
            "posted",
            Kind::Timestamp(prost_types::Timestamp {
                seconds: 1,
                nanos: 2_999,
            }),
        ),
        (
            "skills",
            Kind::Texts(proto::Texts {
                values: vec!["a".into(), String::new()],
            }),
        ),
        ("extra", Kind::Json("{\"a\": [1]}".into())),
    ];
    let embeddings = [
        ("half", vector(Elements::F16(vec![0, 0x3c, 0, 0xc0].into()))),
        (
            "vector",
            vector(Elements::F32(f32s(&[1.0, -2.0, f32::MIN_POSITIVE]).into())),
        ),
    ];
    proto::Row {
        key: KEY.into(),
        fields: fields
            .map(|(name, kind)| (name.to_owned(), proto::Value { kind: Some(kind) }))
            .into(),
        embeddings: embeddings
            .map(|(name, vector)| (name.to_owned(), vector))
            .into(),
        deleted: false,
    }
}

/// The row, encoded, after `change`.
fn changed(change: impl FnOnce(&mut proto::Row)) -> Vec<u8> {
    let mut row = row();
    change(&mut row);
    row.encode_to_vec()
}

fn with_field(name: &str, kind: Kind) -> Vec<u8> {
    changed(|row| {
        drop(
            row.fields
                .insert(name.into(), proto::Value { kind: Some(kind) }),
        )
    })
}

fn with_vector(name: &str, elements: Elements) -> Vec<u8> {
    changed(|row| drop(row.embeddings.insert(name.into(), vector(elements))))
}

fn with_bytes(bytes: &[u8]) -> Vec<u8> {
    [row().encode_to_vec(), bytes.to_vec()].concat()
}

fn decode(key_type: KeyType, wire: Vec<u8>) -> Batch {
    decoder(key_type).decode(&Units::Messages(vec![wire.into()]))
}

/// The fate of the row of a batch of one, in words.
fn fate(batch: &Batch) -> String {
    match (batch.live.as_slice(), batch.failures.as_slice()) {
        ([0], []) => "live".into(),
        ([], []) if batch.deleted == [0] => "deleted".into(),
        ([], [failure]) => {
            assert_eq!(
                (failure.stage, failure.row, failure.attempt),
                (Stage::Decode, 0, 1)
            );
            let field = failure
                .field
                .as_ref()
                .map(|field| format!(" in {field}"))
                .unwrap_or_default();
            format!("{}{field}: {}", failure.code, failure.message)
        }
        other => panic!("neither live nor failed once: {other:?}"),
    }
}

#[test]
fn a_good_row_has_all_its_members() {
    let batch = decode(KeyType::Uuid, row().encode_to_vec());
    assert_eq!(fate(&batch), "live");
    assert_eq!(batch.keys, [KEY]);
    let expected = [
        Value::Boolean(true),
        Value::Integer(-7),
        Value::Real(0.5),
        Value::Text("Bäcker".into()),
        Value::Binary(Bytes::from_static(b"\0\xff")),
        Value::Timestamp(1_000_002),
        Value::Texts(vec!["a".into(), "".into()]),
        Value::Json("{\"a\": [1]}".into()),
        Value::Null,
    ];
    assert_eq!(batch.row(0), expected);
    assert_eq!(
        batch.embeddings.get(0, 0),
        Some(&Vector::F16(vec![0, 0x3c, 0, 0xc0].into()))
    );
    assert_eq!(
        batch.embeddings.get(0, 1),
        Some(&Vector::F32(f32s(&[1.0, -2.0, f32::MIN_POSITIVE]).into()))
    );
}

#[test]
fn texts_and_vectors_are_slices_of_the_received_buffer() {
    // As in a chunk: the row is a slice of a larger buffer.
    let wire = Bytes::from([vec![9; 100], row().encode_to_vec(), vec![9; 100]].concat());
    let received = wire.as_ptr_range();
    let batch =
        decoder(KeyType::Uuid).decode(&Units::Messages(vec![wire.slice(100..wire.len() - 100)]));
    let inside = |bytes: &[u8]| bytes.is_empty() || received.contains(&bytes.as_ptr());
    assert!(inside(batch.keys[0].as_bytes()));
    for value in batch.row(0) {
        match value {
            Value::Text(text) | Value::Json(text) => assert!(inside(text.as_bytes()), "{value:?}"),
            Value::Binary(bytes) => assert!(inside(bytes), "{value:?}"),
            Value::Texts(texts) => assert!(
                texts.iter().all(|text| inside(text.as_bytes())),
                "{value:?}"
            ),
            Value::Null
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::Real(_)
            | Value::Timestamp(_) => {}
        }
    }
    for vector in batch.embeddings.vectors.iter().flatten() {
        let (Vector::F32(bytes) | Vector::F16(bytes)) = vector;
        assert!(inside(bytes), "{vector:?}");
    }
}

#[test]
fn every_fault_has_its_code() {
    let timestamp = |seconds, nanos| Kind::Timestamp(prost_types::Timestamp { seconds, nanos });
    let faults = [
        // The wire.
        with_bytes(&[0x0a, 0x7f]),
        with_bytes(&[0x08, 0x01]),
        with_bytes(&[0x0a, 0x01, 0xff]),
        with_bytes(&[
            0x12, 0x0c, 0x0a, 0x05, b't', b'i', b't', b'l', b'e', 0x12, 0x03, 0x22, 0x01, 0xc0,
        ]),
        with_bytes(&[
            0x12, 0x0b, 0x0a, 0x05, b'y', b'e', b'a', b'r', b's', 0x12, 0x02, 0x20, 0x01,
        ]),
        with_bytes(&[
            0x1a, 0x0a, 0x0a, 0x04, b'h', b'a', b'l', b'f', 0x12, 0x02, 0x08, 0x01,
        ]),
        with_bytes(&[0x1c]),
        with_bytes(&[0x07]),
        with_field("title", Kind::Text("x".repeat(MAX_ROW_BYTES))),
        // The key.
        changed(|row| row.key.clear()),
        changed(|row| row.key = format!("{KEY}0")),
        changed(|row| row.key = "ключ ".repeat(100)),
        // Fields.
        with_field("salary", Kind::Integer(1)),
        with_field("filled", Kind::Integer(1)),
        with_field("years", Kind::Text("five".into())),
        with_field("flag", Kind::Integer(1)),
        with_field("score", Kind::Integer(1)),
        with_field("title", Kind::Boolean(true)),
        with_field("blob", Kind::Json("1".into())),
        with_field("posted", Kind::Real(1.0)),
        with_field("skills", Kind::Binary(Bytes::new())),
        with_field("extra", Kind::Texts(proto::Texts::default())),
        with_field("title", timestamp(0, 0)),
        with_field("posted", timestamp(i64::MAX, 0)),
        with_field("posted", timestamp(0, -1)),
        with_field("posted", timestamp(0, 1_000_000_000)),
        with_field("extra", Kind::Json("{\"a\": 1,}".into())),
        // Embeddings.
        changed(|row| drop(row.embeddings.remove("vector"))),
        changed(|row| {
            drop(
                row.embeddings
                    .insert("vector".into(), proto::Vector { elements: None }),
            )
        }),
        with_vector("other", Elements::F32(Bytes::new())),
        with_vector("vector", Elements::F32(f32s(&[1.0, 2.0]).into())),
        with_vector("vector", Elements::F32(f32s(&[1.0; 4]).into())),
        with_vector("vector", Elements::F32(vec![0; 13].into())),
        with_vector("vector", Elements::F16(vec![0; 12].into())),
        with_vector("vector", Elements::F32(f32s(&[1.0, 2.0, f32::NAN]).into())),
        with_vector(
            "vector",
            Elements::F32(f32s(&[1.0, f32::NEG_INFINITY, f32::NAN]).into()),
        ),
        with_vector("half", Elements::F16(vec![0, 0x7c, 0, 0].into())),
    ];
    let told: Vec<String> = faults
        .into_iter()
        .map(|wire| fate(&decode(KeyType::Uuid, wire)))
        .collect();
    assert_snapshot!(told.join("\n"), @r#"
    ROW_MALFORMED: a member is longer than the row
    ROW_MALFORMED: member 1 has the wrong wire type
    ROW_MALFORMED: a text is not UTF-8
    ROW_MALFORMED in title: a text is not UTF-8
    ROW_MALFORMED in years: a value has the wrong wire type
    ROW_MALFORMED: a vector has the wrong wire type
    ROW_MALFORMED: member 3 has the wrong wire type
    ROW_MALFORMED: failed to decode Protobuf message: invalid wire type value: 7
    ROW_TOO_LARGE: the row has 4312 bytes; limits.row allows 4096
    KEY_MISSING: the row has no key
    KEY_INVALID: `6f9619ff-8b86-d011-b42d-00c04fc964ff0` is not a uuid
    KEY_INVALID: `ключ ключ ключ ключ ключ ключ ключ ключ ключ ключ ключ ключ ` is not a uuid
    FIELD_UNKNOWN in salary: the dataset declares no field `salary`
    FIELD_UNKNOWN in filled: the dataset declares no field `filled`
    FIELD_TYPE in years: `years` is declared Integer but is a text
    FIELD_TYPE in flag: `flag` is declared Boolean but is an integer
    FIELD_TYPE in score: `score` is declared Real but is an integer
    FIELD_TYPE in title: `title` is declared Text but is a boolean
    FIELD_TYPE in blob: `blob` is declared Binary but is JSON
    FIELD_TYPE in posted: `posted` is declared Timestamp but is a real
    FIELD_TYPE in skills: `skills` is declared Texts but is binary
    FIELD_TYPE in extra: `extra` is declared Json but is texts
    FIELD_TYPE in title: `title` is declared Text but is a timestamp
    FIELD_TYPE in posted: the timestamp is out of range
    FIELD_TYPE in posted: the timestamp is out of range
    FIELD_TYPE in posted: the timestamp is out of range
    FIELD_TYPE in extra: not JSON: key must be a string at line 1 column 9
    EMBEDDING_MISSING in vector: `vector` is missing
    EMBEDDING_MISSING in vector: `vector` is missing
    EMBEDDING_UNKNOWN in other: the dataset declares no embedding `other`
    EMBEDDING_DIMENSIONS in vector: `vector` has 8 bytes; 3 dimensions need 12
    EMBEDDING_DIMENSIONS in vector: `vector` has 16 bytes; 3 dimensions need 12
    EMBEDDING_DIMENSIONS in vector: `vector` has 13 bytes; 3 dimensions need 12
    EMBEDDING_DIMENSIONS in vector: `vector` has 12 bytes; 3 dimensions need 6
    EMBEDDING_NOT_FINITE in vector: `vector` has a NaN or an infinity at element 2
    EMBEDDING_NOT_FINITE in vector: `vector` has a NaN or an infinity at element 1
    EMBEDDING_NOT_FINITE in half: `half` has a NaN or an infinity at element 0
    "#);
}

#[test]
fn a_key_must_fit_and_is_spelled_as_in_the_database() {
    let uuid = KEY.to_uppercase();
    let long = "k".repeat(MAX_KEY_BYTES);
    for (key_type, key, expected) in [
        (KeyType::Uuid, uuid.as_str(), Some(KEY)),
        (KeyType::Uuid, "6f9619ff8b86d011b42d00c04fc964ff", Some(KEY)),
        (
            KeyType::Uuid,
            "{6f9619ff-8b86-d011-b42d-00c04fc964ff}",
            Some(KEY),
        ),
        (KeyType::Uuid, "6f9619ff-8b86-d011-b42d-00c04fc964f", None),
        (KeyType::Integer(16), "32767", Some("32767")),
        (KeyType::Integer(16), "32768", None),
        (KeyType::Integer(32), "-2147483648", Some("-2147483648")),
        (KeyType::Integer(32), "2147483648", None),
        (KeyType::Integer(64), "+007", Some("7")),
        (KeyType::Integer(64), "-0", Some("0")),
        (
            KeyType::Integer(64),
            "9223372036854775807",
            Some("9223372036854775807"),
        ),
        (KeyType::Integer(64), "9223372036854775808", None),
        (KeyType::Integer(64), "1.0", None),
        (KeyType::Integer(64), " 1", None),
        (KeyType::Text, "Ünïcode ", Some("Ünïcode ")),
        (KeyType::Text, long.as_str(), Some(long.as_str())),
        (KeyType::Text, &format!("{long}k"), None),
        (KeyType::Text, "a\0b", None),
    ] {
        let batch = decode(key_type, changed(|row| row.key = key.into()));
        match expected {
            Some(expected) => {
                assert_eq!((fate(&batch).as_str(), &*batch.keys[0]), ("live", expected))
            }
            None => assert!(fate(&batch).starts_with("KEY_INVALID: "), "{key}"),
        }
    }
}

#[test]
fn the_key_of_a_row_that_is_too_large_is_known() {
    let batch = decode(
        KeyType::Uuid,
        with_field("title", Kind::Text("x".repeat(MAX_ROW_BYTES))),
    );
    assert_eq!(batch.keys, [KEY]);
    assert!(batch.row(0).iter().all(|value| *value == Value::Null));
}

#[test]
fn the_fields_of_a_row_that_failed_are_kept_for_the_policy() {
    let batch = decode(KeyType::Uuid, with_field("flag", Kind::Text("x".into())));
    assert_eq!(batch.row(0)[1], Value::Integer(-7));
    assert_eq!(batch.row(0)[0], Value::Null);
}

#[test]
fn only_the_key_of_a_tombstone_counts() {
    let tombstone = |key: &str| {
        let row = proto::Row {
            key: key.into(),
            deleted: true,
            ..Default::default()
        };
        row.encode_to_vec()
    };
    let fate_of = |wire| fate(&decode(KeyType::Uuid, wire));
    assert_eq!(fate_of(tombstone(KEY)), "deleted");
    assert_eq!(fate_of(changed(|row| row.deleted = true)), "deleted");
    let mut unfit = with_field("flag", Kind::Text("x".into()));
    unfit.extend(tombstone(""));
    assert_eq!(fate_of(unfit), "deleted");
    // The last duplicate wins.
    assert_eq!(fate_of(with_bytes(&[0x20, 1, 0x20, 0])), "live");
    let batch = decode(KeyType::Uuid, tombstone(&KEY.to_uppercase()));
    assert_eq!((fate(&batch).as_str(), &*batch.keys[0]), ("deleted", KEY));
    for (wire, fault) in [
        (tombstone(""), "KEY_MISSING"),
        (tombstone("7"), "KEY_INVALID"),
        (with_bytes(&[0x22, 1, 1]), "ROW_MALFORMED"),
        (
            [
                tombstone(KEY),
                with_field("title", Kind::Text("x".repeat(MAX_ROW_BYTES))),
            ]
            .concat(),
            "ROW_TOO_LARGE",
        ),
    ] {
        let fate = fate_of(wire);
        assert!(fate.starts_with(fault), "{fate}");
    }
}

#[test]
fn rows_without_a_readable_key_are_known() {
    let rows = [
        row().encode_to_vec(),
        changed(|row| row.key.clear()),
        changed(|row| row.key = "7".into()),
        with_field("title", Kind::Text("x".repeat(MAX_ROW_BYTES))),
        with_field("flag", Kind::Text("x".into())),
        vec![0xff; 20],
        [changed(|row| row.key = KEY.to_uppercase()), vec![0xff; 20]].concat(),
    ];
    let decoder = decoder(KeyType::Uuid);
    let units = Units::Messages(rows.map(Bytes::from).into());
    let mut batch = decoder.decode(&units);
    assert_eq!(batch.keyless, [1, 2, 5]);
    assert_eq!(batch.keys[6], KEY);
    // A retry does not count them twice.
    for row in [5, 1] {
        decoder.decode_row(&units, &mut batch, row);
    }
    assert_eq!(batch.keyless, [1, 2, 5]);
}

#[test]
fn unknown_members_are_skipped_and_the_last_duplicate_wins() {
    let title = |title: &str| {
        let fields = [(
            "title".to_owned(),
            proto::Value {
                kind: Some(Kind::Text(title.into())),
            },
        )]
        .into();
        proto::Row {
            key: String::new(),
            fields,
            embeddings: Default::default(),
            deleted: false,
        }
        .encode_to_vec()
    };
    // Members 15 to 18 of all wire types: varint, 64 bits, delimited, 32 bits.
    let unknown = [
        &[0x78, 0xff, 0x01][..],
        &[0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x8a, 0x01, 0x02, 0xff, 0xff],
        &[0x95, 0x01, 1, 2, 3, 4],
    ]
    .concat();
    let batch = decode(
        KeyType::Uuid,
        with_bytes(&[title("first"), unknown, title("last")].concat()),
    );
    assert_eq!(
        (fate(&batch).as_str(), &batch.row(0)[3]),
        ("live", &Value::Text("last".into()))
    );
    // A value whose members are all unknown is null.
    let wire = with_bytes(&[
        0x12, 0x0c, 0x0a, 0x05, b't', b'i', b't', b'l', b'e', 0x12, 0x03, 0x7a, 0x01, 0x00,
    ]);
    let batch = decode(KeyType::Uuid, wire);
    assert_eq!(
        (fate(&batch).as_str(), &batch.row(0)[3]),
        ("live", &Value::Null)
    );
}

#[test]
fn a_bad_row_costs_its_neighbours_nothing() {
    let rows = [
        row().encode_to_vec(),
        vec![0xff; 20],
        changed(|row| row.key.clear()),
        row().encode_to_vec(),
    ];
    let batch = decoder(KeyType::Uuid).decode(&Units::Messages(rows.map(Bytes::from).into()));
    assert_eq!(batch.live, [0, 3]);
    assert_eq!(batch.row(0), batch.row(3));
    let failed: Vec<_> = batch
        .failures
        .iter()
        .map(|failure| (failure.row, failure.code.as_str()))
        .collect();
    assert_eq!(failed, [(1, "ROW_MALFORMED"), (2, "KEY_MISSING")]);
}

#[test]
fn a_row_cut_off_anywhere_is_not_live() {
    let whole = row().encode_to_vec();
    for end in 0..whole.len() {
        let batch = decode(KeyType::Uuid, whole[..end].to_vec());
        assert_ne!(
            fate(&batch),
            "live",
            "cut off after {end} of {} bytes",
            whole.len()
        );
    }
}

/// splitmix64, so that a failure is reproducible.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[test]
fn no_input_panics_and_live_rows_are_complete() {
    let whole = row().encode_to_vec();
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let wire = if seed % 2 == 0 {
            (0..random.below(60)).map(|_| random.next() as u8).collect()
        } else {
            let mut wire = whole.clone();
            for _ in 0..=random.below(3) {
                let place = random.below(wire.len());
                wire[place] = random.next() as u8;
            }
            wire
        };
        let batch = decode(KeyType::Uuid, wire);
        if fate(&batch) == "live" {
            assert_eq!(batch.keys[0].len(), KEY.len(), "seed {seed}");
            let dimensions: Vec<_> = batch
                .embeddings
                .vectors
                .iter()
                .flatten()
                .map(Vector::dimensions)
                .collect();
            assert_eq!(dimensions, [2, 3], "seed {seed}");
        }
    }
}
