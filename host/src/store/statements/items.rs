//! The statements of a table with a row for each item of a list. They take one list for each row
//! and unnest it on the server, which can read and compare items of any type.

use super::of_table::TableStatements;
use super::table::{
    Compared, array_type, as_stored, copy_statement, differs, looked_up, on_conflict, parameter,
    read, unnest, value, with_touched,
};
use crate::route::{ColumnKind, Feed, ItemColumn, ItemFeed, Items, Target};
use crate::store::copy::{Copy, List};
use crate::store::encode::{Column, ColumnSource};
use crate::store::sql::{literal, quote};

pub(super) fn statements(target: &Target, items: &Items) -> TableStatements {
    let list = Column {
        source: ColumnSource::Feed(Feed::Field(items.list)),
        kind: ColumnKind::Cast,
        ..Column::NAME
    };
    let update = update(target, items);
    let change = [delete(target, items)]
        .into_iter()
        .chain(update)
        .chain([insert(target, items)]);
    TableStatements {
        parameters: target.key.iter().map(parameter).chain([list]).collect(),
        insert: None,
        change: change.map(Into::into).collect(),
        differing: None,
        missing: missing(target, items).into(),
        keys: target.key.len() + 1,
        unfound: "".into(),
        omits: Vec::new(),
        copy: copy(target, items),
        turns: None,
        guarded: target.table.guarded,
        own_checks: target.table.own_checks.clone(),
    }
}

/// The relation `p`: for each row its key, as `k0` and on, its list, as `list`, and its position.
pub(super) fn rows(target: &Target, items: &Items) -> String {
    let (mut arrays, mut aliases, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (index, fed) in target.key.iter().enumerate() {
        let array = array_type(&fed.column, fed.kind.as_parameter());
        arrays.push(format!("${}::{array}", index + 1));
        aliases.push(format!("k{index}"));
        values.push(format!(
            "{} as k{index}",
            value(fed, &format!("r.k{index}"))
        ));
    }
    arrays.push(format!("${}::text[]", target.key.len() + 1));
    aliases.push("list".into());
    let list = if items.json {
        "coalesce(nullif(r.list::jsonb, 'null'), '[]')".to_owned()
    } else {
        let item = items
            .columns
            .iter()
            .find(|column| column.feed == ItemFeed::Item);
        format!(
            "coalesce({}, '{{}}')",
            item.map_or("r.list::text[]".to_owned(), texts)
        )
    };
    values.push(format!("{list} as list"));
    // The offset keeps the planner from reading the list again for every use of it.
    format!(
        "(select {}, r.place\n    from {} with ordinality r({}, place) offset 0) p",
        values.join(", "),
        unnest(&arrays),
        aliases.join(", "),
    )
}

/// The list as an array of the item's type.
fn texts(item: &ItemColumn) -> String {
    let mut array = item.column.clone();
    array.type_name = format!("_{}", array.type_name);
    array.type_sql = format!("{}[]", array.type_sql);
    read(&array, "r.list")
}

/// The items of `p.list` as `i(item, position)`.
pub(super) fn elements(items: &Items) -> &'static str {
    if items.json {
        "jsonb_array_elements(p.list) with ordinality i(item, position)"
    } else {
        "pg_catalog.unnest(p.list) with ordinality i(item, position)"
    }
}

/// The relation `u`: each item with the key of its row, as `k0` and on, its values, as `c0` and on,
/// and the position of its row, as `place`. If an item is twice in a list, the first counts.
fn wanted(target: &Target, items: &Items) -> String {
    let keys: Vec<String> = (0..target.key.len())
        .map(|key| format!("p.k{key}"))
        .collect();
    let values: Vec<String> = items
        .columns
        .iter()
        .map(|column| item_value(items, column))
        .collect();
    let named = values
        .iter()
        .enumerate()
        .map(|(index, value)| format!("{value} as c{index}"));
    let (distinct, order) = match values.first().filter(|_| items.by_item()) {
        Some(first) => {
            let on = format!("{}, {first}", keys.join(", "));
            (
                format!("distinct on ({on}) "),
                format!("\n    order by {on}, i.position"),
            )
        }
        None => (String::new(), String::new()),
    };
    format!(
        "(select {distinct}{}, {}, p.place\nfrom {}\n    cross join lateral {}{order} offset 0) u",
        keys.join(", "),
        named.collect::<Vec<_>>().join(", "),
        rows(target, items),
        elements(items),
    )
}

/// The value that an item gives a column.
pub(super) fn item_value(items: &Items, fed: &ItemColumn) -> String {
    let type_sql = &fed.column.type_sql;
    let several = items
        .columns
        .iter()
        .filter(|column| column.feed == ItemFeed::Item)
        .count()
        > 1;
    match (fed.feed, items.json) {
        (ItemFeed::Position, _) => format!("i.position::{type_sql}"),
        (ItemFeed::Item, false) => "i.item".into(),
        (ItemFeed::Item, true) => {
            let member = format!("i.item ->> {}", literal(&fed.column.name));
            if several {
                let value = read(&fed.column, &member);
                return match &fed.column.default_sql {
                    Some(default) => format!("coalesce({value}, {default})"),
                    None => value,
                };
            }
            let element = format!(
                "case jsonb_typeof(i.item) when 'object' then {member} else i.item #>> '{{}}' end"
            );
            read(&fed.column, &element)
        }
    }
}

fn delete(target: &Target, items: &Items) -> String {
    format!(
        "with done as (delete from {} t using {}\nwhere {}\nreturning p.place)\n{ROWS}",
        target.table.quoted,
        rows(target, items),
        surplus(target, items).join("\n    and "),
    )
}

