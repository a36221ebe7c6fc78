#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int32Builder, ListBuilder, MapBuilder,
    StringBuilder, StringDictionaryBuilder,
};
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int32Type, UInt8Type};
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, Schema};
use forebay_plugin_host::row;
use forebay_plugin_host::row::{Value, Vector};
use half::f16;

use super::*;

/// Decodes a column, as the field or embedding that its type says.
fn decoded(array: ArrayRef) -> Rows {
    let meant = meaning(array.data_type()).unwrap();
    decoded_as(array, meant)
}

fn decoded_as(array: ArrayRef, meant: Meaning) -> Rows {
    let mut schema = row::Schema::default();
    match meant {
        Meaning::Nothing => {}
        Meaning::Field(field_type) => schema.columns.push(row::Column {
            name: "it".into(),
            field_type: Some(field_type),
        }),
        Meaning::Embedding(dimensions) => schema.embeddings.push(row::EmbeddingColumn {
            name: "it".into(),
            dimensions: dimensions.unwrap_or(2),
        }),
    }
    let rows = array.len();
    let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(
        0..i32::try_from(rows).unwrap(),
    ));
    let fields = [
        Field::new("id", DataType::Int32, false),
        Field::new("it", array.data_type().clone(), true),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![keys, array]);
    let shape = Shape {
        schema: &schema,
        key: "id",
        is_used: &|_| true,
        max_row_bytes: 1 << 20,
    };
    let mut decoded = Rows::new(rows, &schema);
    decode(&batch.unwrap(), &shape, 0, &mut decoded);
    let keys: Vec<String> = decoded.keys.iter().map(ToString::to_string).collect();
    assert_eq!(keys, (0..rows).map(|it| it.to_string()).collect::<Vec<_>>());
    decoded
}

