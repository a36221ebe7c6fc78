//! The SQL of a table with a row for each row of the dataset, and the parts that every table needs.
//!
//! Rows that are there are changed by `UPDATE`, and only new ones by `INSERT`: `ON CONFLICT` would
//! take a number from each sequence of the table for every row that is there, and fire the
//! triggers of an insert.

use crate::route::{self, ColumnKind, EQUALS, Target, TargetColumn};
use crate::store::copy::Copy;
use crate::store::encode::{Column, ColumnSource};
use crate::store::sql::{literal, quote};

/// The columns that rows feed, with those that the items of a list feed.
pub(super) fn columns_of(target: &Target) -> impl Iterator<Item = &route::Column> {
    let items = target.items.iter().flat_map(|items| &items.columns);
    let fed = target.fed().map(|fed| &fed.column);
    fed.chain(items.map(|item| &item.column))
}

/// A column as a parameter: an array with an element for each row.
pub(super) fn parameter(fed: &TargetColumn) -> Column {
    Column {
        source: ColumnSource::Feed(fed.feed),
        kind: fed.kind.as_parameter(),
        type_oid: fed.column.type_oid,
        array_oid: fed.column.array_oid,
    }
}

/// An element of that parameter as a value of the column's type.
pub(super) fn value(fed: &TargetColumn, element: &str) -> String {
    match fed.column.type_name.as_str() {
        // As text, a `char` could not be looked up in its index.
        "bpchar" => format!("{element}::bpchar"),
        _ if fed.kind.as_parameter().is_cast() => read(&fed.column, element),
        _ => element.to_owned(),
    }
}

/// A text, read as a value of a column's type. Amounts of money are read as plain numbers where
/// they are that: how else the server reads them depends on its `lc_monetary`.
pub(super) fn read(column: &route::Column, text: &str) -> String {
    let type_sql = &column.type_sql;
    let (numbers, pattern) = match column.type_name.as_str() {
        "money" => ("numeric", r"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*$"),
        "_money" => ("numeric[]", r#"^[-+0-9.eE{}", ]*$"#),
        _ => return format!("({text})::{type_sql}"),
    };
    let pattern = literal(pattern);
    format!(
        "case when ({text}) ~ {pattern} then ({text})::{numbers}::{type_sql} else ({text})::{type_sql} end"
    )
}

/// `COPY` for new rows; `None` if the server has to cast a column or set it to the time, or
/// refuses `COPY`.
pub(super) fn copy(target: &Target) -> Option<Copy> {
    let casts = target.fed().any(|column| column.kind.is_cast());
    if casts || !target.stamped.is_empty() || !target.table.copies {
        return None;
    }
    let columns = target.fed().map(|fed| Column {
        kind: fed.kind,
        ..parameter(fed)
    });
    Some(Copy {
        statement: copy_statement(target, target.fed().map(|column| &column.column)),
        relation: target.table.bare.clone(),
        columns: columns.collect(),
        list: None,
    })
}

pub(super) fn copy_statement<'c>(
    target: &Target,
    columns: impl Iterator<Item = &'c route::Column>,
) -> String {
    let names: Vec<String> = columns.map(|column| quote(&column.name)).collect();
    format!(
        "copy {} ({}) from stdin (format binary)",
        target.table.quoted,
        names.join(", ")
    )
}

/// The columns whose field a row may leave out, by their places among those that are fed, with the
/// field and what the server stores then.
pub(super) fn omitted(target: &Target) -> impl Iterator<Item = (usize, usize, &str)> {
    let fed = target.fed().enumerate().skip(target.key.len());
    fed.filter_map(|(place, fed)| {
        let (field, default) = fed.omitted()?;
        Some((place, field, default))
    })
}

/// Where a row has left out the field of a column, `instead`; otherwise the value.
fn unless_left_out(target: &Target, place: usize, instead: &str) -> String {
    let is_omitted = omitted(target).any(|(other, ..)| other == place);
    if is_omitted {
        format!("case when u.o{place} then {instead} else u.c{place} end")
    } else {
        format!("u.c{place}")
    }
}

