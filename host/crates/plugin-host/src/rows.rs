//! The roles in the form of rows, and policies: lends values to a guest, and checks the values that
//! it sets.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::de::IgnoredAny;

use super::answer::{Cell, Changes, Faults, Gone, Question, Why, kept};
use super::bindings::types::{
    FieldParam, FieldResult, Outcome, Rejection, Row, ValueParam, ValueResult,
};
use super::bindings::{dead_letter_policy as policy, types};
use crate::row::{Batch, Failure, Schema, Value};

/// Lends the rows of a question for the duration of `call`. Makes three allocations, regardless of
/// the number of rows.
pub(super) fn with_batch<T>(question: Question<'_>, call: impl FnOnce(types::Batch<'_>) -> T) -> T {
    let columns = question.names();
    let rows = question.rows;
    let items = Items::of(rows.iter().flat_map(|row| question.values(*row)));
    let mut lists = items.lists();
    let mut values = Vec::with_capacity(rows.len() * columns.len());
    for row in rows {
        values.extend(question.values(*row).map(|value| lent(value, &mut lists)));
    }
    let mut rest = values.as_slice();
    let lend = |row: &u32| {
        let (values, after) = rest.split_at_checked(columns.len()).unwrap_or_default();
        rest = after;
        let key = question.key(*row);
        Row { key, values }
    };
    let rows: Vec<_> = rows.iter().map(lend).collect();
    call(types::Batch {
        columns: &columns,
        rows: &rows,
    })
}

/// Lends failures for the duration of `call`, each with the fields of its row that are among these
/// columns and not null.
pub(super) fn with_failures<T>(
    batch: &Batch,
    columns: &[usize],
    failures: &[Failure],
    call: impl FnOnce(&[policy::Failure<'_>]) -> T,
) -> T {
    let known = |failure: &Failure| {
        let values = batch.row(failure.row);
        columns.iter().filter_map(|column| {
            let name = batch.schema.columns.get(*column)?.name.as_str();
            values
                .get(*column)
                .filter(|value| **value != Value::Null)
                .map(|value| (name, value))
        })
    };

    let items = Items::of(
        failures
            .iter()
            .flat_map(|f| known(f).map(|(_, value)| value)),
    );
    let mut lists = items.lists();
    let mut fields = Vec::new();
    let mut ends = Vec::with_capacity(failures.len());
    for failure in failures {
        fields.extend(known(failure).map(|(name, value)| FieldParam {
            name,
            value: lent(value, &mut lists),
        }));
        ends.push(fields.len());
    }
    let mut begin = 0;
    let mut lent = Vec::with_capacity(failures.len());
    for (failure, end) in failures.iter().zip(ends) {
        lent.push(policy::Failure {
            key: batch
                .keys
                .get(failure.row as usize)
                .map_or("", |key| &**key),
            stage: failure.stage.as_str(),
            code: &failure.code,
            message: &failure.message,
            attempt: failure.attempt,
            fields: fields.get(begin..end).unwrap_or_default(),
        });
        begin = end;
    }
    call(&lent)
}

/// Items of all lists of texts among some values, one list after the other.
struct Items<'a> {
    items: Vec<&'a str>,
    ends: Vec<usize>,
}

impl<'a> Items<'a> {
    fn of(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut all = Self {
            items: Vec::new(),
            ends: Vec::new(),
        };
        for value in values {
            if let Value::Texts(list) = value {
                all.items.extend(list.iter().map(|item| &**item));
                all.ends.push(all.items.len());
            }
        }
        all
    }

    /// The lists, in the order of their values.
    fn lists(&self) -> impl Iterator<Item = &[&'a str]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let list = self.items.get(begin..*end).unwrap_or_default();
            begin = *end;
            list
        })
    }
}

fn lent<'a>(value: &'a Value, lists: &mut impl Iterator<Item = &'a [&'a str]>) -> ValueParam<'a> {
    match value {
        Value::Null => ValueParam::None,
        Value::Boolean(x) => ValueParam::Boolean(*x),
        Value::Integer(x) => ValueParam::Integer(*x),
        Value::Real(x) => ValueParam::Real(*x),
        Value::Text(x) => ValueParam::Text(x),
        Value::Binary(x) => ValueParam::Binary(x),
        Value::Timestamp(x) => ValueParam::Timestamp(*x),
        Value::Json(x) => ValueParam::Json(x),
        Value::Texts(_) => ValueParam::Texts(lists.next().unwrap_or_default()),
    }
}

/// Checks the outcomes of `transform`, one per row.
pub(super) fn changes(outcomes: Vec<Outcome>, schema: &Schema) -> Changes {
    let mut changes = Changes::default();
    let mut texts = Texts::default();
    for (row, outcome) in (0..).zip(outcomes) {
        let why = match outcome {
            Outcome::Unchanged => None,
            Outcome::Set(fields) => fields.into_iter().find_map(|field| {
                let cell = cell(row, field, schema, &mut texts);
                cell.map(|cell| changes.cells.push(cell)).err()
            }),
            Outcome::Drop(reason) => Some(Why::drop(reason)),
            Outcome::Reject(rejection) => Some(Why::reject(rejection)),
        };
        changes.gone.extend(why.map(|why| Gone { row, why }));
    }
    changes
}

fn cell(
    row: u32,
    FieldResult { name, value }: FieldResult,
    schema: &Schema,
    texts: &mut Texts,
) -> Result<Cell, Why> {
    let column = schema.column(&name);
    let column = column.ok_or_else(|| Why::unknown_field(&name))?;
    let value = received(value, texts).map_err(|error| Why::not_json(&name, &error))?;
    Ok(Cell { row, column, value })
}

