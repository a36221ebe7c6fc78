//! Which value goes into which column, and whether it can.
//!
//! [`bind`] matches a dataset's schema with the tables' catalog once, before the first row, and
//! reports everything that cannot fit together. [`Targets::route`] then judges the rows of a
//! batch: a value that does not fit its column fails its row, and what would be written of the
//! others is digested. Encoding needs no checks after that.

mod fit;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use self::fit::{mismatch, value_fault, vector_fault};
use super::{
    catalog::{self, Table},
    digest,
    missing::Missing,
};
use crate::{
    decode::KeyType,
    row::{self, Batch, Failure, Schema, Stage, Value},
};

/// How a column's values travel to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// `boolean`
    Boolean,
    /// `smallint`, `integer`, `bigint`: width in bytes.
    Integer(u8),
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `text`, `varchar`, `char`, `name`
    Text,
    /// `bytea`
    Bytea,
    /// `uuid`
    Uuid,
    /// `timestamptz`, and `timestamp` in UTC
    Timestamp,
    /// `date`, in UTC
    Date,
    /// `vector`, with its dimensions where declared
    Vector(Option<usize>),
    /// `halfvec`, with its dimensions where declared
    HalfVec(Option<usize>),
    /// Everything else travels as text and is cast by the server.
    Cast,
}

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Index in [`Schema::columns`].
    Field(usize),
    /// Index in [`Schema::embeddings`].
    Embedding(usize),
}

/// A column that rows feed.
#[derive(Debug, Clone)]
pub struct TargetColumn {
    /// As the catalog describes it.
    pub column: catalog::Column,
    /// How its values travel.
    pub kind: ColumnKind,
    /// Where they come from.
    pub feed: Feed,
}

/// A table that rows feed.
#[derive(Debug, Clone)]
pub struct Target {
    /// As the catalog describes it.
    pub table: Table,
    /// The primary key, fed by the row's key.
    pub key: catalog::Column,
    /// The others, in the order of the table.
    pub columns: Vec<TargetColumn>,
    /// Columns set to the time of the transaction when a row is changed.
    pub touched: Vec<String>,
    /// Columns set to the time of the transaction when a row is inserted: those without a
    /// default.
    pub stamped: Vec<String>,
}

/// The tables of a pipeline, referenced ones first.
#[derive(Debug, Clone)]
pub struct Targets {
    /// At least one.
    pub tables: Vec<Target>,
    /// The dataset's columns, and after them the columns that only plugins can fill.
    pub schema: Arc<Schema>,
    /// Of all tables.
    pub key_type: KeyType,
    /// What becomes of rows that the source no longer has.
    pub missing: Missing,
    layout: u64,
}

/// Something that cannot fit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Misfit {
    /// Such as `recruit_metadata.exp_years`.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What is given to [`bind`].
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// As the source describes its dataset.
    pub schema: &'a Schema,
    /// As configured.
    pub names: &'a [String],
    /// As the catalog describes them; `None` for one that is not there.
    pub tables: &'a [Option<Table>],
    /// From the name of a field or embedding to the name of a column.
    pub rename: &'a BTreeMap<String, String>,
    /// Whether plugins may set fields that the source does not have.
    pub transforms: bool,
}

/// Matches a dataset with tables.
///
/// # Errors
/// With everything that does not fit.
pub fn bind(binding: Binding<'_>) -> Result<Targets, Vec<Misfit>> {
    let mut misfits = Vec::new();
    let mut schema = binding.schema.clone();
    let mut targets = Vec::new();
    for (name, table) in binding.names.iter().zip(binding.tables) {
        match table {
            Some(table) => targets.extend(bind_table(binding, &mut schema, table, &mut misfits)),
            None => misfits.push(Misfit {
                place: name.clone(),
                message: "no such table".into(),
                hint: "create it, or name it with its schema".into(),
            }),
        }
    }
    misfits.extend(
        binding
            .rename
            .iter()
            .filter_map(|(from, to)| useless_rename(binding, &targets, from, to)),
    );
    let key_types: Vec<Option<KeyType>> =
        targets.iter().map(|target| key_type(&target.key)).collect();
    if let Some(other) = key_types
        .iter()
        .position(|key_type| Some(key_type) != key_types.first())
    {
        misfits.push(Misfit {
            place: targets
                .get(other)
                .map(|target| target.table.name.clone())
                .unwrap_or_default(),
            message: "its key has another type than that of the other tables".into(),
            hint: "one key feeds them all".into(),
        });
    }
    let (true, Some(Some(key_type))) = (misfits.is_empty(), key_types.first().copied()) else {
        return Err(misfits);
    };
    let tables = in_reference_order(targets);
    let layout = layout(&tables, &schema);
    Ok(Targets {
        tables,
        schema: Arc::new(schema),
        key_type,
        missing: Missing::default(),
        layout,
    })
}

