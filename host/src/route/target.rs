//! The tables of a pipeline, and the feeds of their columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::absent::Missing;
use super::kind::ColumnKind;
use super::misfit::Misfit;
use super::table::{Column, Table};
use crate::config::KeyChoice;
use crate::decode::{Decoder, KeyType, Needs};
use crate::row::Schema;
use crate::source::Format;

/// Source of a column's values.
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
    /// Format of its values on the wire.
    pub kind: ColumnKind,
    /// Source of its values.
    pub feed: Feed,
}

impl TargetColumn {
    /// What the server stores where the field that feeds the column is left out, as an SQL
    /// expression: the column's default. `None` without one, and then null is stored.
    #[must_use]
    pub fn omitted(&self) -> Option<(usize, &str)> {
        match self.feed {
            Feed::Field(field) => Some((field, self.column.omitted_sql.as_deref()?)),
            Feed::Key | Feed::Embedding(_) => None,
        }
    }
}

/// A table that rows feed.
#[derive(Debug, Clone)]
pub struct Target {
    /// As the catalog describes it.
    pub table: Table,
    /// Columns by which a row is found again: the primary key, or else a unique one. The row's key
    /// feeds at most one of them. For the table of a list, these are the columns that the items
    /// of one row have in common: the key of the table that they reference.
    pub key: Vec<TargetColumn>,
    /// Other columns, in the order of the table.
    pub columns: Vec<TargetColumn>,
    /// Columns set to the time of the transaction when a row is changed.
    pub touched: Vec<String>,
    /// Columns set to the time of the transaction when a row is inserted: those without a
    /// default.
    pub stamped: Vec<String>,
    /// Further columns, if the table has a row for each item of a list.
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

    /// The column that is the whole key and is fed by the row's key, which alone finds the row.
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
    /// Type of the columns that the row's key feeds; text if it feeds none.
    pub key_type: KeyType,
    /// What the tables need of a row, beside its key.
    pub needs: Needs,
    /// Treatment of rows that the source no longer has.
    pub missing: Missing,
    /// Changes whenever the same row would be written differently.
    pub(super) layout: u64,
    /// What concerns each kind of rows, if the dataset has several: see [`Targets::of`].
    pub kinds: Vec<Arc<Targets>>,
}

/// Columns of a list's table, besides the key of the row that has the list.
#[derive(Debug, Clone)]
pub struct Items {
    /// Index of the list in the schema's columns.
    pub list: usize,
    /// True for a JSON array, false for a list of texts.
    pub json: bool,
    /// The first one and the row's key together are the table's key.
    pub columns: Vec<ItemColumn>,
}

/// A column that an item feeds.
#[derive(Debug, Clone)]
pub struct ItemColumn {
    /// As the catalog describes it.
    pub column: Column,
    /// Format of its values on the wire.
    pub kind: ColumnKind,
    /// Part of the item that feeds it.
    pub feed: ItemFeed,
}

/// Part of an item that feeds a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemFeed {
    /// The item itself, or the member of the column's name if it is a JSON object.
    Item,
    /// Its position in the list, from 1 on.
    Position,
}

/// The dataset and tables to match with [`bind`](super::bind()).
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// As the source describes its dataset.
    pub schema: &'a Schema,
    /// As configured.
    pub names: &'a [String],
    /// As the catalog describes them; `None` for a table that does not exist.
    pub tables: &'a [Option<Table>],
    /// Maps the name of a field or embedding to the name of a column, or to `table.column` where
    /// several tables have such a column; the name of a list also to the name of its table.
    pub rename: &'a BTreeMap<String, String>,
    /// Column by which rows are found, where it is chosen.
    pub key: &'a KeyChoice,
    /// For tables that do not exist: what was probably meant, as a hint.
    pub meant: &'a BTreeMap<String, String>,
    /// True if plugins may set fields that the source does not have.
    pub transforms: bool,
    /// True if the row's key feeds no column: fields feed the keys of tables.
    pub key_is_apart: bool,
}

impl Targets {
    /// The same tables with this treatment of missing rows.
    #[must_use]
    pub fn with_missing(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// The decoder of rows for these tables; rows have at most `max_row_bytes` bytes.
    #[must_use]
    pub fn decoder(&self, format: Format, max_row_bytes: usize) -> Decoder {
        Decoder {
            schema: Arc::clone(&self.schema),
            key_type: self.key_type,
            max_row_bytes,
            needs: self.needs.clone(),
            format,
        }
    }

    /// The first table in which a row's key alone does not find the row.
    pub(super) fn unkeyed(&self) -> Option<&Target> {
        let mut tables = self.tables.iter();
        tables.find(|target| target.whole_key().is_none())
    }

    /// The reason why missing rows cannot be found, if they are looked for.
    #[must_use]
    pub fn unfound(&self) -> Option<Misfit> {
        let target = self.unkeyed().filter(|_| self.missing.is_sought())?;
        Some(Misfit {
            place: target.table.name.clone(),
            message: "its key is not the row's key alone, which identifies missing rows".into(),
            hint: "remove `missing`".into(),
        })
    }
}

impl Items {
    /// True if the table's key has the item, and not its position.
    pub(crate) fn by_item(&self) -> bool {
        let first = self.columns.first();
        first.is_some_and(|column| column.feed == ItemFeed::Item)
    }

    /// True if a column holds the item or a member of it.
    pub(super) fn has_item(&self) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| column.feed == ItemFeed::Item)
    }

    pub(super) fn push(&mut self, column: &Column, feed: ItemFeed) {
        self.columns.push(ItemColumn {
            column: column.clone(),
            kind: ColumnKind::of(column),
            feed,
        });
    }
}
