//! Reads the members of an encoded message.
//!
//! All of it runs for each field of each row, so what is small is inlined.

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::fault::{Fault, fault};

fn malformed(error: prost::DecodeError) -> Fault {
    fault("ROW_MALFORMED", error.to_string(), None)
}

/// Tag and wire type of the next member. A key of one byte, as all of ours are, is read directly:
/// prost's function is made for longer ones.
#[inline(always)]
pub(super) fn member(bytes: &mut &[u8]) -> Result<(u32, WireType), Fault> {
    match bytes.split_first() {
        Some((first @ 8..0x80, rest)) => {
            *bytes = rest;
            let wire_type = WireType::try_from(u64::from(first & 7)).map_err(malformed)?;
            Ok((u32::from(first >> 3), wire_type))
        }
        _ => decode_key(bytes).map_err(malformed),
    }
}

/// The next varint. One of one byte is read directly.
#[inline(always)]
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    match bytes.split_first() {
        Some((first @ ..0x80, rest)) => {
            *bytes = rest;
            Ok(u64::from(*first))
        }
        _ => decode_varint(bytes).map_err(malformed),
    }
}

/// The bytes of a length-delimited member.
#[inline(always)]
pub(super) fn delimited<'r>(bytes: &mut &'r [u8]) -> Result<&'r [u8], Fault> {
    let length = usize::try_from(varint(bytes)?).ok();
    let Some((member, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
        let message = "a member is longer than the row";
        return Err(fault("ROW_MALFORMED", message, None));
    };
    *bytes = rest;
    Ok(member)
}

/// Skips the value of a member that is not known.
pub(super) fn skip(wire_type: WireType, tag: u32, bytes: &mut &[u8]) -> Result<(), Fault> {
    skip_field(wire_type, tag, bytes, DecodeContext::default()).map_err(malformed)
}

fn not_utf8<E>(_: E) -> Fault {
    fault("ROW_MALFORMED", "a text is not UTF-8", None)
}

#[inline]
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    str::from_utf8(bytes).map_err(not_utf8)
}

/// A text that shares the buffer of `row`.
#[inline]
pub(super) fn text(row: &Bytes, bytes: &[u8]) -> Result<ByteString, Fault> {
    ByteString::try_from(row.slice_ref(bytes)).map_err(not_utf8)
}

/// Key (member 1) and value (member 2) of a map's entry; either may be left out when empty. The key
/// is not checked to be UTF-8.
#[inline(always)]
pub(super) fn map_entry(mut entry: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (mut name, mut value) = (&[][..], &[][..]);
    while entry.has_remaining() {
        let (tag, wire_type) = member(&mut entry)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => name = delimited(&mut entry)?,
            (2, WireType::LengthDelimited) => value = delimited(&mut entry)?,
            _ => skip(wire_type, tag, &mut entry)?,
        }
    }
    Ok((name, value))
}
