//! The members of a row: values and vectors, as `proto/forebay/v1/source.proto` defines them.

use bytes::{Buf, Bytes};
use prost::encoding::WireType;

use super::fault::{Fault, fault};
use super::wire::{delimited, member, skip, text, varint};
use crate::row::{Value, Vector};

/// Decodes a `forebay.v1.Value`: the last member counts; without one the value is null. Texts and
/// bytes become slices of `row`. `items` is the number of items that lists may still have.
pub(super) fn value(row: &Bytes, mut bytes: &[u8], items: &mut usize) -> Result<Value, Fault> {
    let mut value = Value::Null;
    while bytes.has_remaining() {
        let (tag, wire_type) = member(&mut bytes)?;
        value = match (tag, wire_type) {
            (1, WireType::Varint) => Value::Boolean(varint(&mut bytes)? != 0),
            (2, WireType::Varint) => Value::Integer(zigzag(varint(&mut bytes)?)),
            (3, WireType::SixtyFourBit) => match bytes.try_get_f64_le() {
                Ok(real) => Value::Real(real),
                Err(_) => return Err(fault("ROW_MALFORMED", "a real is cut off", None)),
            },
            (4, WireType::LengthDelimited) => Value::Text(text(row, delimited(&mut bytes)?)?),
            (5, WireType::LengthDelimited) => Value::Binary(row.slice_ref(delimited(&mut bytes)?)),
            (6, WireType::LengthDelimited) => timestamp(delimited(&mut bytes)?)?,
            (7, WireType::LengthDelimited) => texts(row, delimited(&mut bytes)?, items)?,
            (8, WireType::LengthDelimited) => json(row, delimited(&mut bytes)?)?,
            (1..=8, _) => {
                return Err(fault(
                    "ROW_MALFORMED",
                    "a value has the wrong wire type",
                    None,
                ));
            }
            _ => {
                skip(wire_type, tag, &mut bytes)?;
                continue;
            }
        };
    }
    Ok(value)
}

/// Decodes a `google.protobuf.Timestamp`, in whole microseconds.
pub(super) fn timestamp(mut bytes: &[u8]) -> Result<Value, Fault> {
    let (mut seconds, mut nanoseconds) = (0i64, 0i64);
    while bytes.has_remaining() {
        let (tag, wire_type) = member(&mut bytes)?;
        match (tag, wire_type) {
            (1, WireType::Varint) => seconds = varint(&mut bytes)?.cast_signed(),
            (2, WireType::Varint) => nanoseconds = varint(&mut bytes)?.cast_signed(),
            _ => skip(wire_type, tag, &mut bytes)?,
        }
    }
    let micros = seconds
        .checked_mul(1_000_000)
        .and_then(|micros| micros.checked_add(nanoseconds / 1_000));
    match micros {
        Some(micros) if (0..1_000_000_000).contains(&nanoseconds) => Ok(Value::Timestamp(micros)),
        _ => Err(fault("FIELD_TYPE", "the timestamp is out of range", None)),
    }
}

fn texts(row: &Bytes, mut bytes: &[u8], items: &mut usize) -> Result<Value, Fault> {
    let mut list = Vec::new();
    while bytes.has_remaining() {
        let (tag, wire_type) = member(&mut bytes)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => {
                *items = items.checked_sub(1).ok_or_else(too_many_items)?;
                list.push(text(row, delimited(&mut bytes)?)?);
            }
            _ => skip(wire_type, tag, &mut bytes)?,
        }
    }
    Ok(Value::Texts(list))
}

#[cold]
pub(super) fn too_many_items() -> Fault {
    let message = "the row's lists have more items than `limits.row` has room for, 32 bytes each";
    fault("ROW_TOO_LARGE", message, None)
}

fn json(row: &Bytes, bytes: &[u8]) -> Result<Value, Fault> {
    let json = text(row, bytes)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&json) {
        Ok(_) => Ok(Value::Json(json)),
        Err(error) => Err(fault("FIELD_TYPE", format!("not JSON: {error}"), None)),
    }
}

/// Decodes a `forebay.v1.Vector` as a slice of `row`; `None` if no member is set.
pub(super) fn vector(row: &Bytes, mut bytes: &[u8]) -> Result<Option<Vector>, Fault> {
    let mut vector = None;
    while bytes.has_remaining() {
        let (tag, wire_type) = member(&mut bytes)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => {
                vector = Some(Vector::F32(row.slice_ref(delimited(&mut bytes)?)))
            }
            (2, WireType::LengthDelimited) => {
                vector = Some(Vector::F16(row.slice_ref(delimited(&mut bytes)?)))
            }
            (1 | 2, _) => {
                return Err(fault(
                    "ROW_MALFORMED",
                    "a vector has the wrong wire type",
                    None,
                ));
            }
            _ => skip(wire_type, tag, &mut bytes)?,
        }
    }
    Ok(vector)
}

/// Index of the first element that is a NaN or an infinity: its exponent bits are all set.
pub(super) fn first_not_finite(vector: &Vector) -> Option<usize> {
    match vector {
        Vector::F32(bytes) => first(bytes, |element| {
            u32::from_le_bytes(element) & 0x7f80_0000 == 0x7f80_0000
        }),
        Vector::F16(bytes) => first(bytes, |element| {
            u16::from_le_bytes(element) & 0x7c00 == 0x7c00
        }),
    }
}

/// Index of the first element that is `bad`; usually there is none.
fn first<const WIDTH: usize>(bytes: &[u8], bad: impl Fn([u8; WIDTH]) -> bool) -> Option<usize> {
    let (elements, _) = bytes.as_chunks::<WIDTH>();
    // Folding without an early exit lets the compiler compare many elements at once.
    let any = elements
        .iter()
        .fold(false, |any, element| any | bad(*element));
    if any {
        elements.iter().position(|element| bad(*element))
    } else {
        None
    }
}

pub(super) fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
