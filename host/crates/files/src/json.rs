//! JSON lines as rows.
//!
//! An object is cut into its members without building it: a text without escapes stays a slice of
//! its line, nested values stay as they are written, and only numbers are parsed. The member that
//! comes last counts.

mod members;
mod numbers;

use std::borrow::Cow;
use std::collections::HashMap;

use arrow_cast::parse::string_to_datetime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use bytestring::ByteString;
use forebay_plugin_host::row::{FieldType, Value, Vector};
use serde::de::IgnoredAny;

pub(crate) use self::members::Members;
use self::numbers::append_f32;
pub(crate) use self::numbers::{Wrong, numbers};
use crate::pieces::{Line, Lines};
use crate::rows::{Rows, Shape};

/// What is in a line, by name.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Key,
    Column(usize, FieldType),
    Embedding(usize),
    /// An embedding that nobody wants.
    Unused,
}

/// Where the members of a row belong.
pub(crate) fn places<'s>(shape: &Shape<'s>) -> HashMap<&'s str, Place> {
    let columns = shape.schema.columns.iter().enumerate();
    let columns = columns.filter_map(|(index, column)| {
        let place = Place::Column(index, column.field_type?);
        Some((column.name.as_str(), place))
    });
    let embeddings = shape.schema.embeddings.iter().enumerate();
    let embeddings = embeddings.map(|(index, embedding)| {
        let place = match (shape.is_used)(index) {
            true => Place::Embedding(index),
            false => Place::Unused,
        };
        (embedding.name.as_str(), place)
    });
    let key = (shape.key, Place::Key);
    columns.chain(embeddings).chain([key]).collect()
}

fn wrong(message: impl Into<String>) -> Wrong {
    ("FIELD_TYPE", message.into())
}

/// Decodes lines into `rows`, the first into the row `at`.
pub(crate) fn decode(lines: &Lines, shape: &Shape<'_>, at: usize, rows: &mut Rows) {
    let places = places(shape);
    let beside: Vec<&str> = lines.beside.iter().map(|(name, _)| name.as_ref()).collect();
    let mut elements = BytesMut::new();
    let mut given = Vec::new();
    for (row, line) in (at..).zip(&lines.lines) {
        given.clear();
        given.resize(shape.schema.columns.len(), false);
        let Some(text) = readable(line, row, shape, rows) else {
            continue;
        };
        let mut members = Members::of(&text);
        loop {
            match members.next() {
                Ok(Some((name, value))) => {
                    let name = name.as_ref();
                    match places.get(name) {
                        Some(Place::Column(index, _)) => {
                            if let Some(slot) = given.get_mut(*index) {
                                *slot = true;
                            }
                        }
                        None if value != "null" && !beside.contains(&name) => {
                            unknown(row, name, rows);
                        }
                        _ => {}
                    }
                    if let Some(place) = places.get(name) {
                        let set = set(&text, value, *place, &mut elements, row, rows);
                        if let Err((code, message)) = set {
                            rows.fault(row, code, format!("`{name}` {message}"), Some(name));
                        }
                    }
                }
                Ok(None) => break,
                Err(message) => {
                    malformed(line, row, message, rows);
                    break;
                }
            }
        }
        leave_out(row, &given, shape, rows);
    }
}

fn leave_out(row: usize, given: &[bool], shape: &Shape<'_>, rows: &mut Rows) {
    for (index, column) in shape.schema.columns.iter().enumerate() {
        if column.field_type.is_some() && given.get(index) == Some(&false) {
            rows.leave_out(row, index);
        }
    }
}

#[cold]
fn unknown(row: usize, name: &str, rows: &mut Rows) {
    let message = format!(
        "the first rows have no field `{name}`, so its type is not known; declare it in `source.fields`"
    );
    rows.fault(row, "FIELD_UNKNOWN", message, Some(name));
}

#[cold]
fn malformed(line: &Line, row: usize, message: &str, rows: &mut Rows) {
    let message = match line.is_torn {
        true => format!("{message}; the file ends without ending the line, and may be cut off"),
        false => message.to_owned(),
    };
    rows.fault(row, "ROW_MALFORMED", message, None);
}

/// The text of a line; a fault if it is too large, or no UTF-8.
pub(crate) fn readable(
    line: &Line,
    row: usize,
    shape: &Shape<'_>,
    rows: &mut Rows,
) -> Option<ByteString> {
    let most = shape.max_row_bytes;
    if line.length > most as u64 {
        let message = format!(
            "the row has {} bytes; limits.row allows {most}",
            line.length
        );
        rows.fault(row, "ROW_TOO_LARGE", message, None);
        return None;
    }
    match ByteString::try_from(line.bytes.clone()) {
        Ok(text) => Some(text),
        Err(_) => {
            malformed(line, row, "the line is not UTF-8", rows);
            None
        }
    }
}