#[track_caller]
fn check(array: impl Array + 'static, expected: &[Value]) {
    let rows = decoded(Arc::new(array));
    assert_eq!(rows.faults, []);
    assert_eq!(rows.values, expected);
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn json(text: &str) -> Value {
    Value::Json(text.into())
}

#[test]
fn whole_numbers_of_every_width_are_integers() {
    let expected = [Value::Integer(7), Value::Null, Value::Integer(120)];
    check(Int8Array::from(vec![Some(7), None, Some(120)]), &expected);
    check(Int16Array::from(vec![Some(7), None, Some(120)]), &expected);
    check(Int32Array::from(vec![Some(7), None, Some(120)]), &expected);
    check(Int64Array::from(vec![Some(7), None, Some(120)]), &expected);
    check(UInt8Array::from(vec![Some(7), None, Some(120)]), &expected);
    check(UInt16Array::from(vec![Some(7), None, Some(120)]), &expected);
    check(UInt32Array::from(vec![Some(7), None, Some(120)]), &expected);
    check(UInt64Array::from(vec![Some(7), None, Some(120)]), &expected);
}

#[test]
fn a_number_beyond_an_integer_costs_its_row() {
    let rows = decoded(Arc::new(UInt64Array::from(vec![1, u64::MAX])));
    assert_eq!(rows.values, [Value::Integer(1), Value::Null]);
    let fault = &rows.faults[0];
    assert_eq!((fault.row, fault.code), (1, "FIELD_TYPE"));
    assert_eq!(fault.message, "`it` is out of range: 18446744073709551615");
}

#[test]
fn floats_booleans_and_texts_of_every_layout() {
    let half = Float16Array::from(vec![Some(f16::from_f32(0.5)), None]);
    check(half, &[Value::Real(0.5), Value::Null]);
    check(Float32Array::from(vec![0.25]), &[Value::Real(0.25)]);
    check(Float64Array::from(vec![1e300]), &[Value::Real(1e300)]);
    check(
        BooleanArray::from(vec![Some(true), None, Some(false)]),
        &[Value::Boolean(true), Value::Null, Value::Boolean(false)],
    );
    let texts = [
        text("ä"),
        Value::Null,
        text(""),
        text("a text that is longer"),
    ];
    let from = vec![Some("ä"), None, Some(""), Some("a text that is longer")];
    check(StringArray::from(from.clone()), &texts);
    check(LargeStringArray::from(from.clone()), &texts);
    check(StringViewArray::from(from.clone()), &texts);
    // A slice begins in the middle of its buffer.
    check(StringArray::from(from).slice(2, 2), &texts[2..]);
    let mut dictionary = StringDictionaryBuilder::<UInt8Type>::new();
    dictionary.append_value("b");
    dictionary.append_null();
    dictionary.append_value("a");
    dictionary.append_value("b");
    check(
        dictionary.finish(),
        &[text("b"), Value::Null, text("a"), text("b")],
    );
    let bytes = |it: &[u8]| Value::Binary(it.to_vec().into());
    check(
        BinaryArray::from(vec![Some(&b"\0x"[..]), None]),
        &[bytes(b"\0x"), Value::Null],
    );
    check(
        LargeBinaryArray::from(vec![Some(&b"\0x"[..])]),
        &[bytes(b"\0x")],
    );
    check(
        BinaryViewArray::from(vec![Some(&b"\0x"[..])]),
        &[bytes(b"\0x")],
    );
    let mut fixed = FixedSizeBinaryBuilder::new(3);
    fixed.append_value(b"abc").unwrap();
    check(fixed.finish(), &[bytes(b"abc")]);
}

#[test]
fn times_of_every_unit_are_microseconds() {
    let at = |micros| [Value::Timestamp(micros), Value::Null];
    let zone = "Europe/Berlin";
    check(
        TimestampSecondArray::from(vec![Some(-1), None]),
        &at(-1_000_000),
    );
    check(
        TimestampMillisecondArray::from(vec![Some(5), None]),
        &at(5_000),
    );
    let zoned = TimestampMicrosecondArray::from(vec![Some(5), None]).with_timezone(zone);
    check(zoned, &at(5));
    // Rounded down, before 1970 too.
    check(
        TimestampNanosecondArray::from(vec![Some(-1), None]),
        &at(-1),
    );
    check(Date32Array::from(vec![Some(1), None]), &at(86_400_000_000));
    check(
        Date64Array::from(vec![Some(86_400_000), None]),
        &at(86_400_000_000),
    );
    let rows = decoded(Arc::new(TimestampSecondArray::from(vec![i64::MAX])));
    assert_eq!(rows.faults[0].code, "FIELD_TYPE");
    check(Time32SecondArray::from(vec![3_661]), &[text("01:01:01")]);
    check(
        Time64MicrosecondArray::from(vec![1_500_000]),
        &[text("00:00:01.500")],
    );
}

#[test]
fn decimals_keep_their_digits() {
    let decimal = Decimal128Array::from(vec![Some(-12_345), None]);
    let decimal = decimal.with_precision_and_scale(10, 2).unwrap();
    check(decimal, &[text("-123.45"), Value::Null]);
    let decimal = Decimal256Array::from(vec![i256::from_i128(i128::MAX)]);
    let decimal = decimal.with_precision_and_scale(76, 0).unwrap();
    check(decimal, &[text(&i128::MAX.to_string())]);
}

#[test]
fn nested_values_are_json() {
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None, Some(3)]);
    list.append_null();
    list.append_value([]);
    check(
        list.finish(),
        &[json("[1,null,3]"), Value::Null, json("[]")],
    );
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    let members: Vec<(_, ArrayRef)> = vec![
        (
            field("a\"b", DataType::Utf8),
            Arc::new(StringArray::from(vec![Some("x\ny"), None])),
        ),
        (
            field("n", DataType::Float64),
            Arc::new(Float64Array::from(vec![1.5, f64::NAN])),
        ),
        (
            field("b", DataType::Binary),
            Arc::new(BinaryArray::from(vec![&b"hi"[..], b""])),
        ),
        (
            field("t", DataType::Date32),
            Arc::new(Date32Array::from(vec![0, 1])),
        ),
    ];
    check(
        StructArray::from(members),
        &[
            json(r#"{"a\"b":"x\ny","n":1.5,"b":"aGk=","t":"1970-01-01"}"#),
            json(r#"{"a\"b":null,"n":"NaN","b":"","t":"1970-01-02"}"#),
        ],
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    map.append(true).unwrap();
    check(map.finish(), &[json(r#"{"k":1}"#), json("{}")]);
    let mut lists = ListBuilder::new(ListBuilder::new(Float32Builder::new()));
    lists.values().append_value([Some(0.5)]);
    lists.values().append_value([]);
    lists.append(true);
    check(lists.finish(), &[json("[[0.5],[]]")]);
}

#[test]
fn a_list_of_texts_has_no_nulls() {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a"), Some("b")]);
    list.append_null();
    list.append_value([Some("a"), None]);
    let rows = decoded(Arc::new(list.finish()));
    let both = Value::Texts(vec!["a".into(), "b".into()]);
    assert_eq!(rows.values, [both, Value::Null, Value::Null]);
    assert_eq!(rows.faults.len(), 1);
    assert_eq!(rows.faults[0].row, 2);
}

fn f32s(elements: &[f32]) -> Option<Vector> {
    let bytes: Vec<u8> = elements.iter().flat_map(|it| it.to_le_bytes()).collect();
    Some(Vector::F32(bytes.into()))
}

#[test]
fn vectors_of_every_layout() {
    let lists = || {
        vec![
            Some(vec![Some(1.0), Some(2.0)]),
            None,
            Some(vec![Some(3.0), Some(4.0)]),
        ]
    };
    let expected = [f32s(&[1.0, 2.0]), None, f32s(&[3.0, 4.0])];
    let check = |array: ArrayRef, expected: &[Option<Vector>]| {
        let rows = decoded(array);
        assert_eq!(rows.faults, []);
        assert_eq!(rows.vectors, expected);
    };
    let small = ListArray::from_iter_primitive::<Float32Type, _, _>(lists());
    check(Arc::new(small.slice(1, 2)), &expected[1..]);
    check(Arc::new(small), &expected);
    let large = LargeListArray::from_iter_primitive::<Float32Type, _, _>(lists());
    check(Arc::new(large), &expected);
    let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists(), 2);
    check(Arc::new(fixed.slice(1, 2)), &expected[1..]);
    check(Arc::new(fixed), &expected);
    let lists = lists().into_iter().map(|it| {
        it.map(|it| {
            it.into_iter()
                .map(|it| it.map(f64::from))
                .collect::<Vec<_>>()
        })
    });
    let double = ListArray::from_iter_primitive::<Float64Type, _, _>(lists.collect::<Vec<_>>());
    check(Arc::new(double.slice(1, 2)), &expected[1..]);
    check(Arc::new(double), &expected);
    let halves = vec![Some(vec![Some(f16::ONE), Some(f16::ZERO)])];
    let half = ListArray::from_iter_primitive::<Float16Type, _, _>(halves);
    let bytes = [f16::ONE, f16::ZERO].iter().flat_map(|it| it.to_le_bytes());
    check(
        Arc::new(half),
        &[Some(Vector::F16(bytes.collect::<Vec<u8>>().into()))],
    );
    // Whole numbers, where they are named as an embedding.
    let whole = vec![Some(vec![Some(1), Some(-2)])];
    let whole = ListArray::from_iter_primitive::<Int32Type, _, _>(whole);
    let rows = decoded_as(Arc::new(whole), Meaning::Embedding(Some(2)));
    assert_eq!(rows.vectors, [f32s(&[1.0, -2.0])]);
}

#[test]
fn a_vector_of_f32_shares_the_buffer_of_its_column() {
    let vectors = vec![
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(3.0), Some(4.0)]),
    ];
    let array = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2);
    let values = array
        .values()
        .as_primitive::<Float32Type>()
        .values()
        .inner()
        .as_ptr();
    let rows = decoded(Arc::new(array));
    let Some(Vector::F32(second)) = &rows.vectors[1] else {
        unreachable!()
    };
    assert_eq!(second.as_ptr(), values.wrapping_add(8));
}

#[test]
fn what_is_no_vector_costs_its_row() {
    let mut list = ListBuilder::new(Float64Builder::new());
    list.append_value([Some(1.0), None]);
    list.append_value([Some(1.0), Some(1e300)]);
    list.append_value([Some(1.0), Some(f64::INFINITY)]);
    list.append_value([Some(1.0), Some(2.0)]);
    let rows = decoded(Arc::new(list.finish()));
    let faults: Vec<_> = rows
        .faults
        .iter()
        .map(|it| (it.row, it.message.as_str()))
        .collect();
    let expected = [
        (0, "`it` has a null at element 1"),
        (1, "`it` has 1e300 at element 1, beyond the range of f32"),
    ];
    assert_eq!(faults, expected);
    // An infinity in the file is judged with all others.
    assert_eq!(rows.vectors[2], f32s(&[1.0, f32::INFINITY]));
    assert_eq!(rows.vectors[3], f32s(&[1.0, 2.0]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("[1]"), None]));
    let rows = decoded_as(texts, Meaning::Embedding(Some(1)));
    assert_eq!(rows.faults.len(), 1);
}

