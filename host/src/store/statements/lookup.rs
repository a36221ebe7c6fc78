//! The statement that finds out which rows are known, and whether they have changed.

use super::table::{array_type, parameter, value};
use crate::route::Targets;
use crate::store::encode::Column;
use crate::store::sql::quote;

/// Looks into each index once for each key, whatever the planner thinks of the tables: `lateral`
/// with a limit leaves it no other way. Otherwise a table that was empty when the statement was
/// planned would be read from end to end for every key.
pub(super) fn lookup(targets: &Targets) -> (String, Vec<Column>) {
    let mut keys: Vec<Column> = Vec::new();
    let (mut arrays, mut aliases) = (String::new(), String::new());
    let (mut joins, mut found) = (String::new(), Vec::new());
    let tables = targets
        .tables
        .iter()
        .filter(|target| target.items.is_none());
    for (index, target) in tables.enumerate() {
        let mut conditions = Vec::new();
        for fed in &target.key {
            let key = parameter(fed);
            let known = keys.iter().position(|other| *other == key);
            let number = known.unwrap_or(keys.len());
            if known.is_none() {
                arrays.push_str(&format!(
                    ", ${}::{}",
                    number + 3,
                    array_type(&fed.column, key.kind)
                ));
                aliases.push_str(&format!(", k{number}"));
                keys.push(key);
            }
            let name = quote(&fed.column.name);
            let value = value(fed, &format!("k.k{number}"));
            conditions.push(format!("t.{name} = {value}"));
        }
        joins.push_str(&format!(
            "\nleft join lateral (select true as found from {} t where {} limit 1) t{index} on true",
            target.table.quoted,
            conditions.join(" and "),
        ));
        found.push(format!("t{index}.found is not null"));
    }
    // One row of arrays: three hundred rows would cost both sides more than the look-up does.
    let statement = format!(
        "select array_agg(d.digest order by k.position), array_agg({} order by k.position), array_agg({} order by k.position)
from unnest($2::text[]{arrays}) with ordinality k(name{aliases}, position)
left join lateral (select digest from forebay.row_digest r
    where r.pipeline = $1 and r.key = k.name collate \"C\" limit 1) d on true{joins}",
        found.first().map_or("false", String::as_str),
        found.join(" and "),
    );
    (statement, keys)
}
