//! The statements of a table with a row for each item of a list. They take one list for each row
//! and unnest it on the server, which can read and compare items of any type.

use super::table::{TableStatements, array_type, copy_statement, on_conflict, parameter, value};
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
    TableStatements {
        parameters: target.key.iter().map(parameter).chain([list]).collect(),
        delete: Some(delete(target, items).into()),
        upsert: upsert(target, items).into(),
        copy: copy(target, items),
        turns: None,
    }
}

/// The relation `p`: for each row its key, as `k0` and on, and its list, as `list`.
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
        let array = item.map_or("text", |item| item.column.type_sql.as_str());
        format!("coalesce(r.list::{array}[], '{{}}')")
    };
    values.push(format!("{list} as list"));
    // The offset keeps the planner from reading the list again for every use of it.
    format!(
        "(select {}\n    from unnest({}) r({}) offset 0) p",
        values.join(", "),
        arrays.join(", "),
        aliases.join(", "),
    )
}

/// The items of `p.list` as `i(item, position)`.
pub(super) fn elements(items: &Items) -> &'static str {
    if items.json {
        "jsonb_array_elements(p.list) with ordinality i(item, position)"
    } else {
        "unnest(p.list) with ordinality i(item, position)"
    }
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
                let value = format!("({member})::{type_sql}");
                return match &fed.column.default_sql {
                    Some(default) => format!("coalesce({value}, {default})"),
                    None => value,
                };
            }
            format!(
                "case jsonb_typeof(i.item) when 'object' then {member} else i.item #>> '{{}}' end::{type_sql}"
            )
        }
    }
}

fn delete(target: &Target, items: &Items) -> String {
    format!(
        "delete from {} t using {}\nwhere {}",
        target.table.quoted,
        rows(target, items),
        surplus(target, items).join("\n    and "),
    )
}

/// The conditions that a row of the table, `t`, belongs to `p` and is no longer in its list.
pub(super) fn surplus(target: &Target, items: &Items) -> Vec<String> {
    let mut conditions: Vec<String> = target
        .key
        .iter()
        .enumerate()
        .map(|(index, fed)| format!("t.{} = p.k{index}", quote(&fed.column.name)))
        .collect();
    if let Some(first) = items.columns.first() {
        let name = quote(&first.column.name);
        conditions.push(match (first.feed, items.json) {
            (ItemFeed::Position, false) => {
                format!("t.{name} not between 1 and cardinality(p.list)")
            }
            (ItemFeed::Position, true) => {
                format!("t.{name} not between 1 and jsonb_array_length(p.list)")
            }
            (ItemFeed::Item, false) => format!("t.{name} <> all (p.list)"),
            (ItemFeed::Item, true) => format!(
                "t.{name} <> all (array(select {} from {}))",
                item_value(items, first),
                elements(items)
            ),
        });
    }
    conditions
}

fn upsert(target: &Target, items: &Items) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (index, fed) in target.key.iter().enumerate() {
        names.push(quote(&fed.column.name));
        values.push(format!("p.k{index}"));
    }
    for fed in &items.columns {
        names.push(quote(&fed.column.name));
        values.push(item_value(items, fed));
    }
    // If an item is twice in a list, the first counts.
    let keys = target.key.len() + 1;
    let (distinct, order) = if items.by_item() {
        let on = values.get(..keys).unwrap_or_default().join(", ");
        (
            format!("distinct on ({on}) "),
            format!("\norder by {on}, i.position"),
        )
    } else {
        (String::new(), String::new())
    };
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
        "insert into {} as t ({})\nselect {distinct}{}\nfrom {}\ncross join lateral {}{order}\n{}",
        target.table.quoted,
        names.join(", "),
        values.join(", "),
        rows(target, items),
        elements(items),
        on_conflict(target, key, updated),
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
