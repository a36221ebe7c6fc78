//! Rows as plugins see them: borrowed, with the columns resolved once per batch.

use std::fmt::{self, Debug, Display};

use crate::bindings::forebay::packed::types::{Batch, Cells};
use crate::packed::{self, ValueRef};
use crate::{Field, Rejection, Value};

/// A row, borrowed from its batch.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    cells: &'a Cells,
    /// Index of the key among the cells; the values follow it.
    first: usize,
    index: u32,
}

impl<'a> Row<'a> {
    pub(crate) fn first(cells: &'a Cells) -> Self {
        let (first, index) = (0, 0);
        Self {
            cells,
            first,
            index,
        }
    }

    #[inline]
    pub fn key(self) -> &'a str {
        match ValueRef::at(self.cells, self.first) {
            ValueRef::Text(key) => key,
            _ => "",
        }
    }

    pub fn index(self) -> u32 {
        self.index
    }
}

/// A view of a row, made by [`columns!`](crate::columns!).
pub trait Record<'a>: Sized {
    /// Columns that the host passes to the plugin; all of them if it is `None`.
    const READS: Option<&'static [&'static str]>;
    /// Positions of the columns in a batch.
    type Layout;

    /// Finds the columns of a batch.
    fn layout(columns: &'a [String]) -> Self::Layout;

    /// Makes the view of one row.
    #[doc(hidden)]
    fn view(layout: &Self::Layout, row: Row<'a>) -> Self;

    /// The key, which identifies the row in the source and in the target tables.
    fn key(&self) -> &'a str;

    /// The row's index in its batch, as the functions of [`embeddings`](crate::embeddings) expect
    /// it.
    fn index(&self) -> u32;
}

/// Declares the columns that a plugin reads, as a struct of [`Cell`]s.
///
/// If a column's name is not a valid name in Rust, give the field another one: `kind = "type"`. A
/// column that the pipeline does not have is null in every row.
///
/// ```
/// forebay_plugin::columns! {
///     /// Columns that the rules check.
///     struct Posting {
///         company_name,
///         kind = "type",
///     }
/// }
/// ```
#[macro_export]
macro_rules! columns {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $($field:ident $(= $column:literal)?),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug)]
        $vis struct $name<'a> {
            $($field: $crate::Cell<'a>,)*
            __row: $crate::component::Row<'a>,
        }

        impl<'a> $crate::Record<'a> for $name<'a> {
            const READS: Option<&'static [&'static str]> =
                Some(&[$($crate::__column!($field $(= $column)?)),*]);
            type Layout = [Option<usize>; <$name<'static> as $crate::Record<'static>>::READS.unwrap().len()];

            fn layout(_columns: &'a [String]) -> Self::Layout {
                [$($crate::component::position(_columns, $crate::__column!($field $(= $column)?))),*]
            }

            #[inline]
            fn view(layout: &Self::Layout, row: $crate::component::Row<'a>) -> Self {
                let [$($field),*] = *layout;
                Self {
                    $($field: $crate::Cell::at($crate::__column!($field $(= $column)?), row, $field),)*
                    __row: row,
                }
            }

            fn key(&self) -> &'a str {
                self.__row.key()
            }

            fn index(&self) -> u32 {
                self.__row.index()
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __column {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident = $column:literal) => {
        $column
    };
}

/// A value with the name of its column.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    name: &'a str,
    value: ValueRef<'a>,
}

impl<'a> Cell<'a> {
    #[doc(hidden)]
    #[inline]
    pub fn at(name: &'a str, row: Row<'a>, position: Option<usize>) -> Self {
        let value = position.map_or(ValueRef::None, |position| {
            ValueRef::at(row.cells, row.first + 1 + position)
        });
        Self { name, value }
    }

    /// The column's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// A copy of the value.
    #[must_use]
    pub fn value(&self) -> Value {
        self.value.value()
    }

