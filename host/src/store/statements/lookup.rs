//! The statement that finds out which rows are known, and whether they have changed.

use super::table::{array_type, parameter, value};
use crate::decode::KeyType;
use crate::route::{Target, Targets};
use crate::store::encode::Column;
use crate::store::sql::quote;

/// The statements of a look-up, and the columns by which the tables find a row.
pub(super) struct Lookup {
    /// Looks all rows up in all tables.
    pub of_all: String,
    /// Looks rows up in the tables only if they have a digest.
    pub of_known: String,
    pub keys: Vec<Column>,
}

/// The list `k` of what is looked up.
struct List {
    /// Number of the first parameter of `keys`.
    first: usize,
    /// Its parameters after the ids, and their names.
    arrays: String,
    aliases: String,
    /// The columns by which the tables find a row.
    keys: Vec<Column>,
}

impl List {
    fn new(names_keys: bool) -> Self {
        let (first, arrays, aliases) = match names_keys {
            true => (4, ", $3::text[]", ", name"),
            false => (3, "", ""),
        };
        Self {
            first,
            arrays: arrays.into(),
            aliases: aliases.into(),
            keys: Vec::new(),
        }
    }

    /// The condition that a row `t` of a table has the key of `k`, which gets its columns.
    fn conditions(&mut self, target: &Target) -> String {
        let mut conditions = Vec::new();
        for fed in &target.key {
            let key = parameter(fed);
            let known = self.keys.iter().position(|other| *other == key);
            let number = known.unwrap_or(self.keys.len());
            if known.is_none() {
                let (parameter, array) = (number + self.first, array_type(&fed.column, key.kind));
                self.arrays.push_str(&format!(", ${parameter}::{array}"));
                self.aliases.push_str(&format!(", k{number}"));
                self.keys.push(key);
            }
            let name = quote(&fed.column.name);
            let value = value(fed, &format!("k.k{number}"));
            conditions.push(format!("t.{name} {} {value}", fed.column.equals));
        }
        conditions.join(" and ")
    }
}

/// Looks into each index once for each key, whatever the planner thinks of the tables: `lateral`
/// with a limit leaves it no other way. Otherwise a table that was empty when the statement was
/// planned would be read from end to end for every key.
pub(super) fn lookup(targets: &Targets) -> Lookup {
    let (mut joins, mut joins_of_known) = (String::new(), String::new());
    let mut found = Vec::new();
    // Only a UUID's id is the key itself.
    let is_key = match targets.key_type {
        KeyType::Uuid => "r.key is null",
        KeyType::Integer(_) | KeyType::Text => "r.key is not distinct from k.name",
    };
    let mut list = List::new(names_keys(targets));
    for index in tables_of_rows(targets) {
        let Some(target) = targets.tables.get(index) else {
            continue;
        };
        let conditions = list.conditions(target);
        let join = |if_known: &str| {
            format!(
                "\nleft join lateral (select true as found from {} t where {if_known}{} limit 1) t{index} on true",
                target.table.quoted, conditions,
            )
        };
        joins.push_str(&join(""));
        joins_of_known.push_str(&join("d.digest is not null and "));
        found.push(format!(
            "pg_catalog.array_agg(t{index}.found is not null order by k.position)"
        ));
    }
    let List {
        arrays,
        aliases,
        keys,
        ..
    } = list;
    // One row of arrays: three hundred rows would cost both sides more than the look-up does.
    let statement = |joins: String| {
        format!(
            "select pg_catalog.array_agg(d.digest order by k.position), {}
from unnest($2::uuid[]{arrays}) with ordinality k(id{aliases}, position)
left join lateral (select digest from forebay.digest r
    where r.pipeline = $1 and r.id = k.id and {is_key} limit 1) d on true{joins}",
            found.join(", "),
        )
    };
    Lookup {
        of_all: statement(joins),
        of_known: statement(joins_of_known),
        keys,
    }
}

/// `$1` pipeline → true if it has digests, true if no table has a row.
pub(super) fn is_empty(targets: &Targets) -> String {
    let tables = tables_of_rows(targets).into_iter();
    let tables = tables.filter_map(|index| targets.tables.get(index));
    let empty = tables.map(|target| format!("not exists (select from {})", target.table.quoted));
    format!(
        "select exists (select from forebay.digest where pipeline = $1), {}",
        empty.collect::<Vec<_>>().join(" and ")
    )
}

/// True if digests are found by the rows' ids and their keys.
pub(super) fn names_keys(targets: &Targets) -> bool {
    targets.key_type != KeyType::Uuid
}

/// The tables with a row for each row of the dataset, by their indices. Those with the items of
/// lists are not asked: a list may be empty.
pub(super) fn tables_of_rows(targets: &Targets) -> Vec<usize> {
    let tables = targets.tables.iter().enumerate();
    let of_rows = tables.filter(|(_, target)| target.items.is_none());
    of_rows.map(|(index, _)| index).collect()
}
