//! Values of columns.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use bytestring::ByteString;
use forebay_plugin_host::row::{FieldType, Value};

use super::json;
use super::lists::Lists;
use super::texts;
use crate::rows::Rows;

/// A column of rows that is being filled.
pub(super) struct Column<'r> {
    pub rows: &'r mut Rows,
    pub name: &'r str,
    pub index: usize,
    /// The row of the array's first value.
    pub at: usize,
}

/// Matches the type of an array of numbers, and calls a method with it.
macro_rules! by_type {
    ($array:expr, $self:ident.$method:ident($convert:expr), $($data_type:ident => $arrow:ty),+) => {
        match $array.data_type() {
            $(DataType::$data_type => { $self.$method::<$arrow>($array, $convert); true })+
            _ => false,
        }
    };
}

impl Column<'_> {
    /// Sets the values of all rows, as a field of this type. Nulls stay null.
    pub(super) fn fill(&mut self, array: &ArrayRef, declared: FieldType) {
        let is_filled = match declared {
            FieldType::Boolean => self.booleans(array),
            FieldType::Integer => self.integers(array),
            FieldType::Real => self.reals(array),
            FieldType::Text => self.texts(array),
            FieldType::Binary => {
                texts::each(array, |row, bytes| self.put(row, Value::Binary(bytes)))
            }
            FieldType::Timestamp => self.timestamps(array),
            FieldType::Texts => self.lists(array),
            FieldType::Json => self.json(array),
        };
        if !is_filled {
            let message = format!(
                "`{}` is declared {declared:?} but is {}",
                self.name,
                array.data_type()
            );
            let valid = (0..array.len()).filter(|row| array.is_valid(*row));
            valid.for_each(|row| self.fault(row, message.clone()));
        }
    }

    fn put(&mut self, row: usize, value: Value) {
        self.rows.value(self.at + row, self.index, value);
    }

    fn fault(&mut self, row: usize, message: impl Into<String>) {
        let name = Some(self.name);
        self.rows.fault(self.at + row, "FIELD_TYPE", message, name);
    }

    fn booleans(&mut self, array: &dyn Array) -> bool {
        let Some(array) = array.as_boolean_opt() else {
            return false;
        };
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            self.put(row, Value::Boolean(array.value(row)));
        }
        true
    }

    /// Sets the values that `convert` makes; where it makes none, the value is out of range.
    fn numbers<T: ArrowPrimitiveType>(
        &mut self,
        array: &dyn Array,
        convert: impl Fn(T::Native) -> Option<Value>,
    ) {
        let array = array.as_primitive::<T>();
        for (row, value) in array.values().iter().enumerate() {
            if array.is_null(row) {
                continue;
            }
            match convert(*value) {
                Some(value) => self.put(row, value),
                None => {
                    let message = format!("`{}` is out of range: {value:?}", self.name);
                    self.fault(row, message);
                }
            }
        }
    }

    fn integers(&mut self, array: &ArrayRef) -> bool {
        by_type!(array, self.numbers(|it| i64::try_from(i128::from(it)).ok().map(Value::Integer)),
            Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
            UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type)
    }

    fn reals(&mut self, array: &ArrayRef) -> bool {
        by_type!(array, self.numbers(|it| Some(Value::Real(f64::from(it)))),
            Float16 => Float16Type, Float32 => Float32Type,
            Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type,
            UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type)
            || by_type!(array, self.numbers(|it| Some(Value::Real(it as f64))),
                Int64 => Int64Type, UInt64 => UInt64Type)
            || by_type!(array, self.numbers(|it| Some(Value::Real(it))), Float64 => Float64Type)
    }

    fn timestamps(&mut self, array: &ArrayRef) -> bool {
        const DAY: i64 = 86_400_000_000;
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        let times = |factor: i64| move |it: i64| it.checked_mul(factor).map(Value::Timestamp);
        match array.data_type() {
            DataType::Timestamp(Second, _) => {
                self.numbers::<TimestampSecondType>(array, times(1_000_000));
            }
            DataType::Timestamp(Millisecond, _) => {
                self.numbers::<TimestampMillisecondType>(array, times(1_000));
            }
            DataType::Timestamp(Microsecond, _) => {
                self.numbers::<TimestampMicrosecondType>(array, times(1));
            }
            DataType::Timestamp(Nanosecond, _) => {
                let micros = |it: i64| Some(Value::Timestamp(it.div_euclid(1_000)));
                self.numbers::<TimestampNanosecondType>(array, micros);
            }
            DataType::Date32 => {
                self.numbers::<Date32Type>(array, |it| Some(Value::Timestamp(i64::from(it) * DAY)));
            }
            DataType::Date64 => self.numbers::<Date64Type>(array, times(1_000)),
            _ => return false,
        }
        true
    }

    /// Texts are shared; what has no text type is written as one.
    fn texts(&mut self, array: &ArrayRef) -> bool {
        let is_shared = matches!(
            array.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        );
        if is_shared {
            return texts::each(array, |row, bytes| match ByteString::try_from(bytes) {
                Ok(text) => self.put(row, Value::Text(text)),
                Err(_) => {
                    let message = format!("`{}` is not UTF-8", self.name);
                    self.fault(row, message);
                }
            });
        }
        let options = FormatOptions::default();
        let is_plain = !array.data_type().is_nested() && !array.data_type().is_binary();
        let Some(format) = ArrayFormatter::try_new(array, &options)
            .ok()
            .filter(|_| is_plain)
        else {
            return false;
        };
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            match format.value(row).try_to_string() {
                Ok(text) => self.put(row, Value::Text(text.into())),
                Err(error) => self.fault(row, format!("`{}`: {error}", self.name)),
            }
        }
        true
    }

    fn lists(&mut self, array: &ArrayRef) -> bool {
        let Some(lists) = Lists::of(array) else {
            return false;
        };
        let mut items: Vec<Option<ByteString>> = vec![None; lists.items.len()];
        let are_texts = texts::each(&lists.items, |item, bytes| {
            if let Some(slot) = items.get_mut(item) {
                *slot = ByteString::try_from(bytes).ok();
            }
        });
        for (row, range) in lists.all() {
            let list: Option<Vec<ByteString>> = items
                .get(range)
                .and_then(|items| items.iter().cloned().collect());
            match list {
                Some(list) => self.put(row, Value::Texts(list)),
                None => {
                    let message = format!(
                        "`{}` has an item that is null or not UTF-8; a list of texts has neither",
                        self.name
                    );
                    self.fault(row, message);
                }
            }
        }
        are_texts
    }

    fn json(&mut self, array: &ArrayRef) -> bool {
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            let mut text = String::new();
            match json::write(array, row, &mut text) {
                Ok(()) => self.put(row, Value::Json(text.into())),
                Err(error) => self.fault(row, format!("`{}`: {error}", self.name)),
            }
        }
        true
    }
}
