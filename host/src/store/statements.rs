//! The statements that touch target tables, made once from the catalog.

use std::sync::Arc;

use super::{
    catalog,
    encode::{Column, ColumnSource},
    keyed::Keyed,
    missing::Treatment,
    target::{ColumnKind, Target, Targets},
};

/// The statements of a pipeline.
#[derive(Debug)]
pub(super) struct Statements {
    /// `$1` pipeline, `$2` keys → position, digest, whether the first table has the key,
    /// whether all tables have it. One row per key.
    pub lookup: Arc<str>,
    /// In the order of the tables.
    pub tables: Vec<TableStatements>,
    /// For tombstones.
    pub delete: Keyed,
    /// For flagged rows that come back.
    pub unflag: Keyed,
}

/// The statements of a table.
#[derive(Debug)]
pub(super) struct TableStatements {
    /// The key, and after it the columns that rows feed.
    pub columns: Vec<Column>,
    /// `$1` keys, `$2` and on the other columns.
    pub upsert: Arc<str>,
    /// Where every column can be sent as the server stores it.
    pub copy: Option<String>,
}

impl Statements {
    pub(super) fn new(targets: &Targets) -> Self {
        Self {
            lookup: lookup(targets).into(),
            tables: targets.tables.iter().map(TableStatements::new).collect(),
            delete: Keyed::delete(targets),
            unflag: match &targets.missing.treatment {
                Treatment::Flag(flags) => Keyed::unflag(targets, flags),
                Treatment::Keep | Treatment::Remove => Keyed::default(),
            },
        }
    }
}

/// One look into each index for each key, whatever the planner thinks of the tables: `lateral`
/// with a limit leaves it no other way. A table that was empty when the statement was planned
/// would be read from end to end for every key otherwise.
fn lookup(targets: &Targets) -> String {
    let (mut joins, mut found) = (String::new(), Vec::new());
    for (index, target) in targets.tables.iter().enumerate() {
        let (table, key) = (&target.table.quoted, quote(&target.key.name));
        joins.push_str(&format!(
            "\nleft join lateral (select true as found from {table} t where t.{key} = k.key limit 1) t{index} on true"
        ));
        found.push(format!("t{index}.found is not null"));
    }
    let key_type = targets
        .tables
        .first()
        .map(|target| array_type(&target.key, key_kind(target)))
        .unwrap_or_default();
    format!(
        "select k.position, d.digest, {} as in_first, {} as in_all
from unnest($2::{key_type}, $3::text[]) with ordinality k(key, name, position)
left join lateral (select digest from forebay.row_digest r
    where r.pipeline = $1 and r.key = k.name collate \"C\" limit 1) d on true{joins}",
        found.first().map_or("false", String::as_str),
        found.join(" and "),
    )
}

impl TableStatements {
    fn new(target: &Target) -> Self {
        let key = Column {
            source: ColumnSource::Key,
            kind: key_kind(target),
            type_oid: target.key.type_oid,
            array_oid: target.key.array_oid,
        };
        let fed = target.columns.iter().map(|column| Column {
            source: ColumnSource::Feed(column.feed),
            kind: column.kind,
            type_oid: column.column.type_oid,
            array_oid: column.column.array_oid,
        });
        Self {
            columns: [key].into_iter().chain(fed).collect(),
            upsert: upsert(target).into(),
            copy: copy(target),
        }
    }
}

/// `COPY` for new rows. Not for a column that the server has to cast, or to set to the time.
fn copy(target: &Target) -> Option<String> {
    let casts = target
        .columns
        .iter()
        .any(|column| column.kind == ColumnKind::Cast);
    if casts || !target.stamped.is_empty() {
        return None;
    }
    let names = [&target.key]
        .into_iter()
        .chain(target.columns.iter().map(|column| &column.column));
    let names: Vec<String> = names.map(|column| quote(&column.name)).collect();
    Some(format!(
        "copy {} ({}) from stdin (format binary)",
        target.table.quoted,
        names.join(", ")
    ))
}

fn upsert(target: &Target) -> String {
    let key = quote(&target.key.name);
    let mut names = vec![key.clone()];
    let mut values = vec!["u.k".to_owned()];
    let mut arrays = vec![format!("$1::{}", array_type(&target.key, key_kind(target)))];
    let mut aliases = vec!["k".to_owned()];
    let mut sets = Vec::new();
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (index, column) in target.columns.iter().enumerate() {
        let name = quote(&column.column.name);
        arrays.push(format!(
            "${}::{}",
            index + 2,
            array_type(&column.column, column.kind)
        ));
        aliases.push(format!("c{index}"));
        values.push(match column.kind {
            ColumnKind::Cast => format!("u.c{index}::{}", column.column.type_sql),
            _ => format!("u.c{index}"),
        });
        sets.push(format!("{name} = excluded.{name}"));
        // Not every type can be compared, its text always can.
        let cast = if column.kind == ColumnKind::Cast {
            "::text"
        } else {
            ""
        };
        old.push(format!("t.{name}{cast}"));
        new.push(format!("excluded.{name}{cast}"));
        names.push(name);
    }
    for name in &target.stamped {
        names.push(quote(name));
        values.push("now()".into());
    }
    sets.extend(
        target
            .touched
            .iter()
            .map(|name| format!("{} = now()", quote(name))),
    );
    let action = if old.is_empty() {
        "nothing".to_owned()
    } else {
        format!(
            "update set {}\nwhere ({}) is distinct from ({})",
            sets.join(", "),
            old.join(", "),
            new.join(", ")
        )
    };
    format!(
        "insert into {} as t ({})\nselect {}\nfrom unnest({}) as u({})\non conflict ({key}) do {action}",
        target.table.quoted,
        names.join(", "),
        values.join(", "),
        arrays.join(", "),
        aliases.join(", "),
    )
}

/// The kind of a target's key, which `bind` has found to be one of these.
pub(super) fn key_kind(target: &Target) -> ColumnKind {
    match target.key.type_name.as_str() {
        "uuid" => ColumnKind::Uuid,
        "int2" => ColumnKind::Integer(2),
        "int4" => ColumnKind::Integer(4),
        "int8" => ColumnKind::Integer(8),
        _ => ColumnKind::Text,
    }
}

fn array_type(column: &catalog::Column, kind: ColumnKind) -> String {
    match kind {
        ColumnKind::Text | ColumnKind::Cast => "text[]".into(),
        _ => format!("{}[]", column.type_sql),
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
