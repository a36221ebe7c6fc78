//! The columns by which the rows of a table are found: those that `key` chooses, or the primary
//! key, or another key if the server makes the primary one and only that other key is possible.
//!
//! Where several keys are possible, nothing is guessed: a row's key in the wrong column is refused
//! for every row, or written beside values that a sequence will use up later.

use std::collections::BTreeMap;

use super::bind::Binder;
use super::table::quoted;
use super::{ColumnKind, Feed, Misfit, Target, TargetColumn, Targets};
use crate::config::{KeyChoice, closest};
use crate::decode::KeyType;
use crate::route::{Column, NearKey, Table};

impl Binder<'_> {
    /// The columns by which a row is found again, with their feeds.
    pub(super) fn key(&mut self, table: &Table) -> Option<Vec<TargetColumn>> {
        let columns = self.key_columns(table)?;
        let apart = self.binding.key_is_apart;
        let single = columns.len() == 1 && !apart;
        let feeds: Vec<Option<Feed>> = columns
            .iter()
            // The row's key comes first. Further columns of a key need a field.
            .map(|column| {
                self.feed(table, &column.name)
                    .filter(|feed| !single && matches!(feed, Feed::Field(_)))
            })
            .collect();
        if feeds.iter().filter(|feed| feed.is_none()).count() > usize::from(!apart) {
            let unfed = columns.iter().zip(&feeds);
            let unfed = unfed.filter(|(_, feed)| feed.is_none());
            let names = names(unfed.map(|(column, _)| column.name.as_str()), " and ");
            let message = format!("no field feeds the key columns {names}");
            let hint = "the row's key feeds one key column, and fields of the same name feed the others; a list makes one row per item if the table references another one";
            self.misfit(table.name.clone(), message, hint);
            return None;
        }
        let mut key = Vec::new();
        for (column, feed) in columns.into_iter().zip(feeds) {
            let feed = feed.unwrap_or(Feed::Key);
            if feed == Feed::Key && ColumnKind::of(column).key_type().is_none() {
                let message = format!(
                    "has type {}, which a row's key cannot feed",
                    column.type_sql
                );
                self.misfit_of(table, column, message, "use uuid, integer or text");
                return None;
            }
            key.push(self.target_column(table, column, feed));
        }
        Some(key)
    }

    fn key_columns<'t>(&mut self, table: &'t Table) -> Option<Vec<&'t Column>> {
        if table
            .primary_key
            .iter()
            .any(|name| table.column(name).is_none())
        {
            // The column was taken for something else, which is reported already.
            return None;
        }
        let chosen = match self.binding.key {
            KeyChoice::Found => None,
            KeyChoice::Column(name) => table.column(name),
            KeyChoice::Tables(columns) => match columns.get(&table.name) {
                Some(name) if table.column(name).is_none() => {
                    self.no_such_column(table, name);
                    return None;
                }
                name => name.and_then(|name| table.column(name)),
            },
        };
        match chosen {
            Some(column) => self.chosen(table, column),
            None => self.possible(table),
        }
    }

    fn no_such_column(&mut self, table: &Table, name: &str) {
        let known = table.columns.iter().map(|column| column.name.as_str());
        let hint = match closest(name, known) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => "name a column that is unique and not null".into(),
        };
        let message = format!("has no column `{name}`, which `key` names");
        self.misfit(table.name.clone(), message, &hint);
    }

    /// The column that `key` names, if rows can be found by it.
    fn chosen<'t>(&mut self, table: &Table, column: &'t Column) -> Option<Vec<&'t Column>> {
        let (sql, name) = (&table.quoted, quoted(&column.name));
        let alone = |key: &Vec<String>| key.len() == 1 && key.first() == Some(&column.name);
        let mut keys = table.unique_keys.iter().chain([&table.primary_key]);
        let near = table.near_keys.iter().find(|near| alone(&near.columns));
        let unique = format!("create unique index on {sql} ({name})");
        let (message, hint) = if column.generated {
            let what = "is generated always, which a row's key cannot feed".to_owned();
            (what, "choose another column as `key`".to_owned())
        } else if keys.any(alone) {
            return Some(vec![column]);
        } else if let Some(NearKey { nullable, .. }) = near.filter(|near| !near.nullable.is_empty())
        {
            (
                "may be null, so it cannot be the `key`".into(),
                not_null(sql, nullable),
            )
        } else if near.is_some() {
            let what = "has a deferrable constraint, by which rows cannot be found".to_owned();
            (what, unique)
        } else {
            let mut keys = table.unique_keys.iter().chain([&table.primary_key]);
            let with = keys.find(|key| key.contains(&column.name));
            let others = with.into_iter().flatten().filter(|it| **it != column.name);
            let others = names(others.map(String::as_str), " and ");
            let what = match with {
                Some(_) => format!("is unique only together with {others}"),
                None => "is not unique in all rows, so it cannot be the `key`".into(),
            };
            let leave = if table.primary_key.contains(&column.name) {
                "; or leave `key` out"
            } else {
                ""
            };
            let required = if column.required {
                String::new()
            } else {
                format!("; {}", not_null(sql, std::slice::from_ref(&column.name)))
            };
            (what, unique + &required + leave)
        };
        self.misfit_of(table, column, message, &hint);
        None
    }

    /// The primary key, or another key if only that is possible.
    fn possible<'t>(&mut self, table: &'t Table) -> Option<Vec<&'t Column>> {
        let usable = |names: &Vec<String>| -> Option<Vec<&'t Column>> {
            let columns: Vec<_> = names.iter().filter_map(|name| table.column(name)).collect();
            let fits = columns.len() == names.len() && columns.iter().all(|it| !it.generated);
            (fits && !columns.is_empty()).then_some(columns)
        };
        let mut others: Vec<_> = table.unique_keys.iter().filter_map(usable).collect();
        match usable(&table.primary_key) {
            Some(primary) if self.is_made(table, &primary) => {
                self.beside_made(table, primary, others)
            }
            Some(primary) => Some(primary),
            None if others.len() == 1 => others.pop(),
            None => {
                self.keyless(table, &others);
                None
            }
        }
    }

    /// The key of a table whose server makes the primary key, but where rows could bring it.
    fn beside_made<'t>(
        &mut self,
        table: &'t Table,
        primary: Vec<&'t Column>,
        mut others: Vec<Vec<&'t Column>>,
    ) -> Option<Vec<&'t Column>> {
        let unfed = |column: &&Column| self.feed(table, &column.name).is_none();
        // Only the row's key can feed such a column.
        let needed = |column: &&Column| unfed(column) && column.required && !column.has_default;
        // The row's key feeds one column.
        others.retain(|key| key.iter().filter(|column| unfed(column)).count() <= 1);
        let mut needing = others.iter().filter(|key| key.iter().any(needed));
        let (first, second) = (needing.next(), needing.next());
        if let (Some(key), None) = (first, second) {
            return Some(key.clone());
        }
        let needs_another = first.is_some();
        if others.len() == 1 && others.iter().flatten().any(unfed) {
            return others.pop();
        }
        // Fields feed all columns of the other composite keys.
        others.retain(|key| key.len() == 1 || key.iter().any(unfed));
        let near = table
            .near_keys
            .iter()
            .filter(|near| near.columns.len() == 1);
        let near: Vec<&NearKey> = near.collect();
        let alone = others.is_empty() && near.is_empty();
        if alone && let Some((column, above)) = self.reference_without_key(table) {
            let message = format!(
                "references {above}, but is not unique, and the server makes the primary key: no row can be found"
            );
            let (sql, name) = (&table.quoted, quoted(&column.name));
            let hint = format!("create unique index on {sql} ({name})");
            self.misfit_of(table, column, message, &hint);
            return None;
        }
        if alone || !needs_another && self.is_referenced(table) {
            return Some(primary);
        }
        self.ambiguous(table, &others, &near);
        None
    }

    /// True if the server makes the values of a key, and no field feeds it.
    fn is_made(&self, table: &Table, columns: &[&Column]) -> bool {
        match columns {
            [column] => column.has_default && self.feed(table, &column.name).is_none(),
            _ => false,
        }
    }

    /// A column that references another table of the pipeline, and that only the row's key could
    /// feed.
    fn reference_without_key<'t>(&self, table: &'t Table) -> Option<(&'t Column, &'t str)> {
        table.foreign_keys.iter().find_map(|reference| {
            let [name] = reference.columns.as_slice() else {
                return None;
            };
            let column = table.column(name)?;
            let needed = column.required && !column.has_default;
            let open = needed && self.feed(table, name).is_none();
            (open && !table.primary_key.contains(name)).then_some((column, &*reference.table))
        })
    }

    /// True if another table of the pipeline references the primary key: then the row's key feeds
    /// both.
    fn is_referenced(&self, table: &Table) -> bool {
        let tables = self.binding.tables.iter().flatten();
        let mut references = tables.flat_map(|other| &other.foreign_keys);
        references.any(|it| it.table == table.name && it.referenced == table.primary_key)
    }

    fn keyless(&mut self, table: &Table, others: &[Vec<&Column>]) {
        let deferrable = table.near_keys.iter().any(|near| near.nullable.is_empty());
        let message = match (table.primary_key.is_empty(), others.is_empty()) {
            (true, true) if deferrable => "has only deferrable keys, by which rows cannot be found",
            (true, true) => "has no primary key",
            (false, true) => "its primary key is generated always, and it has no other key",
            (_, false) => "has several unique keys, and no primary key that can be fed",
        };
        let mut hint =
            "rows are found by the primary key, or else by the only unique key without nulls"
                .to_owned();
        let choices = self.choices(table, others);
        if !choices.is_empty() {
            hint = format!("choose one in the pipeline: {}", choices.join(", or "));
        }
        self.misfit(table.name.clone(), message, &hint);
    }

    /// Reports that rows could be found by the primary key, which the server makes, and by others.
    fn ambiguous(&mut self, table: &Table, others: &[Vec<&Column>], near: &[&NearKey]) {
        let primary = names(table.primary_key.iter().map(String::as_str), " and ");
        let unique = others.iter().map(|key| {
            let columns = names(key.iter().map(|column| column.name.as_str()), " and ");
            format!("{columns} is unique")
        });
        let near = near.iter().map(|near| {
            let columns = names(near.columns.iter().map(String::as_str), " and ");
            let nullable = !near.nullable.is_empty();
            let but = if nullable {
                "may be null"
            } else {
                "is deferrable"
            };
            format!("{columns} is unique, but {but}")
        });
        let all: Vec<String> = unique.chain(near).collect();
        let message = format!(
            "the server makes its primary key {primary}; {}: it is not clear by which the source's rows are found",
            all.join("; ")
        );
        let mut choices = self.choices(table, others);
        choices.extend(
            table.primary_key.iter().map(|name| {
                format!("key = \"{name}\" if the source's keys are the values of {name}")
            }),
        );
        let hint = format!("write in the pipeline {}", choices.join(", or "));
        self.misfit(table.name.clone(), message, &hint);
    }

    /// What to write to choose each of the other keys of one column.
    fn choices(&self, table: &Table, others: &[Vec<&Column>]) -> Vec<String> {
        let choose = |name: &str| format!("key = \"{name}\"");
        let ready = others.iter().filter_map(|key| match key.as_slice() {
            [column] => Some(choose(&column.name)),
            _ => None,
        });
        let near = table
            .near_keys
            .iter()
            .filter_map(|near| match near.columns.as_slice() {
                [name] if !near.nullable.is_empty() => {
                    let first = not_null(&table.quoted, &near.nullable);
                    Some(format!("{} after `{first}`", choose(name)))
                }
                _ => None,
            });
        ready.chain(near).collect()
    }

    /// Reports a `key` that no table has, and references that its choice leaves without a value.
    pub(super) fn check_key(&mut self, targets: &[Target]) {
        let tables: Vec<&Table> = self.binding.tables.iter().flatten().collect();
        if let KeyChoice::Column(name) = self.binding.key
            && tables.len() == self.binding.names.len()
            && !tables.iter().any(|table| table.column(name).is_some())
        {
            let known = tables.iter().flat_map(|table| &table.columns);
            let hint = match closest(name, known.map(|column| column.name.as_str())) {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => "name a column that is unique and not null".into(),
            };
            let message = format!("no table has a column `{name}`");
            self.misfit("key".into(), message, &hint);
        }
        let by_name: BTreeMap<&str, &Target> = targets
            .iter()
            .map(|target| (target.table.name.as_str(), target))
            .collect();
        for target in targets {
            for reference in &target.table.foreign_keys {
                if let Some(parent) = by_name.get(reference.table.as_str()) {
                    let pairs = reference.columns.iter().zip(&reference.referenced);
                    pairs.for_each(|pair| self.check_reference(target, parent, pair));
                }
            }
        }
    }

    /// Reports a column that the row's key feeds and that references one which the server makes.
    fn check_reference(&mut self, target: &Target, parent: &Target, pair: (&String, &String)) {
        let (name, referenced) = pair;
        let by_key = target.fed().find(|fed| fed.column.name == *name);
        let Some(fed) = by_key.filter(|fed| fed.feed == Feed::Key) else {
            return;
        };
        if parent.fed().any(|fed| fed.column.name == *referenced) {
            return;
        }
        let above = &parent.table.name;
        let message = format!(
            "is fed by the row's key, but references {above}.{referenced}, which the server makes"
        );
        let hint = match parent.row_key() {
            Some(key) => format!(
                "let it reference the key that rows are found by: references {} ({})",
                parent.table.quoted,
                quoted(&key.column.name)
            ),
            None => format!("choose `{referenced}` as the `key` of {above}"),
        };
        self.misfit_of(&target.table, &fed.column, message, &hint);
    }

    /// The type that the keys of rows have to fit.
    pub(super) fn key_type(&mut self, targets: &[Target]) -> KeyType {
        let mut fed = targets.iter().filter_map(|target| {
            let key_type = target.row_key()?.kind.key_type()?;
            Some((key_type, target))
        });
        let Some((first, _)) = fed.next() else {
            return KeyType::Text;
        };
        if let Some((_, other)) = fed.find(|(key_type, _)| *key_type != first) {
            self.misfit(
                other.table.name.clone(),
                "its key differs in type from those of the other tables",
                "one row key feeds them all",
            );
        }
        first
    }
}

