//! Applies the answers of plugins to a batch.

use std::sync::Arc;

use super::answer::{Cell, Changes, Faults, Gone, Why};
use super::bindings::types::Rejection;
use super::bisect::RowAnswers;
use super::call_error::{CallError, Kind};
use super::limits::MAX_MESSAGE;
use super::sanitize::cut;
use crate::row::{Batch, Drop, Failure, PluginId, Stage};

/// Applies answers of `transform`.
pub(super) fn changes(batch: &mut Batch, plugin: &Arc<PluginId>, answers: RowAnswers<Changes>) {
    let live = std::mem::take(&mut batch.live);
    let mut gone = Vec::new();
    for (rows, answer) in answers {
        let first = rows.start;
        match answer {
            Ok(changes) => {
                let rows = live.get(rows).unwrap_or_default();
                for Cell { row, column, value } in changes.cells {
                    let slot = rows
                        .get(row as usize)
                        .and_then(|row| batch.row_mut(*row).get_mut(column));
                    if let Some(slot) = slot {
                        *slot = value;
                    }
                }
                let these = changes.gone.into_iter();
                gone.extend(these.map(|Gone { row, why }| (first + row as usize, Ok(why))));
            }
            Err(fault) => gone.push((first, Err(fault))),
        }
    }
    batch.live = live;
    leave(batch, gone, |batch, row, why| {
        let failure = match why {
            Ok(Why::Drop(reason)) => {
                batch.drops.push(Drop {
                    row,
                    stage: Stage::Transform,
                    reason,
                });
                return;
            }
            Ok(Why::Reject(rejection)) => rejected(row, Stage::Transform, vec![rejection]),
            Ok(Why::Wrong { field, message }) => {
                let kind = Kind::Output;
                Failure {
                    field: Some(field),
                    ..faulty(row, Stage::Transform, CallError { kind, message })
                }
            }
            Err(fault) => faulty(row, Stage::Transform, fault),
        };
        fail(batch, plugin, failure);
    });
}

/// Applies answers of `validate`.
pub(super) fn faults(batch: &mut Batch, plugin: &Arc<PluginId>, answers: RowAnswers<Faults>) {
    let mut gone: Vec<(usize, Result<Vec<Rejection>, CallError>)> = Vec::new();
    for (rows, answer) in answers {
        let first = rows.start;
        match answer {
            Ok(faults) => {
                for (row, rejection) in faults {
                    let at = first + row as usize;
                    match gone.last_mut() {
                        Some((last, Ok(rejections))) if *last == at => rejections.push(rejection),
                        _ => gone.push((at, Ok(vec![rejection]))),
                    }
                }
            }
            Err(fault) => gone.push((first, Err(fault))),
        }
    }
    leave(batch, gone, |batch, row, why| {
        let failure = match why {
            Ok(rejections) => rejected(row, Stage::Validate, rejections),
            Err(fault) => faulty(row, Stage::Validate, fault),
        };
        fail(batch, plugin, failure);
    });
}

/// Removes rows from `live` and passes each to `apply`. `gone` has their positions in `live`, in
/// ascending order.
fn leave<T>(batch: &mut Batch, gone: Vec<(usize, T)>, mut apply: impl FnMut(&mut Batch, u32, T)) {
    if gone.is_empty() {
        return;
    }
    let mut live = std::mem::take(&mut batch.live);
    let mut gone = gone.into_iter().peekable();
    let mut place = 0..;
    live.retain(|row| {
        let here = place.next();
        match gone.next_if(|(at, _)| Some(*at) == here) {
            Some((_, why)) => {
                apply(batch, *row, why);
                false
            }
            None => true,
        }
    });
    debug_assert!(gone.next().is_none(), "positions are valid and ascending");
    batch.live = live;
}

fn fail(batch: &mut Batch, plugin: &Arc<PluginId>, failure: Failure) {
    batch.failures.push(Failure {
        plugin: Some(Arc::clone(plugin)),
        ..failure
    });
}

/// Merges all rejections of a row into one failure: the first code and field, and all messages.
fn rejected(row: u32, stage: Stage, rejections: Vec<Rejection>) -> Failure {
    let mut rejections = rejections.into_iter();
    let (mut code, mut message, mut field) = (String::new(), String::new(), None);
    if let Some(first) = rejections.next() {
        (code, message, field) = (first.code, first.message, first.field);
    }
    for rejection in rejections {
        // The message is cut to less than this below.
        if message.len() > 4 * MAX_MESSAGE {
            break;
        }
        message.push_str("; ");
        message.push_str(&rejection.message);
    }
    Failure {
        row,
        stage,
        code,
        message: cut(message, MAX_MESSAGE),
        field,
        plugin: None,
        attempt: 1,
    }
}

