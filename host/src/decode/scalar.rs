//! Reads single values by their encoding.

use bytes::{Buf, Bytes};
use prost::encoding::WireType;

use super::fault::{Fault, fault, wrong_type};
use super::fields::{timestamp, zigzag};
use super::wire::{delimited, member, skip, text, varint};
use crate::message::Scalar;
use crate::row::Value;

/// Reads a value of a row: texts and bytes become slices of it.
#[inline]
pub(super) fn read(
    row: &Bytes,
    scalar: &Scalar,
    number: u32,
    wire_type: WireType,
    bytes: &mut &[u8],
) -> Result<Value, Fault> {
    use WireType::{LengthDelimited, SixtyFourBit, ThirtyTwoBit, Varint};
    Ok(match (scalar, wire_type) {
        (Scalar::Text, LengthDelimited) => Value::Text(text(row, delimited(bytes)?)?),
        (Scalar::Binary, LengthDelimited) => Value::Binary(row.slice_ref(delimited(bytes)?)),
        (Scalar::Boolean, Varint) => Value::Boolean(varint(bytes)? != 0),
        (Scalar::Int32, Varint) => Value::Integer(i64::from(low(varint(bytes)?).cast_signed())),
        (Scalar::UInt32, Varint) => Value::Integer(i64::from(low(varint(bytes)?))),
        (Scalar::Int64, Varint) => Value::Integer(varint(bytes)?.cast_signed()),
        (Scalar::SInt32, Varint) => Value::Integer(zigzag(u64::from(low(varint(bytes)?)))),
        (Scalar::SInt64, Varint) => Value::Integer(zigzag(varint(bytes)?)),
        (Scalar::UInt64, Varint) => unsigned(varint(bytes)?, number)?,
        (Scalar::Enum(names), Varint) => Value::Text(names.name(low(varint(bytes)?).cast_signed())),
        (Scalar::Fixed32, ThirtyTwoBit) => {
            Value::Integer(i64::from(whole(bytes.try_get_u32_le())?))
        }
        (Scalar::SFixed32, ThirtyTwoBit) => {
            Value::Integer(i64::from(whole(bytes.try_get_i32_le())?))
        }
        (Scalar::Float, ThirtyTwoBit) => Value::Real(f64::from(whole(bytes.try_get_f32_le())?)),
        (Scalar::Fixed64, SixtyFourBit) => unsigned(whole(bytes.try_get_u64_le())?, number)?,
        (Scalar::SFixed64, SixtyFourBit) => Value::Integer(whole(bytes.try_get_i64_le())?),
        (Scalar::Double, SixtyFourBit) => Value::Real(whole(bytes.try_get_f64_le())?),
        (Scalar::Timestamp, LengthDelimited) => timestamp(delimited(bytes)?)?,
        (Scalar::Duration, LengthDelimited) => duration(delimited(bytes)?)?,
        (Scalar::Wrapped(inner), LengthDelimited) => {
            let value = delimited(bytes)?;
            wrapped(row, inner, value)?
        }
        _ => return Err(wrong_type(number)),
    })
}

/// The lower half, as protobuf takes it.
#[expect(clippy::cast_possible_truncation, reason = "protobuf says so")]
fn low(value: u64) -> u32 {
    value as u32
}

fn whole<T>(value: Result<T, bytes::TryGetError>) -> Result<T, Fault> {
    value.map_err(|_| fault("ROW_MALFORMED", "a number is cut off", None))
}

fn unsigned(value: u64, number: u32) -> Result<Value, Fault> {
    i64::try_from(value).map(Value::Integer).map_err(|_| {
        let message = format!("field {number} is {value}, more than a signed integer holds");
        fault("FIELD_TYPE", message, None)
    })
}

/// The value in a wrapper such as `google.protobuf.StringValue`.
fn wrapped(row: &Bytes, inner: &Scalar, mut bytes: &[u8]) -> Result<Value, Fault> {
    let mut value = inner.zero();
    while bytes.has_remaining() {
        let (tag, wire_type) = member(&mut bytes)?;
        match tag {
            1 => value = read(row, inner, 1, wire_type, &mut bytes)?,
            _ => skip(wire_type, tag, &mut bytes)?,
        }
    }
    Ok(value)
}

/// A `google.protobuf.Duration` as protobuf's JSON has it.
fn duration(mut bytes: &[u8]) -> Result<Value, Fault> {
    let (mut seconds, mut nanoseconds) = (0i64, 0i32);
    while bytes.has_remaining() {
        let (tag, wire_type) = member(&mut bytes)?;
        match (tag, wire_type) {
            (1, WireType::Varint) => seconds = varint(&mut bytes)?.cast_signed(),
            (2, WireType::Varint) => nanoseconds = low(varint(&mut bytes)?).cast_signed(),
            (1 | 2, _) => return Err(wrong_type(tag)),
            _ => skip(wire_type, tag, &mut bytes)?,
        }
    }
    let agree = seconds == 0 || nanoseconds == 0 || (seconds > 0) == (nanoseconds > 0);
    if !agree || nanoseconds.unsigned_abs() >= 1_000_000_000 {
        let message = "the duration is not valid";
        return Err(fault("FIELD_TYPE", message, None));
    }
    let sign = if seconds < 0 || nanoseconds < 0 {
        "-"
    } else {
        ""
    };
    let mut text = format!("{sign}{}", seconds.unsigned_abs());
    if nanoseconds != 0 {
        let fraction = format!("{:09}", nanoseconds.unsigned_abs());
        text += ".";
        text += fraction.trim_end_matches('0');
    }
    text += "s";
    Ok(Value::Text(text.into()))
}
