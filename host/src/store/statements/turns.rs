//! The statements that find out which rows of a chunk wait for a unique value of another one, and
//! that take values away from rows that wait for each other.

use super::table::{array_type, stored, unnest, value};
use crate::route::{Target, TargetColumn};
use crate::store::sql::quote;

/// The rows of a chunk as they would be in a table.
#[derive(Debug)]
pub(in crate::store) struct Turns {
    /// Schema and name, quoted.
    pub table: String,
    /// `v`: the number of each row, from 1 on, as `forebay_row`, and its values under the names of
    /// their columns.
    rows: String,
    /// `t` has the key of `v`.
    is_row: String,
    /// The columns of the key, not quoted.
    key: Vec<String>,
    /// The operators by which they are equal.
    equals: Vec<String>,
    /// Other columns that rows feed.
    columns: Vec<TargetColumn>,
    /// Columns that rows do not feed, quoted.
    unfed: Vec<String>,
}

/// A unique index.
#[derive(Debug)]
pub(in crate::store) struct UniqueIndex {
    /// Its name, not quoted.
    pub name: String,
    /// Its columns and expressions, in SQL.
    pub keys: Vec<String>,
    /// Those of `keys` that are columns, not quoted.
    pub columns: Vec<String>,
    /// The condition of a partial index, in SQL.
    pub predicate: Option<String>,
}

/// `$1` table → name, keys, columns and condition of each unique index that is checked row by row.
pub(in crate::store) const INDEXES: &str = "select c.relname::text,
        array(select pg_get_indexdef(i.indexrelid, k, false) from generate_series(1, i.indnkeyatts) k),
        array(select a.attname::text from pg_catalog.unnest(i.indkey::int2[]) with ordinality k(number, position)
              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
              where k.position <= i.indnkeyatts order by k.position),
        pg_get_expr(i.indpred, i.indrelid)
    from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = $1::regclass and i.indisunique and i.indimmediate and i.indisvalid
    order by i.indexrelid";

impl Turns {
    pub(super) fn of(target: &Target) -> Self {
        let (mut arrays, mut aliases, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (index, fed) in target.fed().enumerate() {
            let array = array_type(&fed.column, fed.kind.as_parameter());
            arrays.push(format!("${}::{array}", index + 1));
            aliases.push(format!("c{index}"));
            let value = stored(&fed.column, value(fed, &format!("u.c{index}")));
            values.push(format!("{value} as {}", quote(&fed.column.name)));
        }
        let is_fed = |name: &str| target.fed().any(|fed| fed.column.name == name);
        let columns = target.table.columns.iter().map(|column| &column.name);
        let key = target.key.iter().map(|fed| fed.column.name.clone());
        let is_row = target.key.iter().map(|fed| {
            let name = quote(&fed.column.name);
            format!("t.{name} {} v.{name}", fed.column.equals)
        });
        Self {
            table: target.table.quoted.clone(),
            rows: format!(
                "select u.forebay_row, {} from {} with ordinality u({}, forebay_row)",
                values.join(", "),
                unnest(&arrays),
                aliases.join(", ")
            ),
            is_row: is_row.collect::<Vec<_>>().join(" and "),
            key: key.collect(),
            equals: target
                .key
                .iter()
                .map(|fed| fed.column.equals.to_string())
                .collect(),
            columns: target.columns.clone(),
            unfed: columns
                .filter(|name| !is_fed(name))
                .map(|name| quote(name))
                .collect(),
        }
    }

    /// True if an index is the one by which rows are found.
    pub(in crate::store) fn is_key(&self, index: &UniqueIndex) -> bool {
        index.predicate.is_none()
            && index.keys.len() == self.key.len()
            && self.key.iter().all(|name| index.columns.contains(name))
    }

    /// The parameters are those of the upsert → pairs of rows, by their numbers: the first one is to
    /// get a value of the index that the second one still has; null if a row has it that is not
    /// among them.
    pub(in crate::store) fn waits(&self, index: &UniqueIndex) -> String {
        let unfed = |of: &str| -> String {
            let columns = self.unfed.iter();
            columns.map(|name| format!(", {of}.{name}")).collect()
        };
        let keys = index.keys.iter().enumerate();
        let selected = keys
            .clone()
            .map(|(number, key)| format!("({key}) as e{number}"));
        let equal = keys.map(|(number, key)| format!("({key}) = w.e{number}"));
        let equal: Vec<String> = equal.chain(index.predicate.clone()).collect();
        let condition = index.predicate.as_ref();
        let condition = condition.map(|it| format!(" where {it}"));
        let held = self.key.iter().map(|name| format!("t.{}", quote(name)));
        let is_held = self.key.iter().zip(&self.equals).map(|(name, equals)| {
            let name = quote(name);
            format!("b.{name} {equals} h.{name}")
        });
        format!(
            "with v as materialized ({rows}),
n as (select v.*{of_c} from v left join lateral (select true{of_t} from {table} t where {is_row} limit 1) c on true),
w as (select forebay_row, {selected} from n{condition})
select distinct w.forebay_row, b.forebay_row from w
join lateral (select {held} from {table} t where {equal}) h on true
left join v b on {is_held}
where b.forebay_row is distinct from w.forebay_row",
            rows = self.rows,
            of_c = unfed("c"),
            of_t = unfed("t"),
            table = self.table,
            is_row = self.is_row,
            selected = selected.collect::<Vec<_>>().join(", "),
            condition = condition.unwrap_or_default(),
            held = held.collect::<Vec<_>>().join(", "),
            equal = equal.join(" and "),
            is_held = is_held.collect::<Vec<_>>().join(" and "),
        )
    }

    /// Takes the unique values of an index away from rows, until they get others: nulls, or
    /// values that nobody has. `None` if no column of the index can do without its value.
    pub(in crate::store) fn give_way(&self, index: &UniqueIndex) -> Option<String> {
        let of_index = |fed: &&TargetColumn| index.columns.contains(&fed.column.name);
        let candidates = self.columns.iter().filter(of_index);
        let (column, value) = candidates
            .filter_map(|fed| Some((fed, self.placeholder(fed)?)))
            .min_by_key(|(fed, _)| fed.column.required)?;
        Some(format!(
            "with v as materialized ({}) update {} t set {} = {value} from v where {}",
            self.rows,
            self.table,
            quote(&column.column.name),
            self.is_row,
        ))
    }

    fn placeholder(&self, fed: &TargetColumn) -> Option<String> {
        let column = &fed.column;
        if !column.required {
            return Some("null".into());
        }
        match column.type_name.as_str() {
            "text" | "varchar" | "citext" => Some("gen_random_uuid()::text".into()),
            "uuid" => Some("gen_random_uuid()".into()),
            "int2" | "int4" | "int8" | "numeric" => Some(format!(
                "((select min(x.{name}) from {table} x) - v.forebay_row)::{of_type}",
                name = quote(&column.name),
                table = self.table,
                of_type = column.type_sql
            )),
            _ => None,
        }
    }
}
