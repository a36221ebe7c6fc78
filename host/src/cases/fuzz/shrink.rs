//! Shrinks rows that show a failure: fewer rows, fewer fields, shorter texts, numbers nearer to 0.
//! The search is greedy and bounded, so the result is small but not proven to be smallest.

use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;

use crate::cases::suite::{CaseFailure, CaseRow};
use crate::cases::vectors;
use crate::row::{Value, Vector};

/// A wrong answer: kind, message, and the index of the row if a single row is at fault.
pub(super) type Wrong = (String, String, Option<usize>);

/// Maximum number of calls for one finding.
const MAX_CALLS: usize = 1_000;

/// Maximum time for one finding: a missed deadline costs its full time in every call.
const MAX_TIME: Duration = Duration::from_secs(10);

/// A value that can be shrunk.
pub(super) trait Shrink: Clone {
    /// Smaller candidates, the smallest first.
    fn smaller(&self) -> Vec<Self>;
}

/// Finds the smallest rows that still fail in the same way according to `judge`. `guilty` is the
/// index of the row at fault, if known.
pub(super) fn smallest<T: Shrink>(
    rows: Vec<T>,
    guilty: Option<usize>,
    judge: &mut impl FnMut(&[T]) -> Option<Wrong>,
) -> Vec<T> {
    let (mut calls, began) = (0, Instant::now());
    let mut is_wrong = |rows: &[T]| {
        calls += 1;
        let may_ask = calls <= MAX_CALLS && began.elapsed() < MAX_TIME && !rows.is_empty();
        may_ask && judge(rows).is_some()
    };
    let mut rows = fewer(rows, guilty, &mut is_wrong);
    let mut at = 0;
    while at < rows.len() {
        let candidates = rows.get(at).map(T::smaller).unwrap_or_default();
        let better = candidates.into_iter().find(|candidate| {
            let mut changed = rows.clone();
            if let Some(slot) = changed.get_mut(at) {
                slot.clone_from(candidate);
            }
            is_wrong(&changed)
        });
        match (better, rows.get_mut(at)) {
            (Some(better), Some(slot)) => *slot = better,
            _ => at += 1,
        }
    }
    rows
}

