//! The mapping of a dataset to tables, for people: what feeds each column, and what feeds or is fed
//! by nothing.

use serde::{Deserialize, Serialize};

use super::absent::Treatment;
use super::table::Column;
use super::target::{Feed, ItemFeed, Items, Target, Targets};
use crate::row::Schema;

/// The mapping of a dataset to the tables of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// Referenced ones first.
    pub tables: Vec<TableMapping>,
    /// Fields of the dataset that feed no column.
    pub unused_fields: Vec<String>,
    /// Embeddings of the dataset that feed no column.
    pub unused_embeddings: Vec<UnusedEmbedding>,
}

/// An embedding that feeds no column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnusedEmbedding {
    /// As in the dataset.
    pub name: String,
    /// As the dataset declares them.
    pub dimensions: usize,
}

/// The mapping of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableMapping {
    /// As the configuration names it.
    pub name: String,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// Columns by which rows are found.
    pub key: Vec<String>,
    /// All columns, in the order of the table.
    pub columns: Vec<ColumnMapping>,
}

/// What feeds a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnMapping {
    /// Not quoted.
    pub column: String,
    /// As in SQL, with its modifiers.
    #[serde(rename = "type")]
    pub type_sql: String,
    /// True for NOT NULL.
    pub required: bool,
    /// Source of its values.
    pub fed_by: FedBy,
}

/// Source of a column's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FedBy {
    /// The row's key.
    Key,
    /// A field of the dataset.
    Field(String),
    /// An embedding of the dataset.
    Embedding(String),
    /// A field that the dataset does not have, and that a plugin may set.
    Plugins(String),
    /// An item of this list, or a member of it.
    Item(String),
    /// The position of an item in this list.
    Position(String),
    /// The time of the transaction.
    Clock,
    /// Whether the source still has the row.
    Missing,
    /// The server: a generated column, an identity or a default.
    Server,
    /// Nothing: null in new rows.
    Nothing,
}

impl FedBy {
    /// True if the dataset feeds the column.
    #[must_use]
    pub fn is_dataset(&self) -> bool {
        match self {
            Self::Key | Self::Field(_) | Self::Embedding(_) | Self::Item(_) | Self::Position(_) => {
                true
            }
            Self::Plugins(_) | Self::Clock | Self::Missing | Self::Server | Self::Nothing => false,
        }
    }

    /// Name of the field or embedding of the dataset.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Field(name) | Self::Embedding(name) | Self::Item(name) | Self::Position(name) => {
                Some(name)
            }
            Self::Key
            | Self::Plugins(_)
            | Self::Clock
            | Self::Missing
            | Self::Server
            | Self::Nothing => None,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Key => "the row's key".into(),
            Self::Field(name) => format!("the field {name}"),
            Self::Embedding(name) => format!("the embedding {name}"),
            Self::Plugins(name) => format!("{name}, if a plugin sets it"),
            Self::Item(name) => format!("items of {name}"),
            Self::Position(name) => format!("position in {name}"),
            Self::Clock => "the time of the change".into(),
            Self::Missing => "`missing`, for rows that are gone".into(),
            Self::Server => "the server".into(),
            Self::Nothing => "nothing: null".into(),
        }
    }
}

impl Targets {
    /// The mapping of the dataset with this schema to these tables.
    #[must_use]
    pub fn mapping(&self, dataset: &Schema) -> Mapping {
        let tables = self.tables.iter().map(|target| self.table_mapping(target));
        let feeds = |feed: Feed| {
            let mut targets = self.tables.iter();
            targets.any(|target| {
                let lists = target.items.iter().map(|items| Feed::Field(items.list));
                target
                    .fed()
                    .map(|fed| fed.feed)
                    .chain(lists)
                    .any(|it| it == feed)
            })
        };
        let fields = dataset.columns.iter().enumerate();
        let embeddings = dataset.embeddings.iter().enumerate();
        Mapping {
            tables: tables.collect(),
            unused_fields: fields
                .filter(|(index, _)| !feeds(Feed::Field(*index)))
                .map(|(_, field)| field.name.clone())
                .collect(),
            unused_embeddings: embeddings
                .filter(|(index, _)| !feeds(Feed::Embedding(*index)))
                .map(|(_, embedding)| UnusedEmbedding {
                    name: embedding.name.clone(),
                    dimensions: embedding.dimensions,
                })
                .collect(),
        }
    }

    fn table_mapping(&self, target: &Target) -> TableMapping {
        let table = &target.table;
        let by_items = target
            .items
            .iter()
            .filter_map(|items| items.columns.first());
        let key = target.key.iter().map(|fed| &fed.column);
        let key = key.chain(by_items.map(|item| &item.column));
        let columns = table.columns.iter().map(|column| ColumnMapping {
            column: column.name.clone(),
            type_sql: column.declared_sql.clone(),
            required: column.required,
            fed_by: self.fed_by(target, column),
        });
        let mut columns: Vec<ColumnMapping> = columns.collect();
        if let Treatment::Flag(flags) = &self.missing.treatment {
            let flags = flags.iter().filter(|flag| flag.table == table.quoted);
            columns.extend(flags.map(|flag| ColumnMapping {
                column: flag.column.clone(),
                type_sql: flag.kind.type_sql().into(),
                required: false,
                fed_by: FedBy::Missing,
            }));
        }
        TableMapping {
            name: table.name.clone(),
            quoted: table.quoted.clone(),
            key: key.map(|column| column.name.clone()).collect(),
            columns,
        }
    }

    fn fed_by(&self, target: &Target, column: &Column) -> FedBy {
        let name = &column.name;
        if let Some(fed) = target.fed().find(|fed| fed.column.name == *name) {
            return match fed.feed {
                Feed::Key => FedBy::Key,
                Feed::Field(index) => self.field(index),
                Feed::Embedding(index) => {
                    let embedding = self.schema.embeddings.get(index);
                    FedBy::Embedding(embedding.map_or_else(String::new, |it| it.name.clone()))
                }
            };
        }
        let item = target
            .items
            .as_ref()
            .and_then(|items| self.item(items, name));
        item.unwrap_or_else(|| {
            if target.stamped.contains(name) || target.touched.contains(name) {
                FedBy::Clock
            } else if column.generated || column.has_default {
                FedBy::Server
            } else {
                FedBy::Nothing
            }
        })
    }

    /// A field of the dataset, or one that only plugins can set: that has no type.
    fn field(&self, index: usize) -> FedBy {
        match self.schema.columns.get(index) {
            Some(field) if field.field_type.is_some() => FedBy::Field(field.name.clone()),
            field => FedBy::Plugins(field.map_or_else(String::new, |it| it.name.clone())),
        }
    }

    fn item(&self, items: &Items, column: &str) -> Option<FedBy> {
        let item = items
            .columns
            .iter()
            .find(|item| item.column.name == column)?;
        Some(match (self.field(items.list), item.feed) {
            (FedBy::Field(list), ItemFeed::Item) => FedBy::Item(list),
            (FedBy::Field(list), ItemFeed::Position) => FedBy::Position(list),
            (by_plugins, _) => by_plugins,
        })
    }
}
