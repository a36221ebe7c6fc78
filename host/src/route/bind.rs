//! Matches a dataset with tables, once before the first row. All misfits are reported together.

use std::sync::Arc;

use super::fit::{Mismatch, mismatch};
use super::layout::{in_reference_order, layout};
use super::needs::needs;
use super::unmapped::{most_alike, toml_key};
use super::{Binding, ColumnKind, Feed, Misfit, Target, TargetColumn, Targets};
use crate::route::absent::Missing;
use crate::route::{Column, Table};
use crate::row;
use crate::row::{FieldType, Schema};

/// Matches a dataset with tables.
///
/// # Errors
/// Fails if anything does not fit; the error lists all misfits.
pub fn bind(binding: Binding<'_>) -> Result<Targets, Vec<Misfit>> {
    let mut binder = Binder {
        binding,
        schema: binding.schema.clone(),
        misfits: Vec::new(),
    };
    let mut targets: Vec<Target> = Vec::new();
    let mut lists = Vec::new();
    for (index, (name, table)) in binding.names.iter().zip(binding.tables).enumerate() {
        let Some(table) = table else {
            let meant = binding.meant.get(name).map(String::as_str);
            let hint = meant.unwrap_or("create it, or name it with its schema");
            binder.misfit(name.clone(), "no such table", hint);
            continue;
        };
        let mut before = binding.tables.iter().take(index).flatten();
        if before.any(|other| other.quoted == table.quoted) {
            binder.misfit(name.clone(), "is named twice", "name it once");
        } else if let Some(list) = binder.list_of(table) {
            lists.push((table, list));
        } else {
            targets.extend(binder.table(table));
        }
    }
    for (table, list) in lists {
        // A misfit of the referenced table is reported already.
        let parent = targets
            .iter()
            .find(|target| target.table.name == list.reference.table);
        if let Some(parent) = parent.cloned() {
            targets.extend(binder.list(table, &list, &parent));
        }
    }
    binder.check_renames(&targets);
    binder.check_key(&targets);
    let key_type = binder.key_type(&targets);
    if !binder.misfits.is_empty() {
        return Err(binder.misfits);
    }
    let tables = in_reference_order(targets);
    let layout = layout(&tables, &binder.schema);
    Ok(Targets {
        needs: needs(&tables, &binder.schema),
        tables,
        schema: Arc::new(binder.schema),
        key_type,
        missing: Missing::default(),
        layout,
        kinds: Vec::new(),
    })
}

/// State while tables are matched, one after the other.
pub(super) struct Binder<'a> {
    pub(super) binding: Binding<'a>,
    /// The dataset's columns, and those that only plugins can fill.
    pub(super) schema: Schema,
    pub(super) misfits: Vec<Misfit>,
}

