//! The expected bytes are written by hand from the `…_send` functions of PostgreSQL and pgvector.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;

use super::*;
use crate::row::Embeddings;

fn texts(texts: &[&str]) -> Value {
    Value::Texts(texts.iter().map(|text| (*text).into()).collect())
}

#[track_caller]
fn check(kind: ColumnKind, value: Value, expected: &[u8]) {
    let mut buffer = Vec::new();
    assert!(put_value(&mut buffer, kind, &value), "{kind:?} {value:?}");
    assert_eq!(buffer, expected, "{kind:?} {value:?}");
}

#[test]
fn values_are_encoded_as_the_server_sends_them() {
    use ColumnKind::{Boolean, Bytea, Date, Float4, Float8, Integer, Text, Timestamp, Uuid};
    const DAY: i64 = 86_400_000_000;
    check(Boolean, Value::Boolean(true), &[1]);
    check(Boolean, Value::Boolean(false), &[0]);
    check(Integer(2), Value::Integer(-2), &[0xff, 0xfe]);
    check(Integer(4), Value::Integer(258), &[0, 0, 1, 2]);
    check(
        Integer(8),
        Value::Integer(i64::MIN),
        &[0x80, 0, 0, 0, 0, 0, 0, 0],
    );
    check(Float4, Value::Real(1.5), &[0x3f, 0xc0, 0, 0]);
    check(Float4, Value::Integer(2), &[0x40, 0, 0, 0]);
    check(Float8, Value::Real(-2.0), &[0xc0, 0, 0, 0, 0, 0, 0, 0]);
    check(Float8, Value::Integer(1), &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
    check(Text, Value::Text("é".into()), &[0xc3, 0xa9]);
    check(Text, Value::Json("[1]".into()), b"[1]");
    check(
        Bytea,
        Value::Binary(Bytes::from_static(&[0, 255])),
        &[0, 255],
    );
    let uuid: Vec<u8> = (0..16).collect();
    check(
        Uuid,
        Value::Text("{00010203-0405-0607-0809-0A0B0C0D0E0F}".into()),
        &uuid,
    );
    check(
        Timestamp,
        Value::Timestamp(POSTGRES_EPOCH_MICROS + 258),
        &[0, 0, 0, 0, 0, 0, 1, 2],
    );
    check(
        Timestamp,
        Value::Timestamp(POSTGRES_EPOCH_MICROS - 1),
        &[0xff; 8],
    );
    // Days begin at midnight, before 2000 too.
    check(
        Date,
        Value::Timestamp(POSTGRES_EPOCH_MICROS + 2 * DAY - 1),
        &[0, 0, 0, 1],
    );
    check(
        Date,
        Value::Timestamp(POSTGRES_EPOCH_MICROS - 1),
        &[0xff; 4],
    );
    check(
        Date,
        Value::Timestamp(POSTGRES_EPOCH_MICROS - DAY),
        &[0xff; 4],
    );
}

#[test]
fn values_to_cast_are_sent_as_the_servers_own_text() {
    for (value, expected) in [
        (Value::Boolean(true), "true"),
        (Value::Integer(-5), "-5"),
        (Value::Real(0.1), "0.1"),
        (Value::Real(f64::NAN), "NaN"),
        (Value::Real(f64::NEG_INFINITY), "-inf"),
        (Value::Text("a\"b".into()), "a\"b"),
        (Value::Json("{}".into()), "{}"),
        (texts(&[]), "{}"),
        (
            texts(&["", "null", "a,b", "{x}", "say \"hi\"", "back\\slash", " é "]),
            r#"{"","null","a,b","{x}","say \"hi\"","back\\slash"," é "}"#,
        ),
    ] {
        check(ColumnKind::Cast, value, expected.as_bytes());
    }
}

#[test]
fn json_has_a_version_where_it_is_binary() {
    check(ColumnKind::Json, Value::Json("{}".into()), b"{}");
    check(ColumnKind::Jsonb, Value::Json("{}".into()), b"\x01{}");
    check(ColumnKind::Jsonb, Value::Boolean(true), b"\x01true");
    let list = texts(&["a\"", "\u{1}ü"]);
    check(
        ColumnKind::Jsonb,
        list,
        "\u{1}[\"a\\\"\",\"\\u0001ü\"]".as_bytes(),
    );
}

#[test]
fn texts_are_an_array_of_one_dimension_or_none() {
    let kind = ColumnKind::TextArray(25);
    check(kind, texts(&[]), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25]);
    let header = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1];
    let elements = [0, 0, 0, 0, 0, 0, 0, 1, b'a'];
    check(kind, texts(&["", "a"]), &[&header[..], &elements].concat());
}

#[test]
fn numbers_are_digits_to_the_base_of_10_000() {
    // In the order of `numeric_send`: number of digits, weight, sign, scale, and the digits.
    let check = |value: Value, expected: &[u16]| {
        let bytes: Vec<u8> = expected
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        check(ColumnKind::Numeric, value, &bytes);
    };
    let text = |text: &str| Value::Text(text.into());
    check(Value::Integer(0), &[0, 0, 0, 0]);
    check(text("0.00"), &[0, 0, 0, 2]);
    check(
        Value::Integer(i64::MIN),
        &[5, 4, 0x4000, 0, 922, 3372, 368, 5477, 5808],
    );
    check(text("10000"), &[1, 1, 0, 0, 1]);
    check(text("12345.678"), &[3, 1, 0, 3, 1, 2345, 6780]);
    check(text("-1.50"), &[2, 0, 0x4000, 2, 1, 5000]);
    check(Value::Real(0.000_12), &[2, 0xffff, 0, 5, 1, 2000]);
    check(Value::Real(1e22), &[1, 5, 0, 0, 100]);
    check(Value::Real(f64::NAN), &[0, 0, 0xc000, 0]);
    check(Value::Real(f64::NEG_INFINITY), &[0, 0, 0xf000, 0]);
}

