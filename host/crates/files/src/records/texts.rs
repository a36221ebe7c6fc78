//! Texts and bytes that share the buffers of a column.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, OffsetSizeTrait};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use bytes::Bytes;

/// Gives `put` each row that is not null with its bytes; false if the column has neither texts nor
/// bytes.
pub(super) fn each(array: &ArrayRef, put: impl FnMut(usize, Bytes)) -> bool {
    match array.data_type() {
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            slices(array, array.values(), array.value_offsets(), put);
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            slices(array, array.values(), array.value_offsets(), put);
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            slices(array, array.values(), array.value_offsets(), put);
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            slices(array, array.values(), array.value_offsets(), put);
        }
        // Short ones are in the views themselves.
        DataType::Utf8View => {
            let array = array.as_string_view();
            copies(array, |row| array.value(row).as_bytes(), put);
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            copies(array, |row| array.value(row), put);
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            copies(array, |row| array.value(row), put);
        }
        _ => return false,
    }
    true
}

/// The buffer is shared: one owner for the column, and a slice a row.
fn slices<O: OffsetSizeTrait>(
    array: &dyn Array,
    values: &Buffer,
    offsets: &[O],
    mut put: impl FnMut(usize, Bytes),
) {
    let values = Bytes::from(values.clone());
    for (row, bounds) in offsets.windows(2).enumerate() {
        if let [start, end] = bounds
            && array.is_valid(row)
        {
            put(row, values.slice(start.as_usize()..end.as_usize()));
        }
    }
}

/// The bytes of all rows are copied into one buffer.
fn copies<'a>(
    array: &dyn Array,
    value: impl Fn(usize) -> &'a [u8],
    mut put: impl FnMut(usize, Bytes),
) {
    let valid = || (0..array.len()).filter(|row| array.is_valid(*row));
    let mut all = Vec::with_capacity(valid().map(|row| value(row).len()).sum());
    valid().for_each(|row| all.extend_from_slice(value(row)));
    let mut all = Bytes::from(all);
    for row in valid() {
        put(row, all.split_to(value(row).len()));
    }
}
