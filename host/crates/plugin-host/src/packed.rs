//! The packed form of the roles: passes the values of a batch to a guest in a few lists, and checks
//! the values that it sets.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;

use super::answer::{Cell, Changes, Faults, Gone, Question, Why, kept};
use super::bindings::packed::types;
use crate::row::{Schema, Value};

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

/// Maximum size of a buffer that is kept for the next call, in bytes.
const KEPT: usize = 1 << 20;

/// Packs the values of successive calls into the same memory.
#[derive(Debug, Default)]
pub(super) struct Packer {
    kinds: Vec<u8>,
    words: Vec<u64>,
    text: String,
    binary: Vec<u8>,
    items: Vec<u64>,
}

impl Packer {
    /// Lends the rows of a question for the duration of `call`.
    pub(super) fn with_batch<T>(
        &mut self,
        question: Question<'_>,
        call: impl FnOnce(types::Batch<'_>) -> T,
    ) -> T {
        self.clear();
        for row in question.rows {
            let key = self.text(question.key(*row));
            self.push(kind::TEXT, key);
            for value in question.values(*row) {
                self.value(value);
            }
        }
        call(types::Batch {
            columns: &question.names(),
            rows: u32::try_from(question.rows.len()).unwrap_or(u32::MAX),
            cells: types::CellsParam {
                kinds: &self.kinds,
                words: &self.words,
                text: &self.text,
                binary: &self.binary,
                items: &self.items,
            },
        })
    }

    fn clear(&mut self) {
        self.kinds.clear();
        self.words.clear();
        self.text.clear();
        self.binary.clear();
        self.items.clear();
        self.kinds.shrink_to(KEPT);
        self.words.shrink_to(KEPT / size_of::<u64>());
        self.text.shrink_to(KEPT);
        self.binary.shrink_to(KEPT);
        self.items.shrink_to(KEPT / size_of::<u64>());
    }

    fn push(&mut self, kind: u8, word: u64) {
        self.kinds.push(kind);
        self.words.push(word);
    }

    fn value(&mut self, value: &Value) {
        let (kind, word) = match value {
            Value::Null => (kind::NONE, 0),
            Value::Boolean(x) => (kind::BOOLEAN, u64::from(*x)),
            Value::Integer(x) => (kind::INTEGER, x.cast_unsigned()),
            Value::Real(x) => (kind::REAL, x.to_bits()),
            Value::Text(x) => (kind::TEXT, self.text(x)),
            Value::Binary(x) => {
                let begin = self.binary.len();
                self.binary.extend_from_slice(x);
                (kind::BINARY, span(begin, x.len()))
            }
            Value::Timestamp(x) => (kind::TIMESTAMP, x.cast_unsigned()),
            Value::Json(x) => (kind::JSON, self.text(x)),
            Value::Texts(x) => {
                let begin = self.items.len();
                for item in x {
                    let item = self.text(item);
                    self.items.push(item);
                }
                (kind::TEXTS, span(begin, x.len()))
            }
        };
        self.push(kind, word);
    }

    fn text(&mut self, text: &str) -> u64 {
        let begin = self.text.len();
        self.text.push_str(text);
        span(begin, text.len())
    }
}

/// A part too large for a span is too large for a guest's memory, too: no guest ever sees it.
fn span(begin: usize, length: usize) -> u64 {
    let part = |part| u64::from(u32::try_from(part).unwrap_or(u32::MAX));
    part(begin) << 32 | part(length)
}

/// Upper and lower half of a word.
fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

/// Checks an answer of `transform`. Its values may take up to `limit` bytes, counted one by one,
/// because spans may overlap.
///
/// # Errors
/// A message if the answer as a whole is invalid. A field that cannot be set fails only its row.
pub(super) fn changes(
    answer: types::Changes,
    rows: usize,
    schema: &Schema,
    limit: usize,
) -> Result<Changes, String> {
    let types::Changes {
        columns,
        places,
        cells,
        gone,
    } = answer;
    let mut cells = Cells::of(cells, places.len(), limit)?;
    let columns: Vec<_> = columns
        .iter()
        .map(|name| (name, schema.column(name)))
        .collect();

    let mut changes = Changes {
        cells: Vec::with_capacity(places.len()),
        gone: departures(gone, rows)?,
        shared: cells.text.len() + cells.binary.len(),
    };

    // One reason per row: a guest may repeat an invalid field a million times.
    let mut invalid = BTreeMap::new();
    for (at, place) in places.into_iter().enumerate() {
        let (row, column) = halves(place);
        let row = existing(row, rows)?;
        let Some((name, known)) = columns.get(column as usize) else {
            let named = columns.len();
            return Err(format!("set column {column} of {named} named columns"));
        };
        let value = cells.value(at)?;
        let Some(column) = *known else {
            invalid
                .entry(row)
                .or_insert_with(|| Why::unknown_field(name));
            continue;
        };
        if let Value::Json(text) = &value
            // Reads all of it, keeps none of it.
            && let Err(error) = serde_json::from_str::<IgnoredAny>(text)
        {
            let why = || Why::not_json(name, &error);
            invalid.entry(row).or_insert_with(why);
            continue;
        }
        changes.cells.push(Cell { row, column, value });
    }
    if !invalid.is_empty() {
        let invalid = invalid.into_iter().map(|(row, why)| Gone { row, why });
        changes.gone.extend(invalid);
        // The sort is stable: the first of several reasons counts.
        changes.gone.sort_by_key(|gone| gone.row);
        changes.gone.dedup_by_key(|gone| gone.row);
    }
    Ok(changes)
}

/// Checks the rows that leave the pipeline: ascending, each once.
fn departures(gone: Vec<types::Departure>, rows: usize) -> Result<Vec<Gone>, String> {
    let mut checked: Vec<Gone> = Vec::with_capacity(gone.len());
    for departure in gone {
        let row = existing(departure.row, rows)?;
        if checked.last().is_some_and(|last| last.row >= row) {
            return Err(format!(
                "dropped or rejected row {row} twice or out of order"
            ));
        }
        let why = match departure.why {
            types::Reason::Drop(reason) => Why::drop(reason),
            types::Reason::Reject(rejection) => Why::reject(rejection),
        };
        checked.push(Gone { row, why });
    }
    Ok(checked)
}

/// Checks an answer of `validate`.
///
/// # Errors
/// A message if the answer is invalid.
pub(super) fn faults(answer: Vec<types::Fault>, rows: usize) -> Result<Faults, String> {
    let mut last = 0;
    let checked = answer.into_iter().map(|fault| {
        let row = existing(fault.row, rows)?;
        if row < last {
            return Err(format!(
                "rejected row {row} after row {last}; rows must be ascending"
            ));
        }
        last = row;
        Ok((row, kept(fault.why)))
    });
    checked.collect()
}

fn existing(row: u32, rows: usize) -> Result<u32, String> {
    if (row as usize) < rows {
        Ok(row)
    } else {
        Err(format!("named row {row} of {rows} rows"))
    }
}

/// Values from a guest.
struct Cells {
    kinds: Vec<u8>,
    words: Vec<u64>,
    /// Text values are slices of it and share its memory.
    text: ByteString,
    binary: Bytes,
    items: Vec<u64>,
    /// Maximum bytes of all values, counted value by value.
    limit: usize,
    /// Bytes left of `limit`.
    left: usize,
}

impl Cells {
    fn of(cells: types::CellsResult, places: usize, limit: usize) -> Result<Self, String> {
        let (kinds, words) = (cells.kinds.len(), cells.words.len());
        if kinds != places || words != places {
            return Err(format!(
                "set {places} places with {kinds} kinds and {words} words"
            ));
        }
        Ok(Self {
            kinds: cells.kinds,
            words: cells.words,
            text: cells.text.into(),
            binary: cells.binary.into(),
            items: cells.items,
            limit,
            left: limit,
        })
    }