/// The relation `u`: for each row its values, as `c0` and on, and its position. The offset keeps
/// the planner from making a value anew for every use of it.
fn rows<'t>(
    columns: impl Iterator<Item = &'t TargetColumn>,
    omitted: impl Iterator<Item = usize>,
) -> String {
    let (mut arrays, mut aliases, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (index, fed) in columns.enumerate() {
        let array = array_type(&fed.column, fed.kind.as_parameter());
        arrays.push(format!("${}::{array}", index + 1));
        aliases.push(format!("c{index}"));
        values.push(format!(
            "{} as c{index}",
            value(fed, &format!("r.c{index}"))
        ));
    }
    for place in omitted {
        arrays.push(format!("${}::bool[]", arrays.len() + 1));
        aliases.push(format!("o{place}"));
        values.push(format!("r.o{place}"));
    }
    format!(
        "(select {}, r.position\n    from {} with ordinality r({}, position) offset 0) u",
        values.join(", "),
        unnest(&arrays),
        aliases.join(", "),
    )
}

/// The relation `u` with all that rows feed. Of columns with a default, `o` and the place tell if
/// the row has left out the field.
fn all_rows(target: &Target) -> String {
    rows(target.fed(), omitted(target).map(|(place, ..)| place))
}

pub(super) fn insert(target: &Target) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (index, fed) in target.fed().enumerate() {
        let default = fed.omitted().map_or("null", |(_, default)| default);
        names.push(quote(&fed.column.name));
        values.push(unless_left_out(target, index, default));
    }
    for name in &target.stamped {
        names.push(quote(name));
        values.push("now()".into());
    }
    let key = target.key.iter().map(|fed| &fed.column);
    let updated = target.columns.iter().map(|fed| (&fed.column, fed.kind));
    format!(
        "insert into {} as t ({})\nselect {}\nfrom {}\n{}",
        target.table.quoted,
        names.join(", "),
        values.join(", "),
        all_rows(target),
        on_conflict(target, key, updated),
    )
}

pub(super) fn update(target: &Target, differs: &str) -> String {
    let first = target.key.len();
    let sets = target.columns.iter().enumerate().map(|(index, fed)| {
        let name = quote(&fed.column.name);
        let value = unless_left_out(target, first + index, &format!("t.{name}"));
        format!("{name} = {value}")
    });
    format!(
        "with done as (
    update {} as t set {}
    from {}
    where {}
        and {differs}
    returning u.position)
select pg_catalog.array_agg(position) from done",
        target.table.quoted,
        with_touched(target, sets),
        all_rows(target),
        is_key(target),
    )
}

pub(super) fn differing(target: &Target, differs: &str) -> String {
    format!(
        "select pg_catalog.array_agg(u.position) from {}
join {} t on {}
    and {differs}",
        all_rows(target),
        target.table.quoted,
        is_key(target),
    )
}

pub(super) fn missing(target: &Target) -> String {
    format!(
        "select pg_catalog.array_agg(u.position) from {}
where not exists (select from {} t where {})",
        rows(target.key.iter(), std::iter::empty()),
        target.table.quoted,
        is_key(target),
    )
}

pub(super) fn unfound(target: &Target) -> String {
    let message = format!(
        "{}: the row is not found by its key after it was written; does a trigger change the key?",
        target.table.name
    );
    format!(
        "do {}",
        literal(&format!(
            "begin raise exception using message = {}; end",
            literal(&message)
        ))
    )
}

fn key_columns(target: &Target) -> impl Iterator<Item = (&route::Column, usize)> {
    target.key.iter().map(|fed| &fed.column).zip(0..)
}

/// The condition that a row of `t` has the key of `u`.
fn is_key(target: &Target) -> String {
    let conditions =
        key_columns(target).map(|(column, index)| looked_up(column, &format!("u.c{index}")));
    conditions.collect::<Vec<_>>().join(" and ")
}

/// The condition that a column of `t` has a value, in a form that leaves the planner no way but to
/// look into the index once for each value. An equality would let it read a table that was empty
/// when the statement was planned from end to end.
pub(super) fn looked_up(column: &route::Column, value: &str) -> String {
    format!(
        "t.{} {} any(array[{value}])",
        quote(&column.name),
        column.equals
    )
}

/// The assignments, and those of the columns that are set to the time.
pub(super) fn with_touched(target: &Target, sets: impl Iterator<Item = String>) -> String {
    let touched = target.touched.iter();
    let touched = touched.map(|name| format!("{} = now()", quote(name)));
    sets.chain(touched).collect::<Vec<_>>().join(", ")
}

/// A column of `t` beside the value that it is to get.
/// True if values are compared as texts: some types cannot be compared, or hold different values
/// that are equal; texts show any difference. A `varchar` has no equality but that of `text`.
pub(super) fn is_text(column: &route::Column, kind: ColumnKind) -> bool {
    kind.is_cast()
        || matches!(kind, ColumnKind::Label | ColumnKind::Json)
        || column.type_name == "varchar"
}