impl Targets {
    /// Remarks about tables where the rows' keys are written into a column that a sequence feeds
    /// for everybody else, and nobody has chosen that.
    #[must_use]
    pub fn shared_sequences(&self, key: &KeyChoice) -> Vec<Misfit> {
        if *key != KeyChoice::Found {
            return Vec::new();
        }
        let keys = self
            .tables
            .iter()
            .filter_map(|target| Some((target, target.row_key()?)));
        let counted = keys.filter(|(_, key)| {
            let column = &key.column;
            let default = column.default_sql.as_ref();
            column.has_default && default.is_none_or(|sql| sql.contains("nextval("))
        });
        let remarks = counted.map(|(target, key)| {
            let name = &key.column.name;
            Misfit {
                place: format!("{}.{name}", target.table.name),
                message: "gets the rows' keys, but a sequence makes values for it too: rows that others insert will collide".into(),
                hint: format!(
                    "choose another column as `key`, or confirm it: key = {name:?} in the pipeline"
                ),
            }
        });
        remarks.collect()
    }
}

/// Names in backticks.
fn names<'n>(names: impl Iterator<Item = &'n str>, between: &str) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(between)
}

/// The statement that forbids nulls in columns of the table `sql`.
fn not_null(sql: &str, columns: &[String]) -> String {
    let alter = columns
        .iter()
        .map(|name| format!("alter column {} set not null", quoted(name)));
    format!("alter table {sql} {}", alter.collect::<Vec<_>>().join(", "))
}