/// Collects the rejections of `validate`, one list per row.
pub(super) fn faults(rejections: Vec<Vec<Rejection>>) -> Faults {
    let rows = (0..).zip(rejections);
    rows.flat_map(|(row, faults)| faults.into_iter().map(move |it| (row, kept(it))))
        .collect()
}

/// Memory shared by the texts of an answer: one block for hundreds of texts, so that the thread
/// that drops them does not return memory to this one text by text.
#[derive(Default)]
struct Texts {
    memory: BytesMut,
}

impl Texts {
    /// Size of a block, in bytes.
    const BLOCK: usize = 16 << 10;

    /// Maximum length of a text that is copied into a block, in bytes.
    const LONGEST: usize = 256;

    fn keep(&mut self, text: String) -> ByteString {
        if text.len() > Self::LONGEST {
            return ByteString::from(text);
        }
        if self.memory.capacity() < text.len() {
            self.memory = BytesMut::with_capacity(Self::BLOCK);
        }
        self.memory.extend_from_slice(text.as_bytes());
        let kept = self.memory.split().freeze();
        ByteString::try_from(kept).unwrap_or_else(|_| ByteString::from(text))
    }
}

/// Converts a value from a guest.
///
/// # Errors
/// If it is invalid JSON; other values cannot be invalid.
fn received(value: ValueResult, texts: &mut Texts) -> Result<Value, serde_json::Error> {
    Ok(match value {
        ValueResult::None => Value::Null,
        ValueResult::Boolean(x) => Value::Boolean(x),
        ValueResult::Integer(x) => Value::Integer(x),
        ValueResult::Real(x) => Value::Real(x),
        ValueResult::Text(x) => Value::Text(texts.keep(x)),
        ValueResult::Binary(x) => Value::Binary(Bytes::from(x)),
        ValueResult::Timestamp(x) => Value::Timestamp(x),
        ValueResult::Json(x) => {
            // Reads all of it, keeps none of it.
            serde_json::from_str::<IgnoredAny>(&x)?;
            Value::Json(texts.keep(x))
        }
        ValueResult::Texts(x) => Value::Texts(x.into_iter().map(|x| texts.keep(x)).collect()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::sync::Arc;

    use super::*;
    use crate::row::{Column, Schema, Stage};

    fn texts(items: &[&'static str]) -> Value {
        Value::Texts(
            items
                .iter()
                .map(|item| ByteString::from_static(item))
                .collect(),
        )
    }

    fn batch() -> Batch {
        let column = |name: &str| Column {
            name: name.to_owned(),
            field_type: None,
        };
        Batch {
            schema: Arc::new(Schema {
                columns: vec![column("a"), column("b"), column("c")],
                embeddings: Vec::new(),
            }),
            keys: ["k0", "k1", "k2"].map(ByteString::from_static).to_vec(),
            values: vec![
                texts(&["x", "y"]),
                Value::Integer(1),
                texts(&[]),
                texts(&["left", "out"]),
                Value::Integer(2),
                Value::Null,
                Value::Null,
                Value::Text(ByteString::from_static("t")),
                texts(&["z"]),
            ],
            live: vec![0, 2],
            ..Batch::default()
        }
    }

    fn question<'a>(batch: &'a Batch, columns: &'a [usize]) -> Question<'a> {
        Question {
            batch,
            rows: &batch.live,
            columns,
        }
    }

    #[test]
    fn lends_the_live_rows_with_the_columns_asked_for() {
        with_batch(question(&batch(), &[2, 0]), |lent| {
            assert_eq!(lent.columns, ["c", "a"]);
            let shown: Vec<_> = lent
                .rows
                .iter()
                .map(|row| format!("{} {:?}", row.key, row.values))
                .collect();
            assert_eq!(
                shown,
                [
                    r#"k0 [ValueParam::Texts([]), ValueParam::Texts(["x", "y"])]"#,
                    r#"k2 [ValueParam::Texts(["z"]), ValueParam::None]"#,
                ]
            );
        });
    }

    #[test]
    fn lends_rows_without_columns() {
        with_batch(question(&batch(), &[]), |lent| {
            assert!(lent.columns.is_empty());
            let keys: Vec<_> = lent.rows.iter().map(|row| row.key).collect();
            assert_eq!(keys, ["k0", "k2"]);
        });
    }

    #[test]
    fn lends_what_is_known_of_failures() {
        let failure = |row| Failure {
            row,
            stage: Stage::Write,
            code: "CODE".to_owned(),
            message: String::new(),
            field: None,
            plugin: None,
            attempt: 1,
        };
        with_failures(
            &batch(),
            &[0, 1, 2],
            &[failure(2), failure(1)],
            |failures| {
                let names = |at: usize| -> Vec<_> {
                    failures[at].fields.iter().map(|field| field.name).collect()
                };
                assert_eq!((failures[0].key, names(0)), ("k2", vec!["b", "c"]));
                assert_eq!((failures[1].key, names(1)), ("k1", vec!["a", "b"]));
            },
        );
    }

    #[test]
    fn kept_texts_are_what_they_were() {
        let mut texts = Texts::default();
        let given: Vec<String> = (0..2_000).map(|length| "ß".repeat(length % 200)).collect();
        let kept = received(ValueResult::Texts(given.clone()), &mut texts);
        let Ok(Value::Texts(kept)) = kept else {
            unreachable!("texts are texts")
        };
        assert!(kept.iter().eq(given.iter()));
    }

    #[test]
    fn json_must_be_json() {
        let check =
            |text: &str| received(ValueResult::Json(text.to_owned()), &mut Texts::default());
        for text in ["null", "{\"a\": [1, \"x\"]}", " 1 "] {
            assert_eq!(check(text).unwrap(), Value::Json(text.into()));
        }
        for text in ["", "{", "{'a': 1}", "1 2", "NaN"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