/// The conditions that a row of the table, `t`, belongs to `p` and is no longer in its list.
pub(super) fn surplus(target: &Target, items: &Items) -> Vec<String> {
    let mut conditions: Vec<String> = keys(target, "p.k");
    if let Some(first) = items.columns.first() {
        let (name, equals) = (quote(&first.column.name), &first.column.equals);
        conditions.push(match (first.feed, items.json) {
            (ItemFeed::Position, false) => {
                format!("t.{name} not between 1 and pg_catalog.cardinality(p.list)")
            }
            (ItemFeed::Position, true) => {
                format!("t.{name} not between 1 and jsonb_array_length(p.list)")
            }
            (ItemFeed::Item, false) => format!("not t.{name} {equals} any (p.list)"),
            (ItemFeed::Item, true) => format!(
                "not t.{name} {equals} any (array(select {} from {}))",
                item_value(items, first),
                elements(items)
            ),
        });
    }
    conditions
}

/// The rows that a statement has changed.
const ROWS: &str = "select pg_catalog.array_agg(distinct place) from done";

/// The conditions that an item of `t` has the key of a row.
fn keys(target: &Target, prefix: &str) -> Vec<String> {
    let key = target.key.iter().enumerate();
    key.map(|(index, fed)| looked_up(&fed.column, &format!("{prefix}{index}")))
        .collect()
}

/// The condition that an item of `t` is that of `u`.
fn is_item(target: &Target, items: &Items) -> String {
    let first = items.columns.first();
    let first = first.map(|first| looked_up(&first.column, "u.c0"));
    let conditions: Vec<String> = keys(target, "u.k").into_iter().chain(first).collect();
    conditions.join(" and ")
}

/// Updates the items that are there and differ; `None` if an item is all of its row.
fn update(target: &Target, items: &Items) -> Option<String> {
    let others = items.columns.iter().enumerate().skip(1);
    let compared = others.clone().map(|(index, fed)| Compared {
        column: &fed.column,
        kind: fed.kind,
        value: as_stored(&fed.column, &format!("u.c{index}")),
    });
    let differs = differs(compared.collect())?;
    let sets = others.map(|(index, fed)| format!("{} = u.c{index}", quote(&fed.column.name)));
    Some(format!(
        "with done as (update {} as t set {}\nfrom {}\nwhere {}\n    and {differs}\nreturning u.place)\n{ROWS}",
        target.table.quoted,
        with_touched(target, sets),
        wanted(target, items),
        is_item(target, items),
    ))
}

/// Inserts the items that are not there.
fn insert(target: &Target, items: &Items) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (index, fed) in target.key.iter().enumerate() {
        names.push(quote(&fed.column.name));
        values.push(format!("u.k{index}"));
    }
    let (key_names, key_values) = (names.join(", "), values.join(", "));
    for (index, fed) in items.columns.iter().enumerate() {
        names.push(quote(&fed.column.name));
        values.push(format!("u.c{index}"));
    }
    for name in &target.stamped {
        names.push(quote(name));
        values.push("now()".into());
    }
    let first = items.columns.iter().take(1).map(|fed| &fed.column);
    let key = target.key.iter().map(|fed| &fed.column).chain(first);
    let updated = items
        .columns
        .iter()
        .skip(1)
        .map(|fed| (&fed.column, fed.kind));
    format!(
        "with u as materialized (select * from {}
    where not exists (select from {table} t where {})),
done as (
insert into {table} as t ({})\nselect {}\nfrom u\n{}\nreturning {key_names})
select pg_catalog.array_agg(distinct u.place) filter (where ({key_values}) in (select {key_names} from done)) from u",
        wanted(target, items),
        is_item(target, items),
        names.join(", "),
        values.join(", "),
        on_conflict(target, key, updated),
        table = target.table.quoted,
    )
}

fn missing(target: &Target, items: &Items) -> String {
    format!(
        "select pg_catalog.array_agg(distinct u.place) from {}
where not exists (select from {} t where {})",
        wanted(target, items),
        target.table.quoted,
        is_item(target, items),
    )
}

/// `COPY` for the items of new rows; `None` if their type needs a cast.
fn copy(target: &Target, items: &Items) -> Option<Copy> {
    let direct = |column: &ItemColumn| match column.feed {
        ItemFeed::Item => matches!(
            column.kind,
            ColumnKind::Text | ColumnKind::Label | ColumnKind::Uuid | ColumnKind::Integer(_)
        ),
        // No row has more items than these types can count.
        ItemFeed::Position => matches!(column.kind, ColumnKind::Integer(4 | 8)),
    };
    let fits = !items.json
        && target.stamped.is_empty()
        && target.table.copies
        && items.columns.iter().all(direct)
        && !target.key.iter().any(|fed| fed.kind.is_cast());
    if !fits {
        return None;
    }
    let keys = target.key.iter().map(|fed| Column {
        kind: fed.kind,
        ..parameter(fed)
    });
    let of_items = items.columns.iter().map(|fed| Column {
        source: match fed.feed {
            ItemFeed::Item => ColumnSource::Item,
            ItemFeed::Position => ColumnSource::Position,
        },
        kind: fed.kind,
        type_oid: fed.column.type_oid,
        array_oid: fed.column.array_oid,
    });
    let names = target.key.iter().map(|fed| &fed.column);
    Some(Copy {
        statement: copy_statement(
            target,
            names.chain(items.columns.iter().map(|fed| &fed.column)),
        ),
        relation: target.table.bare.clone(),
        columns: keys.chain(of_items).collect(),
        list: Some(List {
            column: items.list,
            distinct: items
                .by_item()
                .then(|| items.columns.first().map(|item| item.kind))
                .flatten(),
        }),
    })
}
