//! The statements that compare rows with what the tables have, column by column. They only read.
//!
//! Both sides are values of the column's type as it is declared, so the server has rounded, padded
//! and cut what would be written as it does when it stores it. Types with an equality of their own
//! are compared by that, others by their texts.

use std::sync::Arc;

use super::items::{elements, item_value, rows, surplus};
use super::table::{array_type, is_text, omitted, parameter, stored, unnest, value};
use crate::route::absent::{FlagKind, Treatment};
use crate::route::{self, ColumnKind, EQUALS, Feed, Items, Target, Targets};
use crate::store::encode::{Column, ColumnSource};
use crate::store::sql::quote;

/// The comparison of rows with one table.
#[derive(Debug)]
pub(in crate::store) struct Comparison {
    /// `$1` and on → number of the row, from 1 on; true if the table has it; numbers, from 0 on,
    /// of the columns that differ. Equal rows are left out.
    pub statement: Arc<str>,
    pub parameters: Vec<Column>,
    /// Names of the columns that are compared. For the table of a list, the first one differs if
    /// an item is missing or too many.
    pub columns: Vec<String>,
}

/// One comparison for each table, in the order of the tables.
pub(in crate::store) fn comparisons(targets: &Targets) -> Vec<Comparison> {
    let tables = targets.tables.iter();
    let comparison = |target: &Target| match &target.items {
        Some(items) => of_items(target, items),
        None => of_rows(target, &targets.missing.treatment),
    };
    tables.map(comparison).collect()
}

/// Columns of the table and expressions that are true where they differ, side by side.
#[derive(Default)]
struct Compared {
    /// Not quoted.
    names: Vec<String>,
    /// In terms of `t.v0` and on, the columns in this order.
    differs: Vec<String>,
}

impl Compared {
    fn push(&mut self, name: &str, differs: impl FnOnce(&str) -> String) {
        let found = format!("t.v{}", self.names.len());
        self.names.push(name.to_owned());
        self.differs.push(differs(&found));
    }

    /// The columns as `v0` and on, each after a comma.
    fn selected(&self) -> String {
        let names = self.names.iter().enumerate();
        let selected = names.map(|(index, name)| format!(", t.{} as v{index}", quote(name)));
        selected.collect()
    }

    /// An array of the numbers of the columns that differ.
    fn numbers(&self) -> String {
        let differs = self.differs.iter().enumerate();
        let cases = differs.map(|(index, differs)| format!("case when {differs} then {index} end"));
        let cases: Vec<String> = cases.collect();
        format!(
            "pg_catalog.array_remove(array[{}]::int[], null)",
            cases.join(", ")
        )
    }
}

fn of_rows(target: &Target, treatment: &Treatment) -> Comparison {
    let (mut arrays, mut aliases) = (Vec::new(), Vec::new());
    for (index, fed) in target.fed().enumerate() {
        let array = array_type(&fed.column, fed.kind.as_parameter());
        arrays.push(format!("${}::{array}", index + 1));
        aliases.push(format!("c{index}"));
    }
    for (place, ..) in omitted(target) {
        arrays.push(format!("${}::bool[]", arrays.len() + 1));
        aliases.push(format!("o{place}"));
    }
    let keys = target.key.iter().enumerate();
    let is_row = keys.map(|(index, fed)| is(&fed.column, &value(fed, &format!("u.c{index}"))));
    let mut compared = Compared::default();
    for (index, fed) in target.columns.iter().enumerate() {
        let place = target.key.len() + index;
        let stored = stored(&fed.column, value(fed, &format!("u.c{place}")));
        compared.push(&fed.column.name, |found| {
            let differs = differs(&fed.column, fed.kind, found, &stored);
            // A field that is left out says nothing of a column with a default.
            match fed.omitted() {
                Some(_) => format!("not u.o{place} and ({differs})"),
                None => differs,
            }
        });
    }
    if let Treatment::Flag(flags) = treatment {
        // A row that the source has is not flagged.
        for flag in flags.iter().filter(|it| it.table == target.table.quoted) {
            compared.push(&flag.column, |found| match flag.kind {
                FlagKind::Boolean => format!("{found} is true"),
                FlagKind::Time => format!("{found} is not null"),
            });
        }
    }
    let statement = format!(
        "select position, found, columns from (
    select u.position, t.found is not null as found, {} as columns
    from {} with ordinality u({}, position)
    left join lateral (select true as found{} from {} t where {} limit 1) t on true) d
where not found or pg_catalog.cardinality(columns) > 0",
        compared.numbers(),
        unnest(&arrays),
        aliases.join(", "),
        compared.selected(),
        target.table.quoted,
        is_row.collect::<Vec<_>>().join(" and "),
    );
    Comparison {
        statement: statement.into(),
        parameters: target
            .fed()
            .map(parameter)
            .chain(omitted(target).map(|(_, field, _)| Column::left_out(field)))
            .collect(),
        columns: compared.names,
    }
}