impl Binder<'_> {
    pub(super) fn misfit(&mut self, place: String, message: impl Into<String>, hint: &str) {
        self.misfits.push(Misfit {
            place,
            message: message.into(),
            hint: hint.into(),
        });
    }

    pub(super) fn misfit_of(
        &mut self,
        table: &Table,
        column: &Column,
        message: impl Into<String>,
        hint: &str,
    ) {
        let place = format!("{}.{}", table.name, column.name);
        self.misfit(place, message, hint);
    }

    /// The source's name for what feeds a column; `None` if the field of the column's name feeds
    /// another column.
    fn source_name<'n>(&'n self, table: &Table, column: &'n str) -> Option<&'n str> {
        let rename = self.binding.rename;
        // With the quotes of the configuration's name, or without.
        let qualified = [&table.name, &table.bare].map(|name| format!("{name}.{column}"));
        let renamed = rename
            .iter()
            .find(|(_, to)| qualified.contains(to))
            .or_else(|| rename.iter().find(|(_, to)| *to == column));
        match renamed {
            Some((from, _)) => Some(from),
            None => (!rename.contains_key(column)).then_some(column),
        }
    }

    pub(super) fn feed(&self, table: &Table, column: &str) -> Option<Feed> {
        let name = self.source_name(table, column)?;
        let embedding = self.schema.embedding(name).map(Feed::Embedding);
        embedding.or_else(|| self.schema.column(name).map(Feed::Field))
    }

    /// The declared type of the field that feeds a column.
    pub(super) fn field_type(&self, feed: Option<Feed>) -> Option<FieldType> {
        match feed? {
            Feed::Field(index) => self.schema.columns.get(index)?.field_type,
            Feed::Key | Feed::Embedding(_) => None,
        }
    }

    /// Adds a field that only plugins can fill, for a column that nothing else feeds.
    pub(super) fn add_plugins_field(&mut self, name: &str) -> usize {
        self.schema.columns.push(row::Column {
            name: name.to_owned(),
            field_type: None,
        });
        self.schema.columns.len() - 1
    }

    pub(super) fn target_column(
        &mut self,
        table: &Table,
        column: &Column,
        feed: Feed,
    ) -> TargetColumn {
        let declared = self.field_type(Some(feed));
        let kind = match ColumnKind::of(column) {
            // A text may be an array literal, which has to be cast.
            ColumnKind::TextArray(_) if declared != Some(FieldType::Texts) => ColumnKind::Array,
            kind => kind,
        };
        if let Some(Mismatch { message, hint }) =
            mismatch(self.binding, &self.schema, feed, table, column, kind)
        {
            self.misfit_of(table, column, message, &hint);
        }
        TargetColumn {
            column: column.clone(),
            kind,
            feed,
        }
    }

    /// Matches a table that has one row for each row of the dataset.
    fn table(&mut self, table: &Table) -> Option<Target> {
        let mut target = Target {
            table: table.clone(),
            key: self.key(table)?,
            columns: Vec::new(),
            touched: Vec::new(),
            stamped: Vec::new(),
            items: None,
        };
        for column in &table.columns {
            let in_key = target.key.iter().any(|key| key.column.name == column.name);
            if in_key || column.generated {
                continue;
            }
            if let Some(feed) = self.feed(table, &column.name) {
                let fed = self.target_column(table, column, feed);
                target.columns.push(fed);
            } else {
                self.unfed(&mut target, column);
            }
        }
        Some(target)
    }

    /// Handles a column that neither the key nor a field nor an embedding feeds.
    fn unfed(&mut self, target: &mut Target, column: &Column) {
        let kind = ColumnKind::of(column);
        let needed = column.required && !column.has_default;
        if matches!(kind, ColumnKind::Vector(_) | ColumnKind::HalfVec(_)) {
            if needed {
                let message = "needs an embedding, but the dataset has none of this name";
                let hint = match self.binding.schema.embeddings.as_slice() {
                    [only] => format!(
                        "did you mean rename = {{ {} = {:?} }}?",
                        toml_key(&only.name),
                        column.name
                    ),
                    _ => "map one to it with `rename`".into(),
                };
                self.misfit_of(&target.table, column, message, &hint);
            }
        } else if set_time(target, column) {
            // The server's clock feeds it.
        } else if let Some(name) = self
            .source_name(&target.table, &column.name)
            .filter(|_| self.binding.transforms && !column.has_default)
            .map(str::to_owned)
        {
            // Null until a plugin sets it. A column with a default is left out, and keeps it.
            let feed = Feed::Field(self.add_plugins_field(&name));
            let fed = self.target_column(&target.table, column, feed);
            target.columns.push(fed);
        } else if needed {
            let fields = self.binding.schema.columns.iter();
            let fields = fields.map(|field| field.name.as_str());
            let hint = match most_alike(&column.name, fields) {
                Some(field) => format!(
                    "did you mean rename = {{ {} = {:?} }}?",
                    toml_key(field),
                    column.name
                ),
                None => "map a field to it with `rename`, or give it a default".into(),
            };
            let message = "is NOT NULL, but nothing feeds it";
            self.misfit_of(&target.table, column, message, &hint);
        }
    }

    /// Reports every `rename` that has no effect: it is never what was meant.
    fn check_renames(&mut self, targets: &[Target]) {
        // A missing table is a misfit of its own, and may have the column.
        let known = targets.len() == self.binding.names.len();
        for (from, to) in self.binding.rename {
            let schema = self.binding.schema;
            let feed = schema.embedding(from).map(Feed::Embedding);
            let message = match feed.or_else(|| schema.column(from).map(Feed::Field)) {
                None => format!("the dataset has no field or embedding `{from}`"),
                Some(feed) if known && !targets.iter().any(|target| feeds(target, feed, to)) => {
                    format!("no table has a column `{to}` that it feeds")
                }
                Some(_) => continue,
            };
            let hint = format!(
                "rename = {{ {from} = \"{to}\" }} maps the source's name to the column's name"
            );
            self.misfit(format!("rename.{from}"), message, &hint);
        }
    }
}

/// True if `feed` feeds the column of a table that `to` names, or makes the table's rows.
fn feeds(target: &Target, feed: Feed, to: &str) -> bool {
    let names = [&target.table.name, &target.table.bare];
    let mut qualified = names.into_iter().filter_map(|name| {
        let rest = to.strip_prefix(name.as_str())?;
        rest.strip_prefix('.')
    });
    let column = qualified.next().unwrap_or(to);
    let mut columns = target.fed();
    columns.any(|fed| fed.feed == feed && fed.column.name == column)
        || target.items.as_ref().is_some_and(|items| {
            let mut columns = items.columns.iter().map(|item| &item.column.name);
            Feed::Field(items.list) == feed
                && (to == target.table.name || columns.any(|name| name == column))
        })
}

/// Lets the server's clock set a column that holds a time: `updated_at` and the like whenever the
/// row changes, others only where a value is required. Returns true if it does.
pub(super) fn set_time(target: &mut Target, column: &Column) -> bool {
    let is_time = matches!(
        column.type_name.as_str(),
        "timestamptz" | "timestamp" | "date"
    );
    let touched = is_time && is_touched(&column.name);
    let stamped = is_time && !column.has_default && (touched || column.required);
    if touched {
        target.touched.push(column.name.clone());
    }
    if stamped {
        target.stamped.push(column.name.clone());
    }
    touched || stamped
}

/// True for `updated_at` and the like.
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
