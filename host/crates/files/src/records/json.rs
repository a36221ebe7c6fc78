//! Nested values as JSON.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::lists::Lists;
use super::texts;

/// Appends a value as JSON. Numbers keep their digits; bytes are base64; times are as RFC 3339 says;
/// what JSON has no number for is a text, such as `"NaN"`.
pub(super) fn write(array: &ArrayRef, row: usize, into: &mut String) -> Result<(), ArrowError> {
    if array.is_null(row) {
        into.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => into.push_str("null"),
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let members = fields.iter().zip(array.columns());
            separated(into, "{", "}", members, |into, (field, column)| {
                quoted(field.name(), into);
                into.push(':');
                write(column, row, into)
            })?;
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = match entries.columns() {
                [keys, values] => (keys.clone(), values.clone()),
                _ => return Err(ArrowError::InvalidArgumentError("not a map".into())),
            };
            separated(into, "{", "}", 0..entries.len(), |into, entry| {
                quoted(&plain(&keys, entry)?, into);
                into.push(':');
                write(&values, entry, into)
            })?;
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = dictionary.normalized_keys().get(row).copied();
            write(dictionary.values(), key.unwrap_or_default(), into)?;
        }
        data_type => match Lists::of(array) {
            Some(lists) => {
                let range = lists.range(row).unwrap_or_default();
                separated(into, "[", "]", range, |into, item| {
                    write(&lists.items, item, into)
                })?;
            }
            None if is_bare(data_type) && is_finite(array, row) => {
                into.push_str(&plain(array, row)?)
            }
            None => quoted(&plain(array, row)?, into),
        },
    }
    Ok(())
}

/// Writes items between brackets.
fn separated<I>(
    into: &mut String,
    open: &str,
    close: &str,
    items: impl IntoIterator<Item = I>,
    mut write: impl FnMut(&mut String, I) -> Result<(), ArrowError>,
) -> Result<(), ArrowError> {
    into.push_str(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            into.push(',');
        }
        write(into, item)?;
    }
    into.push_str(close);
    Ok(())
}

/// True if values are written without quotes.
fn is_bare(data_type: &DataType) -> bool {
    data_type.is_numeric() || *data_type == DataType::Boolean
}

fn is_finite(array: &dyn Array, row: usize) -> bool {
    match array.data_type() {
        DataType::Float16 => array.as_primitive::<Float16Type>().value(row).is_finite(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_finite(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_finite(),
        _ => true,
    }
}

/// A value without quotes.
fn plain(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    if array.data_type().is_binary() || matches!(array.data_type(), DataType::FixedSizeBinary(_)) {
        let mut text = String::new();
        texts::each(&array.slice(row, 1), |_, bytes| {
            STANDARD.encode_string(bytes, &mut text);
        });
        return Ok(text);
    }
    let options = FormatOptions::default();
    ArrayFormatter::try_new(array, &options)?
        .value(row)
        .try_to_string()
}

/// Appends a text in quotes.
fn quoted(text: &str, into: &mut String) {
    // Writing to a text does not fail.
    write!(into, "{}", serde_json::Value::from(text)).unwrap_or_default();
}
