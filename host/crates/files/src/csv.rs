//! CSV records as rows. An empty field is null.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use csv_core::ReadRecordResult;
use forebay_plugin_host::row::{FieldType, Value};

use crate::json::{
    Members, Place, Wrong, binary, json, numbers, places, readable, timestamp, vector,
};
use crate::pieces::Lines;
use crate::rows::{Rows, Shape};

/// The fields of a record; `None` if it is no CSV.
pub(crate) fn fields(record: &[u8]) -> Option<Vec<ByteString>> {
    let mut reader = csv_core::Reader::new();
    let mut texts = vec![0; record.len()];
    let commas = memchr::memchr_iter(b',', record).count();
    let mut ends = vec![0; commas + 2];
    let (mut read, mut written, mut ended) = (0, 0, 0);
    // The record ends with the input.
    loop {
        let input = record.get(read..)?;
        let room = texts.get_mut(written..)?;
        let (result, bytes, texts, fields) =
            reader.read_record(input, room, ends.get_mut(ended..)?);
        (read, written, ended) = (read + bytes, written + texts, ended + fields);
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record | ReadRecordResult::End => break,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return None,
        }
    }
    texts.truncate(written);
    let texts = Bytes::from(texts);
    let ends = ends.get(..ended)?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let slices = starts
        .zip(ends)
        .map(|(start, end)| texts.slice(start..*end));
    slices.map(|text| ByteString::try_from(text).ok()).collect()
}

/// Decodes records into `rows`, the first into the row `at`.
pub(crate) fn decode(
    lines: &Lines,
    header: &[String],
    shape: &Shape<'_>,
    at: usize,
    rows: &mut Rows,
) {
    let places = places(shape);
    let mut elements = BytesMut::new();
    for (row, line) in (at..).zip(&lines.lines) {
        if readable(line, row, shape, rows).is_none() {
            continue;
        }
        let fields = fields(&line.bytes).unwrap_or_default();
        if fields.len() != header.len() {
            let message = format!(
                "the record has {} fields; the header has {}",
                fields.len(),
                header.len()
            );
            rows.fault(row, "ROW_MALFORMED", message, None);
        }
        record(row, header, fields, &places, &mut elements, rows);
    }
}

fn record(
    row: usize,
    header: &[String],
    fields: Vec<ByteString>,
    places: &HashMap<&str, Place>,
    elements: &mut BytesMut,
    rows: &mut Rows,
) {
    for (name, text) in header.iter().zip(fields) {
        let set = match places.get(name.as_str()) {
            Some(Place::Key) => {
                rows.key(row, text);
                Ok(())
            }
            Some(Place::Column(column, field_type)) if !text.is_empty() => {
                value(text, *field_type).map(|value| rows.value(row, *column, value))
            }
            Some(Place::Embedding(index)) if !text.is_empty() => {
                vector(&text, elements).map(|vector| rows.vector(row, *index, vector))
            }
            _ => Ok(()),
        };
        if let Err((code, message)) = set {
            rows.fault(row, code, format!("`{name}` {message}"), Some(name));
        }
    }
}

fn value(text: ByteString, declared: FieldType) -> Result<Value, Wrong> {
    let not = |what: &str| ("FIELD_TYPE", format!("is not {what}"));
    Ok(match declared {
        FieldType::Text => Value::Text(text),
        FieldType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Value::Boolean(true),
            "false" | "f" | "0" => Value::Boolean(false),
            _ => return Err(not("a boolean")),
        },
        FieldType::Integer => {
            Value::Integer(text.parse().map_err(|_| not("an integer of 64 bits"))?)
        }
        FieldType::Real => Value::Real(text.parse().map_err(|_| not("a number"))?),
        FieldType::Timestamp => timestamp(&text)?,
        FieldType::Binary => binary(&text)?,
        FieldType::Json => json(text)?,
        FieldType::Texts => {
            let texts: Vec<String> =
                serde_json::from_str(&text).map_err(|_| not("a JSON list of texts"))?;
            Value::Texts(texts.into_iter().map(ByteString::from).collect())
        }
    })
}

/// A field as a value of JSON would look, to find out its type.
pub(crate) fn as_json(text: &str) -> String {
    let is_plain = text == "true"
        || text == "false"
        || text.parse::<i64>().is_ok_and(|it| it.to_string() == text)
        || is_real(text)
        || numbers(text).is_some_and(|mut all| all.all(is_real));
    if text.is_empty() {
        "null".into()
    } else if is_plain || (text.starts_with('{') && is_object(text)) {
        text.into()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// True for a number with a point or an exponent.
fn is_real(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let begins = digits.starts_with(|it: char| it.is_ascii_digit());
    let is_whole = digits.bytes().all(|it| it.is_ascii_digit());
    // Digits with a zero before them are rather a code.
    let is_code = is_whole && digits.len() > 1 && digits.starts_with('0');
    begins && !is_code && text.parse::<f64>().is_ok()
}

fn is_object(text: &str) -> bool {
    let mut members = Members::of(text);
    loop {
        match members.next() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