#[test]
fn null_is_no_bytes() {
    for kind in [
        ColumnKind::Boolean,
        ColumnKind::Text,
        ColumnKind::Cast,
        ColumnKind::Uuid,
    ] {
        let mut buffer = Vec::new();
        assert!(!put_value(&mut buffer, kind, &Value::Null) && buffer.is_empty());
    }
}

#[test]
fn vectors_are_turned_to_big_endian() {
    let f32s = |elements: &[f32]| {
        Vector::F32(
            elements
                .iter()
                .flat_map(|element| element.to_le_bytes())
                .collect(),
        )
    };
    let f16s = |elements: &[f32]| {
        Vector::F16(
            elements
                .iter()
                .flat_map(|element| f16::from_f32(*element).to_le_bytes())
                .collect(),
        )
    };
    for (kind, vector, expected) in [
        (
            ColumnKind::Vector(Some(2)),
            f32s(&[1.0, -2.5]),
            &[0, 2, 0, 0, 0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0][..],
        ),
        (
            ColumnKind::Vector(None),
            f16s(&[1.0, -2.5]),
            &[0, 2, 0, 0, 0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0],
        ),
        (
            ColumnKind::HalfVec(Some(2)),
            f32s(&[1.0, -2.5]),
            &[0, 2, 0, 0, 0x3c, 0, 0xc1, 0],
        ),
        (
            ColumnKind::HalfVec(None),
            f16s(&[1.0, -2.5]),
            &[0, 2, 0, 0, 0x3c, 0, 0xc1, 0],
        ),
        // To the nearest, ties to even.
        (
            ColumnKind::HalfVec(None),
            f32s(&[1.000_488_3]),
            &[0, 1, 0, 0, 0x3c, 0],
        ),
        (
            ColumnKind::HalfVec(None),
            f32s(&[65_519.0]),
            &[0, 1, 0, 0, 0x7b, 0xff],
        ),
    ] {
        let mut buffer = Vec::new();
        assert!(put_vector(&mut buffer, kind, &vector));
        assert_eq!(buffer, expected, "{kind:?} {vector:?}");
    }
    let mut buffer = Vec::new();
    assert!(put_vector(
        &mut buffer,
        ColumnKind::Vector(None),
        &f32s(&[0.0; 16_000])
    ));
    assert_eq!(
        (buffer.len(), buffer.get(..4)),
        (64_004, Some(&[0x3e, 0x80, 0, 0][..]))
    );
}

/// Encodes the named rows of three that have one field.
fn array(kind: ColumnKind, source: ColumnSource, rows: &[u32]) -> (Vec<u8>, Option<PgTypeInfo>) {
    let column = crate::row::Column {
        name: "f".into(),
        field_type: None,
    };
    let batch = Batch {
        schema: crate::row::Schema {
            columns: vec![column],
            embeddings: Vec::new(),
        }
        .into(),
        keys: vec!["1".into(), "-1".into(), "7".into()],
        values: vec![Value::Integer(5), Value::Null, Value::Text("x".into())],
        embeddings: Embeddings::default(),
        ..Batch::default()
    };
    let column = Column {
        source,
        kind,
        type_oid: 23,
        array_oid: 1007,
    };
    let param = ArrayParam {
        batch: &batch,
        rows,
        column,
    };
    let mut buffer = PgArgumentBuffer::default();
    assert!(matches!(
        param.encode_by_ref(&mut buffer).unwrap(),
        IsNull::No
    ));
    (buffer.to_vec(), param.produces())
}

#[test]
fn an_array_has_its_header_and_its_nulls() {
    let header = |oid: u8, rows: u8| {
        [
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, oid, 0, 0, 0, rows, 0, 0, 0, 1,
        ]
    };
    let int4 = |bytes: [u8; 4]| [[0, 0, 0, 4], bytes].concat();
    let field = ColumnSource::Feed(Feed::Field(0));
    let null = [0xff; 4];

    let (bytes, oid) = array(ColumnKind::Integer(4), field, &[0, 1]);
    assert_eq!(
        bytes,
        [&header(23, 2)[..], &int4([0, 0, 0, 5]), &null].concat()
    );
    assert_eq!(oid, Some(PgTypeInfo::with_oid(Oid(1007))));

    let (bytes, _) = array(
        ColumnKind::Integer(4),
        ColumnSource::Feed(Feed::Key),
        &[2, 1],
    );
    assert_eq!(
        bytes,
        [&header(23, 2)[..], &int4([0, 0, 0, 7]), &int4([0xff; 4])].concat()
    );

    // A value to cast is sent as an array of text, whatever its column's type.
    let (bytes, oid) = array(ColumnKind::Cast, field, &[2]);
    assert_eq!(bytes, [&header(25, 1)[..], &[0, 0, 0, 1, b'x']].concat());
    assert_eq!(oid, Some(PgTypeInfo::with_oid(Oid(1009))));

    let (bytes, _) = array(ColumnKind::Integer(4), field, &[]);
    assert_eq!(bytes, header(23, 0));
}