/// Why an entry of `rename` has no effect, which is never what was meant.
fn useless_rename(
    binding: Binding<'_>,
    targets: &[Target],
    from: &str,
    to: &str,
) -> Option<Misfit> {
    let schema = binding.schema;
    let misfit = |message| Misfit {
        place: format!("rename.{from}"),
        message,
        hint: format!(
            "rename = {{ {from} = \"{to}\" }} goes from the source's name to the column's"
        ),
    };
    let feeds = [
        schema.embedding(from).map(Feed::Embedding),
        schema.column(from).map(Feed::Field),
    ];
    let Some(feed) = feeds.into_iter().flatten().next() else {
        return Some(misfit(format!(
            "the dataset has no field or embedding `{from}`"
        )));
    };
    let feeds_it = |column: &TargetColumn| column.column.name == to && column.feed == feed;
    // A table that is missing is another misfit, and may have the column.
    let known = targets.len() == binding.names.len();
    let used = targets
        .iter()
        .flat_map(|target| &target.columns)
        .any(feeds_it);
    (known && !used).then(|| misfit(format!("no table has a column `{to}` that it feeds")))
}

fn key_type(column: &catalog::Column) -> Option<KeyType> {
    match kind(column) {
        ColumnKind::Uuid => Some(KeyType::Uuid),
        ColumnKind::Integer(bytes) => Some(KeyType::Integer(u32::from(bytes) * 8)),
        ColumnKind::Text => Some(KeyType::Text),
        _ => None,
    }
}

fn bind_table(
    binding: Binding<'_>,
    schema: &mut Schema,
    table: &Table,
    misfits: &mut Vec<Misfit>,
) -> Option<Target> {
    let mut misfit = |column: &str, message: String, hint: &str| {
        let place = if column.is_empty() {
            table.name.clone()
        } else {
            format!("{}.{column}", table.name)
        };
        misfits.push(Misfit {
            place,
            message,
            hint: hint.into(),
        });
    };
    let [key] = table.primary_key.as_slice() else {
        let message = format!("its primary key has {} columns", table.primary_key.len());
        misfit(
            "",
            message,
            "a primary key of one column is fed by the row's key",
        );
        return None;
    };
    let key = table
        .columns
        .iter()
        .find(|column| column.name == *key)?
        .clone();
    if key_type(&key).is_none() || key.generated {
        misfit(
            &key.name,
            format!("a key of type {} cannot be fed", key.type_sql),
            "use uuid, integer or text, not generated always",
        );
        return None;
    }
    let mut target = Target {
        table: table.clone(),
        key,
        columns: Vec::new(),
        touched: Vec::new(),
        stamped: Vec::new(),
    };
    for column in &table.columns {
        if column.name == target.key.name || column.generated {
            continue;
        }
        let source = binding
            .rename
            .iter()
            .find(|(_, to)| **to == column.name)
            .map(|(from, _)| from);
        let name = source.map_or(column.name.as_str(), String::as_str);
        let renamed_away = source.is_none() && binding.rename.contains_key(name);
        let kind = kind(column);
        let feed = match (schema.embedding(name), schema.column(name)) {
            (Some(index), _) if !renamed_away => Some(Feed::Embedding(index)),
            (_, Some(index)) if !renamed_away => Some(Feed::Field(index)),
            _ => None,
        };
        if let Some(feed) = feed {
            if let Some((message, hint)) = mismatch(binding, schema, feed, column, kind) {
                misfit(&column.name, message, hint);
            }
            target.columns.push(TargetColumn {
                column: column.clone(),
                kind,
                feed,
            });
        } else if matches!(kind, ColumnKind::Vector(_) | ColumnKind::HalfVec(_)) {
            if column.required && !column.has_default {
                misfit(
                    &column.name,
                    "needs an embedding, and the dataset has none of that name".into(),
                    "name it with `rename`",
                );
            }
        } else if is_time(column) && is_touched(&column.name) {
            target.touched.push(column.name.clone());
            if !column.has_default {
                target.stamped.push(column.name.clone());
            }
        } else if is_time(column) && column.required && !column.has_default {
            target.stamped.push(column.name.clone());
        } else if binding.transforms && !column.has_default {
            // Null until a plugin sets it. One with a default is left out, and keeps that.
            let feed = Feed::Field(schema.columns.len());
            schema.columns.push(row::Column {
                name: name.to_owned(),
                field_type: None,
            });
            target.columns.push(TargetColumn {
                column: column.clone(),
                kind,
                feed,
            });
        } else if column.required && !column.has_default {
            misfit(
                &column.name,
                "is NOT NULL, and nothing feeds it".into(),
                "name its field with `rename`, or give it a default",
            );
        }
    }
    Some(target)
}

