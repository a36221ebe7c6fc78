//! Tables with a row for each item of a list: `(id, skill)` for the skills of a posting.
//!
//! Such a table references another one of the pipeline. Its key is that table's key and one more
//! column: the item itself, or the item's position. It is kept equal to the list. A list of texts
//! feeds one column; a JSON array feeds one column with its elements, or several with the members
//! of its objects.

use super::bind::{Binder, set_time};
use super::kind::ColumnKind;
use super::target::{Feed, ItemFeed, Items, Target, TargetColumn};
use crate::config::KeyChoice;
use crate::route::{Column, ForeignKey, Table};
use crate::row::FieldType;

/// A table that has a row for each item of a list.
pub(super) struct List<'t> {
    pub(super) reference: &'t ForeignKey,
    /// The table's primary key, or a unique one.
    key: &'t [String],
    /// The column of the key that is not part of the reference.
    extra: &'t Column,
    source: ListSource,
}

enum ListSource {
    Field(usize),
    /// A list that only plugins set; the source does not have it.
    Plugins,
}

fn is_position(column: &Column) -> bool {
    matches!(ColumnKind::of(column), ColumnKind::Integer(_))
        && ["position", "ordinal", "ordinality"].contains(&column.name.as_str())
}

impl Binder<'_> {
    /// Recognizes the table of a list by its key and by what feeds it.
    pub(super) fn list_of<'t>(&self, table: &'t Table) -> Option<List<'t>> {
        // A key that is chosen for it makes it a table of rows.
        if matches!(self.binding.key, KeyChoice::Tables(keys) if keys.contains_key(&table.name)) {
            return None;
        }
        let mut feeds = table
            .columns
            .iter()
            .map(|column| self.feed(table, &column.name));
        if feeds.any(|feed| matches!(feed, Some(Feed::Embedding(_)))) {
            return None;
        }
        let keys = [&table.primary_key].into_iter().chain(&table.unique_keys);
        keys.flat_map(|key| table.foreign_keys.iter().map(move |it| (key, it)))
            .find_map(|(key, reference)| {
                let extra = key.iter().find(|name| !reference.columns.contains(name))?;
                let fits = reference.columns.iter().all(|name| key.contains(name))
                    && key.len() == reference.columns.len() + 1;
                let extra = table.column(extra).filter(|it| fits && !it.generated)?;
                Some(List {
                    reference,
                    key,
                    extra,
                    source: self.list_source(table, key, extra)?,
                })
            })
    }

    fn list_source(&self, table: &Table, key: &[String], extra: &Column) -> Option<ListSource> {
        let is_list = |feed: &Option<Feed>| {
            let declared = self.field_type(*feed);
            matches!(declared, Some(FieldType::Texts | FieldType::Json))
        };
        let field = |feed| match feed {
            Some(Feed::Field(index)) => Some(ListSource::Field(index)),
            _ => None,
        };
        let fed = self.feed(table, &extra.name);
        if fed.is_some() {
            return field(fed.filter(|feed| is_list(&Some(*feed))));
        }
        // A list that has the name of the table.
        let rename = self.binding.rename;
        let renamed = rename.iter().find(|(_, to)| **to == table.name);
        let name = match renamed {
            Some((from, _)) => Some(from.as_str()),
            None => Some(table.bare.as_str()).filter(|name| !rename.contains_key(*name)),
        };
        let named = name
            .and_then(|name| self.schema.column(name))
            .map(Feed::Field);
        if is_list(&named) {
            return field(named);
        }
        if is_position(extra) {
            // A list that has the name of another column, which then holds the items.
            let mut others = table.columns.iter().filter(|column| {
                let is_array = ColumnKind::of(column).accepts(FieldType::Texts);
                !key.contains(&column.name) && !is_array
            });
            let feed = others.find_map(|column| {
                let feed = self.feed(table, &column.name);
                is_list(&feed).then_some(feed?)
            });
            return field(feed);
        }
        // A unique key beside the primary one may be anything.
        (self.binding.transforms && key == table.primary_key).then_some(ListSource::Plugins)
    }

    /// Matches a list's table with the table that it references.
    pub(super) fn list(
        &mut self,
        table: &Table,
        list: &List<'_>,
        parent: &Target,
    ) -> Option<Target> {
        let key = self.parent_key(table, list.reference, parent)?;
        let index = match list.source {
            ListSource::Field(index) => index,
            ListSource::Plugins => self.add_plugins_field(&list.extra.name),
        };
        let json = self.field_type(Some(Feed::Field(index))) == Some(FieldType::Json);
        let mut items = Items {
            list: index,
            json,
            columns: Vec::new(),
        };
        let mut target = Target {
            table: table.clone(),
            key,
            columns: Vec::new(),
            touched: Vec::new(),
            stamped: Vec::new(),
            items: None,
        };
        // A primary key beside the list's key is the server's.
        let is_key = |name: &String| list.key.contains(name) || table.primary_key.contains(name);
        let others = table.columns.iter().filter(|it| !is_key(&it.name));
        let by_position = is_position(list.extra) && others.count() > 0;
        let first = if by_position {
            ItemFeed::Position
        } else {
            ItemFeed::Item
        };
        // The column that tells items apart must not be generated anew each time.
        let extra = Column {
            default_sql: None,
            ..list.extra.clone()
        };
        items.push(&extra, first);
        for column in &table.columns {
            if column.generated || list.key.contains(&column.name) {
                continue;
            }
            if !is_key(&column.name) {
                self.item_column(&mut target, &mut items, column);
            } else if !column.has_default {
                let message = "is part of the primary key, but nothing feeds it, and the server does not make it";
                let hint = "give it a default, or make the list's key the primary key";
                self.misfit(format!("{}.{}", table.name, column.name), message, hint);
            }
        }
        if !items.has_item() {
            let message = "has no column for the items of its list";
            let hint = "give the column the name of the list, with `rename` if needed, or make it NOT NULL";
            self.misfit(table.name.clone(), message, hint);
        }
        target.items = Some(items);
        Some(target)
    }

    /// Decides what feeds a column of a list's table that is not part of the key.
    fn item_column(&mut self, target: &mut Target, items: &mut Items, column: &Column) {
        let is_fed = self.feed(&target.table, &column.name) == Some(Feed::Field(items.list));
        let needed = column.required && !column.has_default;
        // A member that is left out leaves the default, unless that is an identity's.
        let takes_member = items.json && (!column.has_default || column.default_sql.is_some());
        if items.by_item() && is_position(column) {
            items.push(column, ItemFeed::Position);
        } else if !is_fed && set_time(target, column) {
            // The server's clock feeds it.
        } else if takes_member || !items.has_item() && (is_fed || needed) {
            items.push(column, ItemFeed::Item);
        } else if needed {
            let message = "is NOT NULL, but the list feeds another column";
            let hint = "give it a default, or make the list JSON objects";
            self.misfit_of(&target.table, column, message, hint);
        }
    }

    /// The columns of a list's table that hold the key of the row with the list.
    fn parent_key(
        &mut self,
        table: &Table,
        reference: &ForeignKey,
        parent: &Target,
    ) -> Option<Vec<TargetColumn>> {
        let mut key = Vec::new();
        for (name, referenced) in reference.columns.iter().zip(&reference.referenced) {
            let column = table.columns.iter().find(|column| column.name == *name)?;
            let fed = parent.key.iter().find(|fed| fed.column.name == *referenced);
            let Some(fed) = fed.filter(|_| parent.key.len() == reference.columns.len()) else {
                let message = format!("references {}, but not its key", parent.table.name);
                let hint = "a list's table references the key columns of the row's table";
                self.misfit_of(table, column, message, hint);
                return None;
            };
            key.push(TargetColumn {
                column: column.clone(),
                kind: ColumnKind::of(column),
                feed: fed.feed,
            });
        }
        Some(key)
    }
}
