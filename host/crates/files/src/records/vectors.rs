//! Embeddings: lists of numbers as vectors.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::DataType;
use bytes::Bytes;
use forebay_plugin_host::row::Vector;

use super::lists::Lists;
use crate::rows::Rows;

/// The elements of a column's vectors, one after the other.
struct Elements {
    bytes: Bytes,
    /// Index of the first element.
    start: usize,
    /// Bytes of an element.
    width: usize,
    /// True if a finite number has become an infinity.
    overflows: bool,
}

/// Sets the vectors of all rows from `at` on.
pub(super) fn fill(array: &ArrayRef, at: usize, index: usize, name: &str, rows: &mut Rows) {
    let lists = Lists::of(array);
    let elements = lists
        .as_ref()
        .and_then(|lists| elements(&lists.items, lists.span()));
    let (Some(lists), Some(elements)) = (lists, elements) else {
        let message = format!("`{name}` is {}, which is no vector", array.data_type());
        let valid = (0..array.len()).filter(|row| array.is_valid(*row));
        valid.for_each(|row| rows.fault(at + row, "FIELD_TYPE", message.clone(), Some(name)));
        return;
    };
    let has_nulls = lists.items.null_count() > 0;
    for (row, range) in lists.all() {
        let null = has_nulls.then(|| range.clone().position(|item| lists.items.is_null(item)));
        if let Some(element) = null.flatten() {
            let message = format!("`{name}` has a null at element {element}");
            rows.fault(at + row, "EMBEDDING_NOT_FINITE", message, Some(name));
            continue;
        }
        if elements.overflows
            && let Some((element, value)) = too_large(&lists.items, range.clone())
        {
            let message =
                format!("`{name}` has {value:e} at element {element}, beyond the range of f32");
            rows.fault(at + row, "EMBEDDING_NOT_FINITE", message, Some(name));
            continue;
        }
        let bytes = elements.of(&range);
        let vector = match elements.width {
            2 => Vector::F16(bytes),
            _ => Vector::F32(bytes),
        };
        rows.vector(at + row, index, vector);
    }
}

impl Elements {
    fn of(&self, range: &Range<usize>) -> Bytes {
        let place = |item: usize| (item - self.start) * self.width;
        self.bytes.slice(place(range.start)..place(range.end))
    }
}

/// The elements within `span`: shared if they are f32 or f16, otherwise as f32.
fn elements(items: &ArrayRef, span: Range<usize>) -> Option<Elements> {
    let shared = |buffer: &arrow_buffer::Buffer, width| Elements {
        bytes: Bytes::from(buffer.clone()),
        start: 0,
        width,
        overflows: false,
    };
    Some(match items.data_type() {
        DataType::Float32 => shared(items.as_primitive::<Float32Type>().values().inner(), 4),
        DataType::Float16 => shared(items.as_primitive::<Float16Type>().values().inner(), 2),
        DataType::Float64 => converted::<Float64Type>(items, span, |it| it as f32),
        DataType::Int8 => converted::<Int8Type>(items, span, f32::from),
        DataType::Int16 => converted::<Int16Type>(items, span, f32::from),
        DataType::Int32 => converted::<Int32Type>(items, span, |it| it as f32),
        DataType::Int64 => converted::<Int64Type>(items, span, |it| it as f32),
        DataType::UInt8 => converted::<UInt8Type>(items, span, f32::from),
        DataType::UInt16 => converted::<UInt16Type>(items, span, f32::from),
        DataType::UInt32 => converted::<UInt32Type>(items, span, |it| it as f32),
        DataType::UInt64 => converted::<UInt64Type>(items, span, |it| it as f32),
        _ => return None,
    })
}

fn converted<T: ArrowPrimitiveType>(
    items: &ArrayRef,
    span: Range<usize>,
    convert: impl Fn(T::Native) -> f32,
) -> Elements {
    let start = span.start;
    let values = items.as_primitive::<T>().values().get(span);
    let values = values.unwrap_or_default();
    let mut bytes = Vec::with_capacity(values.len() * 4);
    let mut overflows = false;
    for value in values {
        let element = convert(*value);
        overflows |= element.is_infinite();
        bytes.extend_from_slice(&element.to_le_bytes());
    }
    Elements {
        bytes: bytes.into(),
        start,
        width: 4,
        overflows,
    }
}

/// The first element that is finite, and has become an infinity.
fn too_large(items: &ArrayRef, range: Range<usize>) -> Option<(usize, f64)> {
    let values = items
        .as_primitive_opt::<Float64Type>()?
        .values()
        .get(range)?;
    let mut values = values.iter().copied().enumerate();
    values.find(|(_, value)| value.is_finite() && (*value as f32).is_infinite())
}