/// Returns the guilty row alone if it still fails; otherwise removes parts for as long as the rest
/// fails.
fn fewer<T: Shrink>(
    rows: Vec<T>,
    guilty: Option<usize>,
    is_wrong: &mut impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    if let Some(row) = guilty.and_then(|at| rows.get(at..=at))
        && is_wrong(row)
    {
        return row.to_vec();
    }
    let mut rows = rows;
    let mut part = rows.len().div_ceil(2);
    while part > 0 && rows.len() > 1 {
        let mut at = 0;
        while at < rows.len() {
            let kept = |index: &usize| !(at..at + part).contains(index);
            let rest: Vec<T> = (0..rows.len())
                .filter(kept)
                .filter_map(|index| rows.get(index).cloned())
                .collect();
            if is_wrong(&rest) {
                rows = rest;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    rows
}

impl Shrink for CaseRow {
    fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for fields in fewer_fields(&self.fields) {
            found.push(Self {
                fields,
                ..self.clone()
            });
        }
        for (at, (name, vector)) in self.embeddings.iter().enumerate() {
            for smaller in smaller_vectors(vector) {
                let mut row = self.clone();
                if let Some(slot) = row.embeddings.get_mut(at) {
                    *slot = (name.clone(), smaller);
                }
                found.push(row);
            }
        }
        for key in smaller_texts(&self.key)
            .into_iter()
            .filter(|key| !key.is_empty())
        {
            let key = ByteString::from(key);
            found.push(Self {
                key,
                ..self.clone()
            });
        }
        found
    }
}

impl Shrink for CaseFailure {
    fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for fields in fewer_fields(&self.fields) {
            found.push(Self {
                fields,
                ..self.clone()
            });
        }
        for message in smaller_texts(&self.message) {
            found.push(Self {
                message,
                ..self.clone()
            });
        }
        for key in smaller_texts(&self.key) {
            let key = ByteString::from(key);
            found.push(Self {
                key,
                ..self.clone()
            });
        }
        if self.attempt > 1 {
            found.push(Self {
                attempt: 1,
                ..self.clone()
            });
        }
        found
    }
}

/// Candidates: no field, all fields but one, and one field with a smaller value.
fn fewer_fields(fields: &[(String, Value)]) -> Vec<Vec<(String, Value)>> {
    let mut found = Vec::new();
    if fields.len() > 1 {
        found.push(Vec::new());
    }
    for at in 0..fields.len() {
        let mut rest = fields.to_vec();
        rest.remove(at);
        found.push(rest);
    }
    for (at, (name, value)) in fields.iter().enumerate() {
        for smaller in smaller_values(value) {
            let mut changed = fields.to_vec();
            if let Some(slot) = changed.get_mut(at) {
                *slot = (name.clone(), smaller);
            }
            found.push(changed);
        }
    }
    found
}

fn smaller_values(value: &Value) -> Vec<Value> {
    match value {
        Value::Null | Value::Boolean(false) => Vec::new(),
        Value::Boolean(true) => vec![Value::Boolean(false)],
        Value::Integer(x) => smaller_integers(*x)
            .into_iter()
            .map(Value::Integer)
            .collect(),
        Value::Timestamp(x) => smaller_integers(*x)
            .into_iter()
            .map(Value::Timestamp)
            .collect(),
        Value::Real(x) => {
            let smaller = [0.0, 1.0, x.trunc(), x / 2.0];
            let is_smaller = |y: &f64| !x.is_finite() && *y < 2.0 || y.abs() < x.abs();
            smaller
                .into_iter()
                .filter(is_smaller)
                .filter(|y| y.is_finite())
                .map(Value::Real)
                .collect()
        }
        Value::Text(x) => {
            let texts = smaller_texts(x).into_iter();
            texts
                .map(|text| Value::Text(ByteString::from(text)))
                .collect()
        }
        Value::Json(x) if &**x == "null" => Vec::new(),
        Value::Json(_) => vec![Value::Json(ByteString::from_static("null"))],
        Value::Binary(x) if x.is_empty() => Vec::new(),
        Value::Binary(x) => vec![
            Value::Binary(Bytes::new()),
            Value::Binary(x.slice(..x.len() / 2)),
        ],
        Value::Texts(items) if items.is_empty() => Vec::new(),
        Value::Texts(items) => {
            let (left, right) = items.split_at(items.len() / 2);
            let halves = [Vec::new(), left.to_vec(), right.to_vec()];
            let shorter = halves.into_iter().filter(|half| half.len() < items.len());
            let mut found: Vec<Value> = shorter.map(Value::Texts).collect();
            if let [one] = items.as_slice() {
                let texts = smaller_texts(one).into_iter();
                found.extend(texts.map(|text| Value::Texts(vec![ByteString::from(text)])));
            }
            found
        }
    }
}

fn smaller_integers(x: i64) -> Vec<i64> {
    let nearer = [0, x / 2, x - x.signum()];
    let mut found: Vec<i64> = nearer
        .into_iter()
        .filter(|y| y.unsigned_abs() < x.unsigned_abs())
        .collect();
    found.dedup();
    found
}

/// Candidates: the empty text, both halves, and the text without its last or first character.
fn smaller_texts(text: &str) -> Vec<String> {
    let length = text.chars().count();
    if length == 0 {
        return Vec::new();
    }
    let part = |from: usize, to: usize| text.chars().skip(from).take(to - from).collect::<String>();
    let mut found = vec![String::new()];
    if length > 1 {
        found.extend([
            part(0, length / 2),
            part(length / 2, length),
            part(0, length - 1),
            part(1, length),
        ]);
    }
    found.dedup();
    found
}

fn smaller_vectors(vector: &Vector) -> Vec<Vector> {
    let dimensions = vector.dimensions();
    [0.0, 1.0]
        .into_iter()
        .map(|element| vectors::f32s(&vec![element; dimensions]))
        // Only the vectors before it in this list are smaller.
        .take_while(|simple| simple != vector)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn row(fields: &[(&str, Value)]) -> CaseRow {
        CaseRow {
            key: ByteString::from_static("key"),
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            ..CaseRow::default()
        }
    }

    fn integer(row: &CaseRow, name: &str) -> Option<i64> {
        row.fields.iter().find_map(|(known, value)| match value {
            Value::Integer(x) if known == name => Some(*x),
            _ => None,
        })
    }

    fn wrong(is_wrong: bool) -> Option<Wrong> {
        is_wrong.then(|| ("TRAP".to_owned(), String::new(), None))
    }

    #[test]
    fn what_does_not_matter_goes() {
        let text = Value::Text(ByteString::from_static("some long text with a q in it"));
        let rows = vec![
            row(&[("a", Value::Integer(1))]),
            row(&[
                ("a", Value::Integer(-9_000)),
                ("b", text),
                ("c", Value::Real(f64::NAN)),
            ]),
            row(&[("a", Value::Integer(3))]),
        ];
        let mut judge = |rows: &[CaseRow]| {
            let is_bad = |row: &CaseRow| {
                let has_q = |(_, value): &(String, Value)| matches!(value, Value::Text(x) if x.contains('q'));
                integer(row, "a").is_some_and(|a| a < -60) && row.fields.iter().any(has_q)
            };
            wrong(rows.iter().any(is_bad))
        };
        for guilty in [Some(1), None] {
            let found = smallest(rows.clone(), guilty, &mut judge);
            let expected = row(&[
                ("a", Value::Integer(-61)),
                ("b", Value::Text(ByteString::from_static("q"))),
            ]);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].fields, expected.fields);
            assert_eq!(found[0].key.len(), 1);
        }
    }

    #[test]
    fn rows_that_belong_together_stay_together() {
        let rows: Vec<CaseRow> = (0..20).map(|a| row(&[("a", Value::Integer(a))])).collect();
        let mut judge = |rows: &[CaseRow]| {
            let has = |wanted| rows.iter().any(|row| integer(row, "a") == Some(wanted));
            wrong(has(3) && has(17))
        };
        let found = smallest(rows, Some(3), &mut judge);
        let found: Vec<_> = found.iter().map(|row| integer(row, "a")).collect();
        assert_eq!(found, [Some(3), Some(17)]);
    }
}
