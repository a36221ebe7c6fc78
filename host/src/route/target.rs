//! The tables of a pipeline, and what feeds their columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::absent::Missing;
use super::kind::ColumnKind;
use super::misfit::Misfit;
use super::table::{Column, Table};
use crate::decode::KeyType;
use crate::row::Schema;

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
    pub column: Column,
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
    /// Changes whenever the same row would be written differently.
    pub(super) layout: u64,
}

/// What the rows of a list's table consist of, besides the key of the row that has the list.
#[derive(Debug, Clone)]
pub struct Items {
    /// Index of the list in the schema's columns.
    pub list: usize,
    /// Whether the list is a JSON array, and not a list of texts.
    pub json: bool,
    /// The first is the one that, with the row's key, is the table's key.
    pub columns: Vec<ItemColumn>,
}

/// A column that an item feeds.
#[derive(Debug, Clone)]
pub struct ItemColumn {
    /// As the catalog describes it.
    pub column: Column,
    /// How its values travel.
    pub kind: ColumnKind,
    /// What of the item.
    pub feed: ItemFeed,
}

/// What of an item feeds a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemFeed {
    /// Itself, or of a JSON object the member of the column's name.
    Item,
    /// Its position in the list, from 1 on.
    Position,
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
    /// The same tables, from which rows go as `missing` says.
    #[must_use]
    pub fn seeking(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// The first table in which a row's key alone does not find the row.
    pub(super) fn unkeyed(&self) -> Option<&Target> {
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
}

impl Items {
    /// Whether the table's key is the item, and not its position.
    pub(crate) fn by_item(&self) -> bool {
        let first = self.columns.first();
        first.is_some_and(|column| column.feed == ItemFeed::Item)
    }

    pub(super) fn push(&mut self, column: &Column, feed: ItemFeed) {
        self.columns.push(ItemColumn {
            column: column.clone(),
            kind: ColumnKind::of(column),
            feed,
        });
    }
}