fn is_time(column: &catalog::Column) -> bool {
    matches!(
        column.type_name.as_str(),
        "timestamptz" | "timestamp" | "date"
    )
}

/// `updated_at` and its like.
fn is_touched(name: &str) -> bool {
    [
        "updated",
        "modified",
        "changed",
        "last_updated",
        "last_modified",
    ]
    .iter()
    .any(|stem| name.starts_with(stem))
}

fn kind(column: &catalog::Column) -> ColumnKind {
    match column.type_name.as_str() {
        "bool" => ColumnKind::Boolean,
        "int2" => ColumnKind::Integer(2),
        "int4" => ColumnKind::Integer(4),
        "int8" => ColumnKind::Integer(8),
        "float4" => ColumnKind::Float4,
        "float8" => ColumnKind::Float8,
        "text" | "varchar" | "bpchar" | "name" => ColumnKind::Text,
        "bytea" => ColumnKind::Bytea,
        "uuid" => ColumnKind::Uuid,
        "timestamptz" | "timestamp" => ColumnKind::Timestamp,
        "date" => ColumnKind::Date,
        "vector" => ColumnKind::Vector(column.dimensions),
        "halfvec" => ColumnKind::HalfVec(column.dimensions),
        _ => ColumnKind::Cast,
    }
}

/// Referenced tables before those that refer to them; otherwise as configured.
fn in_reference_order(mut rest: Vec<Target>) -> Vec<Target> {
    let mut ordered: Vec<Target> = Vec::new();
    while !rest.is_empty() {
        let waiting: Vec<String> = rest
            .iter()
            .map(|target| target.table.name.clone())
            .collect();
        let next = rest
            .iter()
            .position(|target| {
                !target
                    .table
                    .references
                    .iter()
                    .any(|name| waiting.contains(name))
            })
            // A circle of references can only be deferred constraints: any order will do.
            .unwrap_or(0);
        ordered.push(rest.remove(next));
    }
    ordered
}

/// Changes whenever the same row would be written differently.
fn layout(tables: &[Target], schema: &Schema) -> u64 {
    let mut text = String::new();
    for target in tables {
        text.push_str(&target.table.quoted);
        for column in &target.columns {
            let feed = match column.feed {
                Feed::Field(index) => schema.columns.get(index).map(|column| &column.name),
                Feed::Embedding(index) => schema
                    .embeddings
                    .get(index)
                    .map(|embedding| &embedding.name),
            };
            text.push_str(&format!(
                "\0{}\0{}\0{feed:?}",
                column.column.name, column.column.type_sql
            ));
        }
    }
    xxh3_64(text.as_bytes())
}

impl Targets {
    /// Judges the live rows: those that cannot be written become failures, and of each of the
    /// others `digests` gets what would be written.
    pub fn route(&self, batch: &mut Batch, digests: &mut Vec<Uuid>) {
        digests.resize(batch.keys.len(), Uuid::nil());
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
        for column in self.tables.iter().flat_map(|target| &target.columns) {
            let name = || column.column.name.clone();
            let fault = match column.feed {
                Feed::Field(index) => values
                    .get(index)
                    .and_then(|value| value_fault(column.kind, value)),
                Feed::Embedding(index) => batch
                    .embeddings
                    .get(row as usize, index)
                    .and_then(|vector| vector_fault(column.kind, vector)),
            };
            if let Some((code, message)) = fault {
                return Err((code, format!("`{}` {message}", column.column.name), name()));
            }
        }
        Ok(())
    }

    fn digest(&self, batch: &Batch, row: u32, hasher: &mut Xxh3) {
        let values = batch.row(row);
        for column in self.tables.iter().flat_map(|target| &target.columns) {
            match column.feed {
                Feed::Field(index) => {
                    digest::value(hasher, values.get(index).unwrap_or(&Value::Null))
                }
                Feed::Embedding(index) => {
                    digest::vector(hasher, batch.embeddings.get(row as usize, index))
                }
            }
        }
    }
}
