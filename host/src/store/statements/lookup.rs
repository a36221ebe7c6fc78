//! The statement that finds out which rows are known, and whether they have changed.

use super::table::{array_type, parameter, value};
use crate::decode::KeyType;
use crate::route::Targets;
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

/// Looks into each index once for each key, whatever the planner thinks of the tables: `lateral`
/// with a limit leaves it no other way. Otherwise a table that was empty when the statement was
/// planned would be read from end to end for every key.
pub(super) fn lookup(targets: &Targets) -> Lookup {
    let mut keys: Vec<Column> = Vec::new();
    let (mut arrays, mut aliases) = (String::new(), String::new());
    let (mut joins, mut joins_of_known) = (String::new(), String::new());
    let mut found = Vec::new();
    // Only a UUID's id is the key itself.
    let is_key = match targets.key_type {
        KeyType::Uuid => "r.key is null",
        KeyType::Integer(_) | KeyType::Text => "r.key is not distinct from k.name",
    };
    let names = names_keys(targets);
    let first = if names { 4 } else { 3 };
    if names {
        arrays.push_str(", $3::text[]");
        aliases.push_str(", name");
    }
    for index in tables_of_rows(targets) {
        let Some(target) = targets.tables.get(index) else {
            continue;
        };
        let mut conditions = Vec::new();
        for fed in &target.key {
            let key = parameter(fed);
            let known = keys.iter().position(|other| *other == key);
            let number = known.unwrap_or(keys.len());
            if known.is_none() {
                arrays.push_str(&format!(
                    ", ${}::{}",
                    number + first,
                    array_type(&fed.column, key.kind)
                ));
                aliases.push_str(&format!(", k{number}"));
                keys.push(key);
            }
            let name = quote(&fed.column.name);
            let value = value(fed, &format!("k.k{number}"));
            conditions.push(format!("t.{name} {} {value}", fed.column.equals));
        }
        let join = |if_known: &str| {
            format!(
                "\nleft join lateral (select true as found from {} t where {if_known}{} limit 1) t{index} on true",
                target.table.quoted,
                conditions.join(" and "),
            )
        };
        joins.push_str(&join(""));
        joins_of_known.push_str(&join("d.digest is not null and "));
        found.push(format!(
            "pg_catalog.array_agg(t{index}.found is not null order by k.position)"
        ));
    }
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
