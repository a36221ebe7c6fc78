//! Judges the rows of a batch before they are written, and digests what would be written.

use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::digest;
use super::fit::{field_type, nul_in, value_fault, vector_fault};
use super::kind::ColumnKind;
use super::target::{Feed, ItemFeed, Items, Targets};
use crate::row::{Batch, Failure, Stage, Value};

impl Targets {
    /// Judges the live rows: those that cannot be written become failures; for each of the others,
    /// `digests` receives the digest of what would be written. Tombstones, which consist of a key
    /// only, fail if rows cannot be found by it.
    pub fn route(&self, batch: &mut Batch, digests: &mut Vec<Uuid>) {
        digests.resize(batch.keys.len(), Uuid::nil());
        if let Some(target) = self.unkeyed() {
            let name = &target.table.name;
            for row in std::mem::take(&mut batch.deleted) {
                batch.failures.push(Failure {
                    row,
                    stage: Stage::Write,
                    code: "DELETE_KEY".into(),
                    message: format!("the key of `{name}` is not the row's key alone, so no row can be deleted by it"),
                    field: None,
                    plugin: None,
                    attempt: 1,
                });
            }
        }
        let mut hasher = Xxh3::with_seed(self.layout);
        let live = std::mem::take(&mut batch.live);
        let mut routed = Vec::with_capacity(live.len());
        for row in live {
            match self.judge(batch, row) {
                Ok(()) => {
                    hasher.reset();
                    self.digest(batch, row, &mut hasher);
                    if let Some(slot) = digests.get_mut(row as usize) {
                        *slot = Uuid::from_u128(hasher.digest128());
                    }
                    routed.push(row);
                }
                Err((code, message, field)) => batch.failures.push(Failure {
                    row,
                    stage: Stage::Write,
                    code: code.into(),
                    message,
                    field: Some(field),
                    plugin: None,
                    attempt: 1,
                }),
            }
        }
        batch.live = routed;
    }

    fn judge(&self, batch: &Batch, row: u32) -> Result<(), (&'static str, String, String)> {
        let values = batch.row(row);
        for target in &self.tables {
            for column in target.fed() {
                let fault = match column.feed {
                    // `decode` has checked it.
                    Feed::Key => None,
                    Feed::Field(index) => values
                        .get(index)
                        .and_then(|value| value_fault(column.kind, value)),
                    Feed::Embedding(index) => batch
                        .embeddings
                        .get(row as usize, index)
                        .and_then(|vector| vector_fault(column.kind, vector)),
                };
                if let Some((code, message)) = fault {
                    let name = column.column.name.clone();
                    return Err((code, format!("`{name}` {message}"), name));
                }
            }
            if let Some((code, message, name)) =
                target.items.as_ref().and_then(|items| items.fault(values))
            {
                return Err((code, format!("`{name}` {message}"), name));
            }
        }
        Ok(())
    }

    fn digest(&self, batch: &Batch, row: u32, hasher: &mut Xxh3) {
        let values = batch.row(row);
        let field = |index| values.get(index).unwrap_or(&Value::Null);
        for target in &self.tables {
            for column in target.fed() {
                match column.feed {
                    // Digests are kept by the row's key.
                    Feed::Key => {}
                    Feed::Field(index) if batch.is_left_out(row, index) => {
                        digest::left_out(hasher);
                    }
                    Feed::Field(index) => digest::value(hasher, field(index)),
                    Feed::Embedding(index) => {
                        digest::vector(hasher, batch.embeddings.get(row as usize, index));
                    }
                }
            }
            if let Some(items) = &target.items {
                digest::value(hasher, field(items.list));
            }
        }
    }
}

impl Items {
    /// The reason why a list cannot be written to the table, as a code, a message and a column.
    pub(super) fn fault(&self, values: &[Value]) -> Option<(&'static str, String, String)> {
        let value = values.get(self.list)?;
        let mut columns = self.columns.iter();
        let column = columns.find(|column| column.feed == ItemFeed::Item)?;
        let fault = match value {
            Value::Null => None,
            Value::Json(_) if self.json => None,
            Value::Texts(items) if !self.json => {
                items.iter().find_map(|item| item_fault(column.kind, item))
            }
            value => field_type(value).map(|field_type| {
                let wanted = if self.json { "JSON" } else { "a list of texts" };
                let message = format!("received {field_type:?}, but its table needs {wanted}");
                ("VALUE_TYPE", message)
            }),
        };
        fault.map(|(code, message)| (code, message, column.column.name.clone()))
    }
}

/// The reason why an item of a list of texts cannot be written to its column.
fn item_fault(kind: ColumnKind, item: &str) -> Option<(&'static str, String)> {
    let not = |wanted| {
        Some((
            "VALUE_TYPE",
            format!("received a text that is not {wanted}"),
        ))
    };
    match kind {
        ColumnKind::Uuid if uuid::Uuid::try_parse(item).is_err() => not("a uuid"),
        ColumnKind::Integer(_) => match item.parse::<i128>() {
            Ok(integer) => match i64::try_from(integer) {
                Ok(integer) => value_fault(kind, &Value::Integer(integer)),
                Err(_) => Some(("VALUE_RANGE", format!("cannot hold {integer}"))),
            },
            Err(_) => not("an integer"),
        },
        _ => nul_in(item),
    }
}
