//! Keys, as texts.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::DataType;
use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use super::texts;
use crate::key_kind::KeyKind;
use crate::rows::Rows;

/// What values of this type are as keys: texts, integers, or bytes that are UUIDs.
pub(crate) fn key_kind(data_type: &DataType) -> Option<KeyKind> {
    match data_type {
        DataType::Dictionary(_, values) => key_kind(values),
        DataType::FixedSizeBinary(16) => Some(KeyKind::Uuid),
        it if it.is_integer() => Some(KeyKind::Integer),
        it if it.is_string() => Some(KeyKind::Text),
        _ => None,
    }
}

/// Sets the keys of all rows from `at` on.
pub(super) fn fill(array: &ArrayRef, at: usize, name: &str, rows: &mut Rows) {
    if let DataType::FixedSizeBinary(16) = array.data_type() {
        let array = array.as_fixed_size_binary();
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            let uuid = Uuid::from_slice(array.value(row)).unwrap_or_default();
            rows.key(at + row, uuid.to_string().into());
        }
        return;
    }
    let is_text = texts::each(array, |row, bytes| match ByteString::try_from(bytes) {
        Ok(key) => rows.key(at + row, key),
        Err(_) => rows.fault(
            at + row,
            "ROW_MALFORMED",
            "the key is not UTF-8",
            Some(name),
        ),
    });
    if !is_text {
        let keys = match array.data_type() {
            DataType::Int8 => integers::<Int8Type>(array),
            DataType::Int16 => integers::<Int16Type>(array),
            DataType::Int32 => integers::<Int32Type>(array),
            DataType::Int64 => integers::<Int64Type>(array),
            DataType::UInt8 => integers::<UInt8Type>(array),
            DataType::UInt16 => integers::<UInt16Type>(array),
            DataType::UInt32 => integers::<UInt32Type>(array),
            DataType::UInt64 => integers::<UInt64Type>(array),
            _ => Vec::new(),
        };
        for (row, key) in keys.into_iter().enumerate() {
            rows.key(at + row, key);
        }
    }
}

/// The digits of all keys in one buffer; empty where the key is null.
fn integers<T: ArrowPrimitiveType<Native: std::fmt::Display>>(
    array: &dyn Array,
) -> Vec<ByteString> {
    let array = array.as_primitive::<T>();
    let mut digits = String::with_capacity(array.len() * 8);
    let mut ends = Vec::with_capacity(array.len());
    for key in array {
        if let Some(key) = key {
            // Writing to a text does not fail.
            write!(digits, "{key}").unwrap_or_default();
        }
        ends.push(digits.len());
    }
    let digits = Bytes::from(digits);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let slices = starts
        .zip(&ends)
        .map(|(start, end)| digits.slice(start..*end));
    slices
        .map(|key| ByteString::try_from(key).unwrap_or_default())
        .collect()
}
