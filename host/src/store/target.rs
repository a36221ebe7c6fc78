//! Which value goes into which column, and whether it can.
//!
//! [`bind`] matches a dataset's schema with the tables' catalog once, before the first row, and
//! reports everything that cannot fit together. [`Targets::route`] then judges the rows of a
//! batch: a value that does not fit its column fails its row, and what would be written of the
//! others is digested. Encoding needs no checks after that.

mod bind;
mod fit;
mod items;
mod kind;
mod layout;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use self::fit::{value_fault, vector_fault};
pub use self::{
    bind::bind,
    items::{ItemColumn, ItemFeed, Items},
    kind::ColumnKind,
};
use super::{
    catalog::{self, Table},
    digest,
    missing::Missing,
};
use crate::{
    decode::KeyType,
    row::{Batch, Failure, Schema, Stage, Value},
};

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// The row's key.
    Key,
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
    /// By which a row is found again: the primary key, or else a unique one. At most one column of
    /// it is fed by the row's key. Of a table with a row for each item of a list it is what these
    /// rows have in common, which is the key of the table that they refer to.
    pub key: Vec<TargetColumn>,
    /// The others, in the order of the table.
    pub columns: Vec<TargetColumn>,
    /// Columns set to the time of the transaction when a row is changed.
    pub touched: Vec<String>,
    /// Columns set to the time of the transaction when a row is inserted: those without a
    /// default.
    pub stamped: Vec<String>,
    /// What its rows consist of besides, where there is one for each item of a list.
    pub items: Option<Items>,
}

impl Target {
    /// The columns that rows feed, those of the key first.
    pub fn fed(&self) -> impl Iterator<Item = &TargetColumn> {
        self.key.iter().chain(&self.columns)
    }

    /// The column of the key that the row's key feeds, if one is.
    #[must_use]
    pub fn row_key(&self) -> Option<&TargetColumn> {
        self.key.iter().find(|column| column.feed == Feed::Key)
    }

    /// The column that is the whole key and is fed by the row's key, which then finds the row.
    #[must_use]
    pub fn whole_key(&self) -> Option<&TargetColumn> {
        match self.key.as_slice() {
            [column] if column.feed == Feed::Key => Some(column),
            _ => None,
        }
    }
}

/// The tables of a pipeline, referenced ones first.
#[derive(Debug, Clone)]
pub struct Targets {
    /// At least one.
    pub tables: Vec<Target>,
    /// The dataset's columns, and after them the columns that only plugins can fill.
    pub schema: Arc<Schema>,
    /// Of the columns that the row's key feeds; text where it feeds none.
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
    /// From the name of a field or embedding to the name of a column, or to `table.column` where
    /// several tables have such a column; of a list's field also to the name of its table.
    pub rename: &'a BTreeMap<String, String>,
    /// Whether plugins may set fields that the source does not have.
    pub transforms: bool,
}

impl Targets {
    /// The first table in which a row's key alone does not find the row.
    fn unkeyed(&self) -> Option<&Target> {
        let mut tables = self.tables.iter();
        tables.find(|target| target.whole_key().is_none())
    }

    /// Why rows that the source no longer has cannot be found, where they are sought.
    #[must_use]
    pub fn unfound(&self) -> Option<Misfit> {
        let target = self.unkeyed().filter(|_| self.missing.is_sought())?;
        Some(Misfit {
            place: target.table.name.clone(),
            message: "its key is not the row's key alone, by which missing rows are known".into(),
            hint: "leave `missing` out".into(),
        })
    }

    /// Judges the live rows: those that cannot be written become failures, and of each of the
    /// others `digests` gets what would be written. Tombstones, which have nothing but a key,
    /// fail where that finds no row.
    pub fn route(&self, batch: &mut Batch, digests: &mut Vec<Uuid>) {
        digests.resize(batch.keys.len(), Uuid::nil());
        if let Some(target) = self.unkeyed() {
            let name = &target.table.name;
            for row in std::mem::take(&mut batch.deleted) {
                batch.failures.push(Failure {
                    row,
                    stage: Stage::Write,
                    code: "DELETE_KEY".into(),
                    message: format!("`{name}` has another key, by which no row can be deleted"),
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
                    // `decode` has judged it.
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
