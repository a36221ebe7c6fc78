//! Values in one piece, in the layout of `wit/packed/packed.wit`: reads them in place, and packs
//! those of an answer.

use crate::bindings::forebay::packed::types::{Cells, Changes, Departure, Reason};
use crate::{Outcome, Value};

/// Numbers of the kinds, as `cells` in `wit/packed/packed.wit` defines them.
mod kind {
    pub(super) const NONE: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const INTEGER: u8 = 2;
    pub(super) const REAL: u8 = 3;
    pub(super) const TEXT: u8 = 4;
    pub(super) const BINARY: u8 = 5;
    pub(super) const TIMESTAMP: u8 = 6;
    pub(super) const JSON: u8 = 7;
    pub(super) const TEXTS: u8 = 8;
}

/// A value, borrowed from its batch.
#[derive(Clone, Copy)]
pub(crate) enum ValueRef<'a> {
    None,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Binary(&'a [u8]),
    Timestamp(i64),
    Json(&'a str),
    Texts { items: &'a [u64], text: &'a str },
}

impl<'a> ValueRef<'a> {
    /// Reads the value at this index; null if there is none.
    #[inline]
    pub(crate) fn at(cells: &'a Cells, place: usize) -> Self {
        let (Some(kind), Some(word)) = (cells.kinds.get(place), cells.words.get(place)) else {
            return Self::None;
        };
        match *kind {
            kind::BOOLEAN => Self::Boolean(*word != 0),
            kind::INTEGER => Self::Integer(word.cast_signed()),
            kind::REAL => Self::Real(f64::from_bits(*word)),
            kind::TEXT => Self::Text(text(&cells.text, *word)),
            kind::BINARY => Self::Binary(cells.binary.get(range(*word)).unwrap_or_default()),
            kind::TIMESTAMP => Self::Timestamp(word.cast_signed()),
            kind::JSON => Self::Json(text(&cells.text, *word)),
            kind::TEXTS => Self::Texts {
                items: cells.items.get(range(*word)).unwrap_or_default(),
                text: &cells.text,
            },
            _ => Self::None,
        }
    }

    /// Copies the value.
    pub(crate) fn value(self) -> Value {
        match self {
            Self::None => Value::None,
            Self::Boolean(x) => Value::Boolean(x),
            Self::Integer(x) => Value::Integer(x),
            Self::Real(x) => Value::Real(x),
            Self::Text(x) => Value::Text(x.to_owned()),
            Self::Binary(x) => Value::Binary(x.to_owned()),
            Self::Timestamp(x) => Value::Timestamp(x),
            Self::Json(x) => Value::Json(x.to_owned()),
            Self::Texts { items, text } => {
                Value::Texts(texts(items, text).map(str::to_owned).collect())
            }
        }
    }
}

/// The items of a list.
pub(crate) fn texts<'a>(items: &'a [u64], all: &'a str) -> impl Iterator<Item = &'a str> {
    items.iter().map(|item| text(all, *item))
}

#[inline]
fn text(all: &str, span: u64) -> &str {
    all.get(range(span)).unwrap_or_default()
}

#[inline]
fn range(span: u64) -> std::ops::Range<usize> {
    let (begin, length) = halves(span);
    begin..begin + length
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each half has 32 bits")]
fn halves(word: u64) -> (usize, usize) {
    ((word >> 32) as u32 as usize, word as u32 as usize)
}

fn joined(upper: usize, lower: usize) -> u64 {
    (upper as u64) << 32 | lower as u64
}

pub(crate) fn none() -> Cells {
    Cells {
        kinds: Vec::new(),
        words: Vec::new(),
        text: String::new(),
        binary: Vec::new(),
        items: Vec::new(),
    }
}

/// Appends a value.
pub(crate) fn push(cells: &mut Cells, value: &Value) {
    let (kind, word) = match value {
        Value::None => (kind::NONE, 0),
        Value::Boolean(x) => (kind::BOOLEAN, u64::from(*x)),
        Value::Integer(x) => (kind::INTEGER, x.cast_unsigned()),
        Value::Real(x) => (kind::REAL, x.to_bits()),
        Value::Text(x) => (kind::TEXT, push_text(cells, x)),
        Value::Binary(x) => {
            let begin = cells.binary.len();
            cells.binary.extend_from_slice(x);
            (kind::BINARY, joined(begin, x.len()))
        }
        Value::Timestamp(x) => (kind::TIMESTAMP, x.cast_unsigned()),
        Value::Json(x) => (kind::JSON, push_text(cells, x)),
        Value::Texts(x) => {
            let begin = cells.items.len();
            for item in x {
                let item = push_text(cells, item);
                cells.items.push(item);
            }
            (kind::TEXTS, joined(begin, x.len()))
        }
    };
    cells.kinds.push(kind);
    cells.words.push(word);
}

fn push_text(cells: &mut Cells, text: &str) -> u64 {
    let begin = cells.text.len();
    cells.text.push_str(text);
    joined(begin, text.len())
}

/// Packs the answer of `transform`: the outcomes of all rows, in order.
pub(crate) fn changes(outcomes: impl IntoIterator<Item = Outcome>) -> Changes {
    let mut changes = Changes {
        columns: Vec::new(),
        places: Vec::new(),
        cells: none(),
        gone: Vec::new(),
    };
    for (row, outcome) in (0..).zip(outcomes) {
        let why = match outcome {
            Outcome::Unchanged => continue,
            Outcome::Set(fields) => {
                for field in &fields {
                    let mut names = changes.columns.iter();
                    let known = names.position(|name| *name == field.name);
                    let column = known.unwrap_or_else(|| {
                        changes.columns.push(field.name.clone());
                        changes.columns.len() - 1
                    });
                    changes.places.push(joined(row as usize, column));
                    push(&mut changes.cells, &field.value);
                }
                continue;
            }
            Outcome::Drop(reason) => Reason::Drop(reason),
            Outcome::Reject(rejection) => Reason::Reject(rejection),
        };
        changes.gone.push(Departure { row, why });
    }
    changes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::{Field, Rejection};

    fn values() -> Vec<Value> {
        vec![
            Value::None,
            Value::Boolean(true),
            Value::Integer(i64::MIN),
            Value::Real(-0.5),
            Value::Text("ß 日本".to_owned()),
            Value::Binary(vec![0, 255]),
            Value::Timestamp(-1),
            Value::Json("[1]".to_owned()),
            Value::Texts(vec!["é".to_owned(), String::new(), "x".to_owned()]),
            Value::Text(String::new()),
        ]
    }

    #[test]
    fn values_survive_the_round_trip() {
        let mut cells = none();
        for value in values() {
            push(&mut cells, &value);
        }
        for (place, value) in values().into_iter().enumerate() {
            let read = ValueRef::at(&cells, place).value();
            assert_eq!(format!("{read:?}"), format!("{value:?}"));
        }
        assert!(matches!(
            ValueRef::at(&cells, values().len()),
            ValueRef::None
        ));
    }

    #[test]
    fn only_what_changes_is_answered() {
        let field = |name: &str, value| Field {
            name: name.to_owned(),
            value,
        };
        let changes = changes([
            Outcome::Unchanged,
            Outcome::Set(vec![
                field("b", Value::Integer(1)),
                field("a", Value::Text("t".to_owned())),
            ]),
            Outcome::dropped("OLD"),
            Outcome::Set(vec![field("b", Value::None)]),
            Rejection::new("CODE", "message").into(),
        ]);
        assert_eq!(changes.columns, ["b", "a"]);
        assert_eq!(changes.places, [1 << 32, 1 << 32 | 1, 3 << 32]);
        assert_eq!(changes.cells.kinds, [kind::INTEGER, kind::TEXT, kind::NONE]);
        assert_eq!(
            (changes.cells.words[1], changes.cells.text.as_str()),
            (1, "t")
        );
        let gone: Vec<_> = changes.gone.iter().map(|gone| gone.row).collect();
        assert_eq!(gone, [2, 4]);
        assert!(matches!(changes.gone[0].why, Reason::Drop(_)));
        assert!(matches!(changes.gone[1].why, Reason::Reject(_)));
    }
}