/// The rows of parallel arrays. A function of several arrays is the server's own; of one, a schema
/// of the search path may have another one.
pub(super) fn unnest(arrays: &[String]) -> String {
    match arrays {
        [only] => format!("pg_catalog.unnest({only})"),
        several => format!("unnest({})", several.join(", ")),
    }
}

pub(super) struct Compared<'c> {
    pub column: &'c route::Column,
    pub kind: ColumnKind,
    pub value: String,
}

/// The columns that are not part of the key, with their values in `u`.
pub(super) fn compared(target: &Target) -> Vec<Compared<'_>> {
    let first = target.key.len();
    let columns = target.columns.iter().enumerate();
    let compared = columns.map(|(index, fed)| Compared {
        column: &fed.column,
        kind: fed.kind,
        value: {
            let old = format!("t.{}", quote(&fed.column.name));
            let value = unless_left_out(target, first + index, &old);
            as_stored(&fed.column, &value)
        },
    });
    compared.collect()
}

/// A value as the server would store it. An explicit cast cuts a text that is too long, which the
/// server refuses unless only spaces are cut off.
pub(super) fn stored(column: &route::Column, value: String) -> String {
    let declared = &column.declared_sql;
    match column.type_name.as_str() {
        "name" => format!("({value})::name"),
        // Spaces at the end are of no importance.
        "bpchar" => value,
        _ if *declared == column.type_sql => value,
        "varchar" => format!(
            "case when rtrim({value}, ' ') = rtrim(({value})::{declared}, ' ') then ({value})::{declared} else {value} end"
        ),
        _ => format!("({value})::{declared}"),
    }
}

/// A value as its column would store it: a `numeric(6, 2)` is rounded. Texts and bits that are too
/// long are left alone: a cast would cut them off where the server refuses them.
pub(super) fn as_stored(column: &route::Column, value: &str) -> String {
    let is_cut = matches!(
        column.type_name.trim_start_matches('_'),
        "varchar" | "bpchar" | "bit" | "varbit"
    );
    if is_cut || column.declared_sql == column.type_sql {
        value.to_owned()
    } else {
        format!("({value})::{}", column.declared_sql)
    }
}

/// The condition that a row of `t` differs from the values; `None` without columns.
pub(super) fn differs(columns: Vec<Compared<'_>>) -> Option<String> {
    let (mut old, mut new, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    for Compared {
        column,
        kind,
        value,
    } in columns
    {
        let name = format!("t.{}", quote(&column.name));
        if is_text(column, kind) {
            old.push(format!("{name}::text"));
            new.push(format!("({value})::text"));
        } else if column.equals == EQUALS {
            old.push(name);
            new.push(value);
        } else {
            // `is distinct from` finds only operators of the search path.
            conditions.push(format!(
                "not coalesce({name} {} ({value}), {name} is null and ({value}) is null)",
                column.equals
            ));
        }
    }
    if !old.is_empty() {
        let row = format!("({}) is distinct from ({})", old.join(", "), new.join(", "));
        conditions.insert(0, row);
    }
    (!conditions.is_empty()).then(|| format!("({})", conditions.join(" or ")))
}

/// Updates a row that has come meanwhile where it differs, and leaves it alone otherwise.
pub(super) fn on_conflict<'c>(
    target: &Target,
    key: impl Iterator<Item = &'c route::Column>,
    updated: impl Iterator<Item = (&'c route::Column, ColumnKind)>,
) -> String {
    let key: Vec<String> = key.map(|column| quote(&column.name)).collect();
    let updated: Vec<_> = updated.collect();
    let excluded = |column: &route::Column| format!("excluded.{}", quote(&column.name));
    let compared = updated.iter().map(|(column, kind)| Compared {
        column,
        kind: *kind,
        value: excluded(column),
    });
    let key = key.join(", ");
    let Some(differs) = differs(compared.collect()) else {
        return format!("on conflict ({key}) do nothing");
    };
    let sets = updated
        .iter()
        .map(|(column, _)| format!("{} = {}", quote(&column.name), excluded(column)));
    format!(
        "on conflict ({key}) do update set {}\nwhere {differs}",
        with_touched(target, sets),
    )
}

/// The type of a column's parameter.
pub(super) fn array_type(column: &route::Column, kind: ColumnKind) -> String {
    if kind == ColumnKind::Text || kind.is_cast() {
        return "text[]".into();
    }
    format!("{}[]", column.type_sql)
}