fn faulty(row: u32, stage: Stage, fault: CallError) -> Failure {
    Failure {
        row,
        stage,
        code: fault.kind.code().to_owned(),
        message: fault.message,
        field: None,
        plugin: None,
        attempt: 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use bytestring::ByteString;

    use super::super::bindings::types::{FieldResult, Outcome, ValueResult};
    use super::super::rows;
    use super::*;
    use crate::row::{Column, Schema, Value};

    fn plugin() -> Arc<PluginId> {
        let (name, version, digest) = ("p".to_owned(), "1".to_owned(), "d".to_owned());
        Arc::new(PluginId {
            name,
            version,
            digest,
        })
    }

    fn batch(rows: u32) -> Batch {
        let columns = vec![Column {
            name: "a".to_owned(),
            field_type: None,
        }];
        Batch {
            schema: Arc::new(Schema {
                columns,
                embeddings: Vec::new(),
            }),
            keys: vec![ByteString::from_static("k"); rows as usize],
            values: vec![Value::Null; rows as usize],
            live: (0..rows).collect(),
            ..Batch::default()
        }
    }

    fn field(name: &str, value: ValueResult) -> FieldResult {
        FieldResult {
            name: name.to_owned(),
            value,
        }
    }

    fn rejection(code: &str, message: &str) -> Rejection {
        Rejection {
            code: code.to_owned(),
            message: message.to_owned(),
            field: None,
        }
    }

    #[test]
    fn outcomes_move_rows() {
        let mut batch = batch(7);
        let plugin = plugin();
        let answer = |outcomes| Ok(rows::changes(outcomes, &batch.schema));
        let json = ValueResult::Json("{".to_owned());
        let answers = vec![
            (
                0..3,
                answer(vec![
                    Outcome::Unchanged,
                    Outcome::Set(vec![field("a", ValueResult::Integer(7))]),
                    Outcome::Drop("old".to_owned()),
                ]),
            ),
            (
                3..6,
                answer(vec![
                    Outcome::Reject(rejection("CODE", "text")),
                    Outcome::Set(vec![field("z", ValueResult::None)]),
                    Outcome::Set(vec![field("a", json)]),
                ]),
            ),
            (
                6..7,
                Err(CallError {
                    kind: Kind::Deadline,
                    message: "late".to_owned(),
                }),
            ),
        ];
        changes(&mut batch, &plugin, answers);
        assert_eq!(batch.live, [0, 1]);
        assert_eq!(batch.values[1], Value::Integer(7));
        assert_eq!(
            (batch.drops[0].row, batch.drops[0].reason.as_str()),
            (2, "old")
        );
        let shown: Vec<_> = batch
            .failures
            .iter()
            .map(|f| {
                (
                    f.row,
                    f.code.as_str(),
                    f.field.as_deref().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (3, "CODE", ""),
                (4, "PLUGIN_OUTPUT", "z"),
                (5, "PLUGIN_OUTPUT", "a"),
                (6, "PLUGIN_DEADLINE", ""),
            ]
        );
        assert!(batch.failures.iter().all(|f| {
            f.stage == Stage::Transform && f.attempt == 1 && f.plugin.as_ref() == Some(&plugin)
        }));
        assert_eq!(batch.failures[1].message, "set the unknown field \"z\"");
    }

    #[test]
    fn rejections_become_one_failure() {
        let mut batch = batch(3);
        let answer = rows::faults(vec![
            vec![rejection("ONE", "first"), rejection("TWO", "second")],
            Vec::new(),
            vec![Rejection {
                field: Some("f".repeat(300)),
                ..rejection("", &"ß".repeat(3_000))
            }],
        ]);
        faults(&mut batch, &plugin(), vec![(0..3, Ok(answer))]);
        assert_eq!(batch.live, [1]);
        let [first, second] = batch.failures.as_slice() else {
            panic!("two failures")
        };
        assert_eq!(
            (first.code.as_str(), first.message.as_str()),
            ("ONE", "first; second")
        );
        assert_eq!(first.stage, Stage::Validate);
        assert_eq!(
            (second.code.as_str(), second.message.chars().count()),
            ("REJECTED", 2_000)
        );
        assert_eq!(second.field.as_ref().map(String::len), Some(200));
    }
}