#[test]
fn a_row_that_is_too_large_is_found_in_its_batch() {
    let long = "x".repeat(2 << 20);
    let rows = decoded(Arc::new(StringArray::from(vec!["a", long.as_str(), "b"])));
    let faults: Vec<_> = rows.faults.iter().map(|it| (it.row, it.code)).collect();
    assert_eq!(faults, [(1, "ROW_TOO_LARGE")]);
}

#[test]
fn a_batch_of_many_vectors_has_no_row_that_is_too_large() {
    let vector = || Some((0..768).map(|it| Some(it as f32)).collect::<Vec<_>>());
    let vectors = (0..600).map(|_| vector());
    let list = ListArray::from_iter_primitive::<Float32Type, _, _>(vectors.clone());
    assert_eq!(decoded(Arc::new(list)).faults, []);
    let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 768);
    assert_eq!(decoded(Arc::new(fixed)).faults, []);
}

#[test]
fn keys_are_texts_integers_or_uuids() {
    let uuid = uuid::Uuid::from_u128(5);
    let mut uuids = FixedSizeBinaryBuilder::new(16);
    uuids.append_value(uuid.as_bytes()).unwrap();
    uuids.append_null();
    let keys = |array: ArrayRef| {
        assert!(key_kind(array.data_type()).is_some());
        let mut rows = Rows::new(array.len(), &row::Schema::default());
        keys::fill(&array, 0, "id", &mut rows);
        rows.keys
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(Arc::new(uuids.finish())),
        [uuid.to_string(), String::new()]
    );
    let integers = Int64Array::from(vec![Some(i64::MIN), None, Some(7)]);
    assert_eq!(keys(Arc::new(integers)), ["-9223372036854775808", "", "7"]);
    assert_eq!(
        keys(Arc::new(StringViewArray::from(vec![Some("a"), None]))),
        ["a", ""]
    );
    assert_eq!(key_kind(&DataType::Float64), None);
}
