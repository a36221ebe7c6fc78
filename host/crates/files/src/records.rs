//! Arrow record batches as rows.
//!
//! | Arrow type | field |
//! | --- | --- |
//! | Boolean | boolean |
//! | Int8 to Int64, UInt8 to UInt64 | integer |
//! | Float16, Float32, Float64 | real |
//! | Utf8, LargeUtf8, Utf8View | text |
//! | Decimal, Time, Duration, Interval | text |
//! | Binary, LargeBinary, BinaryView, FixedSizeBinary | binary |
//! | Timestamp (any unit and zone), Date32, Date64 | timestamp; without a zone it is UTC |
//! | List of texts | texts |
//! | List of Float16, Float32, Float64 | embedding |
//! | other lists, Struct, Map | JSON |
//! | Dictionary | as its values |
//!
//! List stands for List, LargeList and FixedSizeList. A list of integers is an embedding where it
//! is named as one. Buffers of texts, bytes, f32 and f16 are shared, not copied; f64 is narrowed, and
//! what is beyond the range of f32 is a fault.

mod json;
mod keys;
mod lists;
mod texts;
mod values;
mod vectors;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use forebay_plugin_host::row::FieldType;

pub(crate) use self::keys::key_kind;
pub(crate) use self::lists::most_common_length;
use crate::rows::{Rows, Shape};

/// What a column of this type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Only nulls.
    Nothing,
    /// A field.
    Field(FieldType),
    /// An embedding, with its dimensions if the type has them.
    Embedding(Option<usize>),
}

/// What a column of this type is; `None` if it cannot be read.
#[must_use]
pub(crate) fn meaning(data_type: &DataType) -> Option<Meaning> {
    use DataType as T;
    let field = match data_type {
        T::Null => return Some(Meaning::Nothing),
        T::Boolean => FieldType::Boolean,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => FieldType::Integer,
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => FieldType::Integer,
        T::Float16 | T::Float32 | T::Float64 => FieldType::Real,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => FieldType::Text,
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => {
            FieldType::Text
        }
        T::Time32(_) | T::Time64(_) | T::Duration(_) | T::Interval(_) => FieldType::Text,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => FieldType::Binary,
        T::Timestamp(..) | T::Date32 | T::Date64 => FieldType::Timestamp,
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => {
            return list(data_type, item.data_type());
        }
        T::Struct(_) | T::Map(..) => FieldType::Json,
        T::Dictionary(_, values) => return meaning(values),
        T::ListView(_) | T::LargeListView(_) | T::Union(..) | T::RunEndEncoded(..) => return None,
    };
    Some(Meaning::Field(field))
}

fn list(data_type: &DataType, item: &DataType) -> Option<Meaning> {
    let dimensions = match data_type {
        DataType::FixedSizeList(_, length) => usize::try_from(*length).ok(),
        _ => None,
    };
    Some(match item {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Meaning::Embedding(dimensions),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Meaning::Field(FieldType::Texts)
        }
        item => {
            meaning(item)?;
            Meaning::Field(FieldType::Json)
        }
    })
}

/// Decodes a batch into `rows`, its first row into the row `at`.
pub(crate) fn decode(batch: &RecordBatch, shape: &Shape<'_>, at: usize, rows: &mut Rows) {
    if let Some(array) = column(batch, shape.key) {
        keys::fill(&array, at, shape.key, rows);
    }
    for (index, declared) in shape.schema.columns.iter().enumerate() {
        let Some(field_type) = declared.field_type else {
            continue;
        };
        match column(batch, &declared.name) {
            Some(array) => {
                let mut column = values::Column {
                    rows: &mut *rows,
                    name: &declared.name,
                    index,
                    at,
                };
                column.fill(&array, field_type);
            }
            None => (0..batch.num_rows()).for_each(|row| rows.leave_out(at + row, index)),
        }
    }
    for (index, declared) in shape.schema.embeddings.iter().enumerate() {
        if let Some(array) = column(batch, &declared.name).filter(|_| (shape.is_used)(index)) {
            vectors::fill(&array, at, index, &declared.name, rows);
        }
    }
    check_sizes(batch, shape.max_row_bytes, at, rows);
}

/// A value as JSON.
pub(crate) fn as_json(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let array = column(batch, name)?;
    let mut text = String::new();
    json::write(&array, row, &mut text).ok()?;
    Some(text)
}

/// A column, with the values of a dictionary in their places.
fn column(batch: &RecordBatch, name: &str) -> Option<ArrayRef> {
    let array = batch.column_by_name(name)?;
    Some(match array.as_any_dictionary_opt() {
        // Fails only if a key is beyond the values, which the reader has checked.
        Some(dictionary) => {
            arrow_select::take::take(dictionary.values(), dictionary.keys(), None).ok()?
        }
        None => array.clone(),
    })
}

/// Finds rows that are too large. A batch that is small as a whole has none.
fn check_sizes(batch: &RecordBatch, most: usize, at: usize, rows: &mut Rows) {
    if batch.get_array_memory_size() <= most {
        return;
    }
    for row in 0..batch.num_rows() {
        let sizes = batch.columns().iter().map(|array| size(array, row));
        let size: usize = sizes.sum();
        if size > most {
            let message = format!("the row has {size} bytes; limits.row allows {most}");
            rows.fault(at + row, "ROW_TOO_LARGE", message, None);
        }
    }
}

/// Size of a value, in bytes. A slice of a list has all items of the column, so they are counted.
fn size(array: &ArrayRef, row: usize) -> usize {
    if let Some(lists) = lists::Lists::of(array) {
        let range = lists.range(row).unwrap_or_default();
        return match lists.items.data_type().is_nested() {
            true => range.map(|item| size(&lists.items, item)).sum(),
            false => memory(&lists.items, range.start, range.len()),
        };
    }
    match array.as_struct_opt() {
        Some(members) => members.columns().iter().map(|it| size(it, row)).sum(),
        None => memory(array, row, 1),
    }
}

fn memory(array: &dyn Array, from: usize, length: usize) -> usize {
    let sized = array.slice(from, length).to_data().get_slice_memory_size();
    sized.unwrap_or_default()
}

#[cfg(test)]
mod tests;
