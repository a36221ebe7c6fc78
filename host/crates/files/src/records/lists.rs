//! Lists of every layout as ranges of their items.

use std::collections::HashMap;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

/// The items of all lists of a column, and which of them each list has.
pub(super) struct Lists<'a> {
    array: &'a dyn Array,
    pub items: ArrayRef,
    ranges: Ranges<'a>,
}

enum Ranges<'a> {
    Fixed(usize),
    Small(&'a [i32]),
    Large(&'a [i64]),
}

impl<'a> Lists<'a> {
    /// `None` if the column has no lists.
    pub(super) fn of(array: &'a dyn Array) -> Option<Self> {
        let (items, ranges) = match array.data_type() {
            DataType::FixedSizeList(_, length) => {
                let list = array.as_fixed_size_list_opt()?;
                let length = usize::try_from(*length).ok()?;
                (list.values(), Ranges::Fixed(length))
            }
            DataType::List(_) => {
                let list = array.as_list_opt::<i32>()?;
                (list.values(), Ranges::Small(list.value_offsets()))
            }
            DataType::LargeList(_) => {
                let list = array.as_list_opt::<i64>()?;
                (list.values(), Ranges::Large(list.value_offsets()))
            }
            _ => return None,
        };
        Some(Self {
            array,
            items: items.clone(),
            ranges,
        })
    }

    /// The items of a row; `None` if the list is null.
    pub(super) fn range(&self, row: usize) -> Option<Range<usize>> {
        if self.array.is_null(row) {
            return None;
        }
        Some(match self.ranges {
            Ranges::Fixed(length) => row * length..(row + 1) * length,
            Ranges::Small(offsets) => offset(offsets, row)..offset(offsets, row + 1),
            Ranges::Large(offsets) => offset(offsets, row)..offset(offsets, row + 1),
        })
    }

    /// The lists that are not null, with their rows.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        (0..self.array.len()).filter_map(|row| Some((row, self.range(row)?)))
    }

    /// From the first to the last item of these rows.
    pub(super) fn span(&self) -> Range<usize> {
        let mut span: Option<Range<usize>> = None;
        for (_, range) in self.all() {
            let known = span.get_or_insert(range.clone());
            *known = known.start.min(range.start)..known.end.max(range.end);
        }
        span.unwrap_or_default()
    }
}

/// Offsets are not negative, which Arrow checks.
fn offset<T: Copy + TryInto<usize>>(offsets: &[T], at: usize) -> usize {
    let offset = offsets.get(at).copied();
    offset
        .and_then(|offset| offset.try_into().ok())
        .unwrap_or_default()
}

/// The most common number of items of a column's lists, and how often it is met; `None` if there is
/// no list.
pub(crate) fn most_common_length(array: &dyn Array) -> Option<(usize, u64)> {
    let lists = Lists::of(array)?;
    let mut lengths: HashMap<usize, u64> = HashMap::new();
    for (_, range) in lists.all() {
        *lengths.entry(range.len()).or_default() += 1;
    }
    lengths
        .into_iter()
        .max_by_key(|(length, count)| (*count, *length))
}