    /// Counts bytes that the host has to keep for a value.
    fn keep(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| {
            let limit = self.limit;
            format!("set values of more than {limit} bytes (`plugins.limits.output`)")
        })?;
        Ok(())
    }

    fn value(&mut self, at: usize) -> Result<Value, String> {
        let (Some(kind), Some(word)) = (self.kinds.get(at), self.words.get(at)) else {
            return Err(format!("set a value that is missing ({at})"));
        };
        let (kind, word) = (*kind, *word);
        self.keep(size_of::<Cell>())?;
        Ok(match kind {
            kind::NONE => Value::Null,
            kind::BOOLEAN => Value::Boolean(word != 0),
            kind::INTEGER => Value::Integer(word.cast_signed()),
            kind::REAL => Value::Real(f64::from_bits(word)),
            kind::TEXT => Value::Text(self.text(word)?),
            kind::BINARY => Value::Binary(self.binary(word)?),
            kind::TIMESTAMP => Value::Timestamp(word.cast_signed()),
            kind::JSON => Value::Json(self.text(word)?),
            kind::TEXTS => Value::Texts(self.texts(word)?),
            _ => return Err(format!("set a value of kind {kind}, which does not exist")),
        })
    }

    fn text(&mut self, word: u64) -> Result<ByteString, String> {
        let (begin, length) = halves(word);
        self.keep(length as usize)?;
        let part = self.text.get(range(begin, length));
        part.map(|part| self.text.slice_ref(part)).ok_or_else(|| {
            let bytes = self.text.len();
            format!(
                "set a text of {length} bytes at {begin}, which is out of range or splits a character: there are {bytes} bytes"
            )
        })
    }

    fn binary(&mut self, word: u64) -> Result<Bytes, String> {
        let (begin, length) = halves(word);
        self.keep(length as usize)?;
        let part = self.binary.get(range(begin, length));
        part.map(|part| self.binary.slice_ref(part)).ok_or_else(|| {
            let bytes = self.binary.len();
            format!(
                "set {length} bytes at {begin}, which are out of range: there are {bytes} bytes"
            )
        })
    }

    fn texts(&mut self, word: u64) -> Result<Vec<ByteString>, String> {
        let (begin, length) = halves(word);
        let items = range(begin, length);
        if self.items.get(items.clone()).is_none() {
            let there_are = self.items.len();
            return Err(format!(
                "set {length} items at {begin}, which are out of range: there are {there_are} items"
            ));
        }
        self.keep(items.len() * size_of::<ByteString>())?;
        let item = |at: usize| self.text(self.items.get(at).copied().unwrap_or_default());
        items.map(item).collect()
    }
}

fn range(begin: u32, length: u32) -> std::ops::Range<usize> {
    let begin = begin as usize;
    begin..begin.saturating_add(length as usize)
}

#[cfg(test)]
mod tests;