/// The items that the lists have are looked for in the table, and those of the table in the lists.
fn of_items(target: &Target, items: &Items) -> Comparison {
    let list = Column {
        source: ColumnSource::Feed(Feed::Field(items.list)),
        kind: ColumnKind::Cast,
        ..Column::NAME
    };
    let keys: Vec<String> = (0..target.key.len()).map(|key| format!("k{key}")).collect();
    let keys = keys.join(", ");
    let (mut compared, mut values) = (Compared::default(), Vec::new());
    for (index, fed) in items.columns.iter().enumerate() {
        let stored = stored(&fed.column, item_value(items, fed));
        values.push(format!("{stored} as w{index}"));
        compared.push(&fed.column.name, |found| match index {
            0 => "t.found is null".to_owned(),
            _ => {
                let expected = format!("e.w{index}");
                format!(
                    "t.found and {}",
                    differs(&fed.column, fed.kind, found, &expected)
                )
            }
        });
    }
    // If an item is twice in a list, the first counts.
    let (distinct, order) = match items.by_item() {
        true => (
            "distinct on (p.number, w0) ",
            "order by p.number, w0, i.position",
        ),
        false => ("", ""),
    };
    let first = items.columns.first();
    let first = first.map(|first| is(&first.column, "e.w0"));
    let key = target.key.iter().enumerate();
    let key = key.map(|(index, fed)| is(&fed.column, &format!("e.k{index}")));
    let is_item: Vec<String> = key.chain(first).collect();
    let statement = format!(
        "with p as (select p.*, row_number() over () as number from {}),
e as (select {distinct}p.number, {keys}, {} from p cross join lateral {} {order}),
d as (
    select e.number, {} as columns
    from e left join lateral (select true as found{} from {table} t where {} limit 1) t on true
    union all
    select p.number, array[0] from p where exists (select from {table} t where {}))
select number, true, pg_catalog.array_agg(distinct c) from d, pg_catalog.unnest(columns) c group by number",
        rows(target, items),
        values.join(", "),
        elements(items),
        compared.numbers(),
        compared.selected(),
        is_item.join(" and "),
        surplus(target, items).join(" and "),
        table = target.table.quoted,
    );
    Comparison {
        statement: statement.into(),
        parameters: target.key.iter().map(parameter).chain([list]).collect(),
        columns: compared.names,
    }
}

fn is(column: &route::Column, value: &str) -> String {
    format!("t.{} {} {value}", quote(&column.name), column.equals)
}

/// True if a value of the table is another one than that which would be stored.
fn differs(column: &route::Column, kind: ColumnKind, found: &str, stored: &str) -> String {
    if is_text(column, kind) {
        format!("{found}::text is distinct from ({stored})::text")
    } else if column.equals != EQUALS {
        // `is distinct from` finds only operators of the search path.
        format!(
            "not coalesce({found} {} ({stored}), {found} is null and ({stored}) is null)",
            column.equals
        )
    } else {
        format!("{found} is distinct from {stored}")
    }
}
