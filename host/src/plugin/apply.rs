//! What a plugin answered, put into the batch.

use std::sync::Arc;

use super::bindings::types::{FieldResult, Outcome, Rejection};
use super::bisect::Settled;
use super::convert::{Texts, received};
use super::fault::{Fault, Kind};
use super::limits::{MAX_CODE, MAX_FIELD, MAX_MESSAGE, MAX_REASON};
use super::text::{cut, shortened};
use crate::row::{Batch, Drop, Failure, PluginId, Stage};

/// Applies the outcomes of `transform`, one per live row.
pub(super) fn outcomes(batch: &mut Batch, plugin: &Arc<PluginId>, outcomes: Settled<Outcome>) {
    let mut texts = Texts::default();
    each_live(batch, outcomes, |batch, row, outcome| {
        let failure = match outcome {
            Ok(Outcome::Unchanged) => return true,
            Ok(Outcome::Set(fields)) => match set(batch, row, fields, &mut texts) {
                Ok(()) => return true,
                Err((field, message)) => Failure {
                    field: Some(cut(field, MAX_FIELD)),
                    ..faulty(
                        row,
                        Stage::Transform,
                        Fault {
                            kind: Kind::Output,
                            message,
                        },
                    )
                },
            },
            Ok(Outcome::Drop(reason)) => {
                let reason = cut(reason, MAX_REASON);
                batch.drops.push(Drop {
                    row,
                    stage: Stage::Transform,
                    reason,
                });
                return false;
            }
            Ok(Outcome::Reject(rejection)) => rejected(row, Stage::Transform, vec![rejection]),
            Err(fault) => faulty(row, Stage::Transform, fault),
        };
        batch.failures.push(Failure {
            plugin: Some(Arc::clone(plugin)),
            ..failure
        });
        false
    });
}

/// Applies the rejections of `validate`, one list per live row.
pub(super) fn rejections(
    batch: &mut Batch,
    plugin: &Arc<PluginId>,
    rejections: Settled<Vec<Rejection>>,
) {
    each_live(batch, rejections, |batch, row, rejections| {
        let failure = match rejections {
            Ok(rejections) if rejections.is_empty() => return true,
            Ok(rejections) => rejected(row, Stage::Validate, rejections),
            Err(fault) => faulty(row, Stage::Validate, fault),
        };
        batch.failures.push(Failure {
            plugin: Some(Arc::clone(plugin)),
            ..failure
        });
        false
    });
}

/// Hands each live row and its answer to `apply`, which says whether the row stays live.
fn each_live<T>(
    batch: &mut Batch,
    answers: Vec<T>,
    mut apply: impl FnMut(&mut Batch, u32, T) -> bool,
) {
    debug_assert_eq!(batch.live.len(), answers.len());
    let mut live = std::mem::take(&mut batch.live);
    let mut answers = answers.into_iter();
    live.retain(|row| {
        answers
            .next()
            .is_none_or(|answer| apply(batch, *row, answer))
    });
    batch.live = live;
}

/// Sets fields of a row. When one of them cannot be set the row fails, so what is left of it
/// does not matter.
fn set(
    batch: &mut Batch,
    row: u32,
    fields: Vec<FieldResult>,
    texts: &mut Texts,
) -> Result<(), (String, String)> {
    for FieldResult { name, value } in fields {
        let Some(column) = batch.schema.column(&name) else {
            let message = format!("set the unknown field {:?}", shortened(&name, MAX_FIELD));
            return Err((name, message));
        };
        match received(value, texts) {
            Ok(value) => {
                if let Some(slot) = batch.row_mut(row).get_mut(column) {
                    *slot = value;
                }
            }
            Err(reason) => {
                let message = format!("set field {name:?} to what is not JSON: {reason}");
                return Err((name, message));
            }
        }
    }
    Ok(())
}

/// The code of a rejection: a row must have one.
pub(super) fn code(code: String) -> String {
    if code.is_empty() {
        "REJECTED".to_owned()
    } else {
        code
    }
}

/// One failure for all rejections of a row: the first code and field, and all messages.
fn rejected(row: u32, stage: Stage, rejections: Vec<Rejection>) -> Failure {
    let mut rejections = rejections.into_iter();
    let (mut code, mut message, mut field) = (String::new(), String::new(), None);
    if let Some(first) = rejections.next() {
        (code, message, field) = (first.code, first.message, first.field);
    }
    for rejection in rejections {
        // Beyond this everything is cut anyway.
        if message.len() > 4 * MAX_MESSAGE {
            break;
        }
        message.push_str("; ");
        message.push_str(&rejection.message);
    }
    Failure {
        row,
        stage,
        code: cut(self::code(code), MAX_CODE),
        message: cut(message, MAX_MESSAGE),
        field: field.map(|field| cut(field, MAX_FIELD)),
        plugin: None,
        attempt: 1,
    }
}

fn faulty(row: u32, stage: Stage, fault: Fault) -> Failure {
    Failure {
        row,
        stage,
        code: fault.kind.code().to_owned(),
        message: cut(fault.message, MAX_MESSAGE),
        field: None,
        plugin: None,
        attempt: 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use bytestring::ByteString;

    use super::super::bindings::types::ValueResult;
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
        outcomes(
            &mut batch,
            &plugin,
            vec![
                Ok(Outcome::Unchanged),
                Ok(Outcome::Set(vec![field("a", ValueResult::Integer(7))])),
                Ok(Outcome::Drop("old".to_owned())),
                Ok(Outcome::Reject(rejection("CODE", "text"))),
                Ok(Outcome::Set(vec![field("z", ValueResult::None)])),
                Ok(Outcome::Set(vec![field(
                    "a",
                    ValueResult::Json("{".to_owned()),
                )])),
                Err(Fault {
                    kind: Kind::Deadline,
                    message: "late".to_owned(),
                }),
            ],
        );
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
        rejections(
            &mut batch,
            &plugin(),
            vec![
                Ok(vec![rejection("ONE", "first"), rejection("TWO", "second")]),
                Ok(Vec::new()),
                Ok(vec![Rejection {
                    field: Some("f".repeat(300)),
                    ..rejection("", &"ß".repeat(3_000))
                }]),
            ],
        );
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