    /// True if the value is null, or the pipeline does not have the column.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self.value, ValueRef::None)
    }

    /// Makes a field that sets this column in an answer of `transform`.
    #[must_use]
    pub fn set(&self, value: impl Into<Value>) -> Field {
        Field {
            name: self.name.to_owned(),
            value: value.into(),
        }
    }

    /// Rejects the row because of this column. The message is the column's name and `what`, such
    /// as `is 61; it must be 0 to 60`.
    #[must_use]
    pub fn reject(&self, code: &str, what: &str) -> Rejection {
        Rejection {
            code: code.to_owned(),
            message: format!("{} {what}", self.name),
            field: Some(self.name.to_owned()),
        }
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])+ $name:ident: $variant:ident($value:ident), $type:ty;)+) => {
        impl<'a> Cell<'a> {
            $($(#[$doc])+
            #[must_use]
            #[inline]
            pub fn $name(&self) -> Option<$type> {
                match self.value {
                    ValueRef::$variant($value) => Some($value),
                    _ => None,
                }
            })+
        }
    };
}

getters! {
    /// The value, if it is a boolean.
    boolean: Boolean(value), bool;
    /// The value, if it is an integer.
    integer: Integer(value), i64;
    /// The value, if it is a real number.
    real: Real(value), f64;
    /// The value, if it is a text.
    text: Text(value), &'a str;
    /// The value, if it is binary.
    binary: Binary(value), &'a [u8];
    /// Microseconds since 1970-01-01T00:00:00Z, if it is a timestamp.
    timestamp: Timestamp(value), i64;
    /// The value's text, if it is JSON.
    json: Json(value), &'a str;
}

impl<'a> Cell<'a> {
    /// The items, if the value is a list of texts.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<&'a str>> {
        match self.value {
            ValueRef::Texts { items, text } => Some(packed::texts(items, text).collect()),
            _ => None,
        }
    }
}

impl Debug for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name, self.value())
    }
}

/// The column's name, for messages.
impl Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The rows of a batch, in order.
#[derive(Debug)]
pub struct Rows<'a, R: Record<'a>> {
    layout: R::Layout,
    next: Row<'a>,
    rows: u32,
    /// Number of cells of a row, including its key.
    width: usize,
}

impl<'a, R: Record<'a>> Rows<'a, R> {
    #[doc(hidden)]
    pub fn of(batch: &'a Batch) -> Self {
        Self {
            layout: R::layout(&batch.columns),
            next: Row::first(&batch.cells),
            rows: batch.rows,
            width: 1 + batch.columns.len(),
        }
    }
}

impl<'a, R: Record<'a>> Iterator for Rows<'a, R> {
    type Item = R;

    #[inline]
    fn next(&mut self) -> Option<R> {
        let row = self.next;
        if row.index == self.rows {
            return None;
        }
        self.next.first += self.width;
        self.next.index += 1;
        Some(R::view(&self.layout, row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.rows - self.next.index) as usize;
        (left, Some(left))
    }
}

impl<'a, R: Record<'a>> ExactSizeIterator for Rows<'a, R> {}

/// A row with every column of the pipeline.
#[derive(Clone, Copy, Debug)]
pub struct AllColumns<'a> {
    columns: &'a [String],
    row: Row<'a>,
}

impl<'a> AllColumns<'a> {
    /// All columns, in the order of the pipeline.
    pub fn cells(self) -> impl Iterator<Item = Cell<'a>> {
        let columns = self.columns.iter().enumerate();
        columns.map(move |(position, name)| Cell::at(name, self.row, Some(position)))
    }

    /// Finds a column by its name; null if the pipeline does not have it. This searches all
    /// columns: declare known columns with [`columns!`](crate::columns!).
    #[must_use]
    pub fn get<'n>(self, name: &'n str) -> Cell<'n>
    where
        'a: 'n,
    {
        let position = self.columns.iter().position(|column| column == name);
        Cell::at(name, self.row, position)
    }
}

impl<'a> Record<'a> for AllColumns<'a> {
    const READS: Option<&'static [&'static str]> = None;
    type Layout = &'a [String];

    fn layout(columns: &'a [String]) -> Self::Layout {
        columns
    }

    fn view(columns: &Self::Layout, row: Row<'a>) -> Self {
        Self { columns, row }
    }

    fn key(&self) -> &'a str {
        self.row.key()
    }

    fn index(&self) -> u32 {
        self.row.index()
    }
}

crate::columns! {
    /// A row with its key only: for plugins that look at embeddings, and for policies that
    /// decide by code.
    pub struct NoColumns {}
}