/// The last member of this name, as it is written.
pub(crate) fn member(text: &str, name: &str) -> Option<String> {
    let (mut members, mut found) = (Members::of(text), None);
    while let Ok(Some((other, value))) = members.next() {
        if other == name {
            found = Some(value.to_owned());
        }
    }
    found
}

/// Puts a value, as JSON, where it belongs.
fn set(
    line: &ByteString,
    value: &str,
    place: Place,
    elements: &mut BytesMut,
    row: usize,
    rows: &mut Rows,
) -> Result<(), Wrong> {
    match place {
        Place::Key => rows.key(row, key(line, value)?),
        Place::Column(column, field_type) => {
            rows.value(row, column, self::value(line, value, field_type)?);
        }
        Place::Embedding(index) if value != "null" => {
            rows.vector(row, index, vector(value, elements)?);
        }
        Place::Embedding(_) | Place::Unused => {}
    }
    Ok(())
}

/// A key: a text or an integer.
fn key(line: &ByteString, value: &str) -> Result<ByteString, Wrong> {
    match value.as_bytes().first() {
        Some(b'"') => text(line, value),
        Some(b'-' | b'0'..=b'9') if value.parse::<i128>().is_ok() => Ok(line.slice_ref(value)),
        _ if value == "null" => Ok(ByteString::new()),
        _ => Err(wrong("is the key, and neither a text nor an integer")),
    }
}

fn value(line: &ByteString, value: &str, declared: FieldType) -> Result<Value, Wrong> {
    if value == "null" {
        return Ok(Value::Null);
    }
    let not = |what: &str| wrong(format!("is not {what}"));
    Ok(match declared {
        FieldType::Boolean => Value::Boolean(value.parse().map_err(|_| not("a boolean"))?),
        FieldType::Integer => {
            Value::Integer(value.parse().map_err(|_| not("an integer of 64 bits"))?)
        }
        FieldType::Real => Value::Real(real(value).ok_or_else(|| not("a number"))?),
        FieldType::Text => Value::Text(text(line, value)?),
        FieldType::Timestamp => timestamp(&text(line, value)?)?,
        FieldType::Binary => binary(&text(line, value)?)?,
        FieldType::Texts => {
            let texts: Vec<Cow<'_, str>> =
                serde_json::from_str(value).map_err(|_| not("a list of texts"))?;
            Value::Texts(
                texts
                    .iter()
                    .map(|it| ByteString::from(it.as_ref()))
                    .collect(),
            )
        }
        FieldType::Json => {
            valid(value)?;
            Value::Json(line.slice_ref(value))
        }
    })
}

/// A number. `NaN` and `Infinity` are no JSON, but what Python writes.
fn real(value: &str) -> Option<f64> {
    match value {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if value.starts_with(|it: char| it == '-' || it.is_ascii_digit()) => value.parse().ok(),
        _ => None,
    }
}

/// A text, which shares its line unless it has escapes.
fn text(line: &ByteString, value: &str) -> Result<ByteString, Wrong> {
    let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(line.slice_ref(inner)),
        Some(_) => serde_json::from_str::<String>(value)
            .map(ByteString::from)
            .map_err(|error| wrong(format!("is not valid: {error}"))),
        None => Err(wrong("is not a text")),
    }
}

fn valid(value: &str) -> Result<(), Wrong> {
    let parsed = serde_json::from_str::<IgnoredAny>(value);
    parsed
        .map(drop)
        .map_err(|error| wrong(format!("is not JSON: {error}")))
}

/// A point in time (RFC 3339); without an offset it is UTC.
pub(crate) fn timestamp(text: &str) -> Result<Value, Wrong> {
    string_to_datetime(&chrono::Utc, text)
        .map(|time| Value::Timestamp(time.timestamp_micros()))
        .map_err(|_| wrong("is not a point in time, such as 2026-11-28T09:30:00Z"))
}

/// Bytes in base64.
pub(crate) fn binary(text: &str) -> Result<Value, Wrong> {
    let decoded = STANDARD.decode(text);
    decoded
        .map(|bytes| Value::Binary(bytes.into()))
        .map_err(|_| wrong("is not base64"))
}

/// JSON text of a field, where it comes as a text.
pub(crate) fn json(text: ByteString) -> Result<Value, Wrong> {
    valid(&text)?;
    Ok(Value::Json(text))
}

/// A list of numbers. `elements` is the buffer that the vectors of a chunk share.
pub(crate) fn vector(value: &str, elements: &mut BytesMut) -> Result<Vector, Wrong> {
    match append_f32(value, elements) {
        Ok(()) => Ok(Vector::F32(elements.split().freeze())),
        Err(wrong) => {
            elements.clear();
            Err(wrong)
        }
    }
}
