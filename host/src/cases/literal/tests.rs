#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use super::*;
use crate::cases::suite::{CaseRow, Suite};

fn row(fields: &str, embeddings: &str) -> CaseRow {
    let text = format!(
        "[[case]]\nname = \"n\"\n[[case.row]]\nkey = \"k\"\nfields = {{ {fields} }}\nembeddings = {{ {embeddings} }}\n"
    );
    let suite = Suite::parse(Path::new("test.toml"), &text);
    let suite = suite.unwrap_or_else(|error| panic!("{error}\n{text}"));
    suite.cases[0].rows[0].clone()
}

#[test]
fn values_are_read_back_as_they_were_written() {
    let text = |text: &str| Value::Text(ByteString::from(text));
    let values = [
        Value::Null,
        Value::Boolean(true),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Real(0.1),
        Value::Real(-0.0),
        Value::Real(1.0),
        Value::Real(5e-324),
        Value::Real(f64::MAX),
        Value::Real(f64::NEG_INFINITY),
        text(""),
        text("a \"b\" \\ 'c'\r\n\t\0\u{7f}\u{200b}\u{feff} é e\u{301} 🦀 \u{10ffff} \u{202e}x"),
        Value::Binary(Bytes::from_static(&[0, 255, 10])),
        Value::Timestamp(0),
        Value::Timestamp(-1),
        Value::Timestamp(1_767_225_600_123_456),
        Value::Timestamp(i64::MAX),
        Value::Timestamp(i64::MIN),
        Value::Json(ByteString::from_static("{\"a\": [1, \"\\u0000\"]}")),
        Value::Texts(Vec::new()),
        Value::Texts(vec![
            ByteString::from_static("a"),
            ByteString::from_static(""),
        ]),
    ];
    for value in values {
        let written = of_value(&value);
        let read = row(&format!("f = {written}"), "").fields[0].1.clone();
        assert_eq!(format!("{read:?}"), format!("{value:?}"), "{written}");
    }
    let nan = row(&format!("f = {}", of_value(&Value::Real(-f64::NAN))), "");
    assert!(matches!(nan.fields[0].1, Value::Real(x) if x.is_nan()));
}

#[test]
fn invisible_characters_are_escaped() {
    assert_eq!(
        of_text("a b\u{a0}\u{200b}é\0"),
        "\"a b\\u00a0\\u200bé\\u0000\""
    );
    assert_eq!(
        of_value(&Value::Timestamp(1_767_225_600_000_000)),
        "2026-01-01T00:00:00Z"
    );
    assert_eq!(
        of_value(&Value::Timestamp(i64::MAX)),
        format!("{{ timestamp = {} }}", i64::MAX)
    );
}

#[test]
fn vectors_are_read_back_bit_for_bit() {
    let odd = [
        f32::from_bits(1),
        f32::MAX,
        -0.0,
        0.1,
        16_777_217.0,
        f32::INFINITY,
    ];
    let vectors = [
        vectors::f32s(&[]),
        vectors::f32s(&[0.6, 0.8]),
        vectors::f32s(&odd),
        vectors::f32s(&[f32::NAN, -f32::NAN]),
        vectors::f32s(&[f32::from_bits(0x7fc0_0001)]),
        vectors::f16s(&[0.5, -2.0, 65_504.0]),
        vectors::random(3, 1_536, None),
        Vector::F32(Bytes::from_static(&[1, 2, 3])),
        Vector::F16(Bytes::from_static(&[1, 2, 3])),
    ];
    for vector in vectors {
        let written = of_vector(&vector);
        let read = row("", &format!("v = {written}")).embeddings[0].1.clone();
        assert_eq!(read, vector, "{written}");
    }
    assert_eq!(of_vector(&vectors::f32s(&[0.6, 0.8])), "[0.6, 0.8]");
    assert_eq!(of_vector(&vectors::f16s(&[0.5])), "{ f16 = [0.5] }");
}

#[test]
fn vectors_can_be_made_up() {
    let read = |text: &str| row("", &format!("v = {text}")).embeddings[0].1.clone();
    assert_eq!(
        read("{ fill = 2, dimensions = 3 }"),
        vectors::f32s(&[2.0; 3])
    );
    let made = read("{ random = 7, dimensions = 1536, norm = 2.0 }");
    assert_eq!(made, vectors::random(7, 1_536, Some(2.0)));
    assert_eq!(read("[1, 0.5]"), vectors::f32s(&[1.0, 0.5]));
}

#[test]
fn invalid_embeddings_are_reported() {
    let long = |element: &str| vec![element; MAX_DIMENSIONS + 1].join(", ");
    let (f32s, f16s) = (long("0"), BASE64.encode(vec![0; 2 * (MAX_DIMENSIONS + 1)]));
    for (vector, message) in [
        (
            "{ fill = 1, dimensions = 3, norm = 1.0 }",
            "`norm` cannot be combined with `fill`",
        ),
        (
            "{ f32 = [1, 2], norm = 1.0 }",
            "`norm` cannot be combined with `f32`",
        ),
        (
            "{ f32 = [1], dimensions = 7 }",
            "`dimensions` cannot be combined with `f32`",
        ),
        (
            "{ f32 = [1], f16 = [2] }",
            "`f32` cannot be combined with `f16`",
        ),
        (
            "{ fill = 1, random = 3, dimensions = 3 }",
            "`random` cannot be combined with `fill`",
        ),
        (
            "{ random = 3, dimensions = 3, norm = nan }",
            "`norm` is NaN; it must be 0 to 3.4028235e38",
        ),
        (
            "{ random = 3, dimensions = 3, norm = -1 }",
            "`norm` is -1.0; it must be 0 to 3.4028235e38",
        ),
        (
            "{ random = 3, dimensions = 3, norm = 1e39 }",
            "`norm` is 1e39; it must be 0 to 3.4028235e38",
        ),
        (
            "{ random = 3, dimensions = -1 }",
            "`dimensions` is -1; it must be 0 to 16000",
        ),
        ("[1, 1e39]", "1e39 is too large for an element"),
        (
            "{ fill = -1e39, dimensions = 1 }",
            "-1e39 is too large for an element",
        ),
        ("{ f16 = [65520] }", "65520.0 is too large for an element"),
        (
            &format!("[{f32s}]"),
            "has 16001 elements; the maximum is 16000",
        ),
        (
            &format!("{{ f16 = \"{f16s}\" }}"),
            "has 16001 elements; the maximum is 16000",
        ),
    ] {
        let text = format!(
            "[[case]]\nname = \"n\"\n[[case.row]]\nkey = \"k\"\nembeddings = {{ v = {vector} }}\n"
        );
        let error = Suite::parse(Path::new("c.toml"), &text).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("c.toml:5: case.row.embeddings.v: {message}")
        );
    }
    let infinite = row("", "v = [inf, -inf, nan, 3.4028235e38]");
    assert_eq!(infinite.embeddings[0].1.dimensions(), 4);
}
