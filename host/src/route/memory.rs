//! The mapping that a pipeline had before, and what it has lost since.
//!
//! A column or an embedding that goes away would otherwise go without a word: rows would still be
//! written, only with less in them.

use serde::{Deserialize, Serialize};

use super::mapping::{ColumnMapping, FedBy, Mapping};
use super::misfit::Misfit;
use super::table::quoted;
use super::target::Targets;
use crate::row::Schema;

/// The mapping of an earlier run, as the database keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Changes whenever the same row would be written differently.
    pub layout: String,
    /// The columns that the dataset fed.
    pub columns: Vec<Fed>,
}

/// A column that the dataset fed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fed {
    /// Schema and name, quoted for use in SQL.
    pub table: String,
    /// Not quoted.
    pub column: String,
    /// As in SQL, with its modifiers.
    #[serde(rename = "type")]
    pub type_sql: String,
    /// Source of its values.
    pub fed_by: FedBy,
}

impl Targets {
    /// What is to be remembered of these tables, whose mapping is `mapping`.
    #[must_use]
    pub fn remembered(&self, mapping: &Mapping) -> Remembered {
        let columns = mapping.tables.iter().flat_map(|table| {
            let fed = table.columns.iter().filter(|it| it.fed_by.is_dataset());
            fed.map(|it| Fed {
                table: table.quoted.clone(),
                column: it.column.clone(),
                type_sql: it.type_sql.clone(),
                fed_by: it.fed_by.clone(),
            })
        });
        Remembered {
            layout: format!("{:016x}", self.layout),
            columns: columns.collect(),
        }
    }
}

impl Remembered {
    /// Columns that were fed, and are not fed any more because they or their source are gone. What
    /// the configuration has changed (tables that it no longer names, other renames) is not lost.
    #[must_use]
    pub fn lost(&self, pipeline: &str, now: &Mapping, dataset: &Schema) -> Vec<Misfit> {
        let lost = self.columns.iter().filter_map(|before| {
            let source = before.fed_by.source()?;
            let mut tables = now.tables.iter();
            let table = tables.find(|table| table.quoted == before.table)?;
            let still = |it: &ColumnMapping| {
                let same = it.column == before.column && it.fed_by.is_dataset();
                same || it.fed_by == before.fed_by
            };
            if table.columns.iter().any(still) {
                return None;
            }
            let has_column = table.columns.iter().any(|it| it.column == before.column);
            let has_source =
                dataset.column(source).is_some() || dataset.embedding(source).is_some();
            let (gone, again) = match (has_column, has_source) {
                (true, true) => return None,
                (false, _) => (
                    "the table no longer has it",
                    format!(
                        "alter table {} add column {} {}; or map its source to another column with `rename`",
                        before.table,
                        quoted(&before.column),
                        before.type_sql
                    ),
                ),
                (true, false) => (
                    "the dataset no longer has that",
                    "let the source have it again, or map another to the column with `rename`"
                        .into(),
                ),
            };
            Some(Misfit {
                place: format!("{}.{}", table.name, before.column),
                message: format!("was fed by {}, but {gone}", before.fed_by.words()),
                hint: format!(
                    "{again}; or confirm that it is not wanted any more: forebay check --accept-mapping {pipeline}"
                ),
            })
        });
        lost.collect()
    }
}
