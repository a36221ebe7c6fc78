#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod keys;

use crate::decode::KeyType;
use crate::route::fit::{value_fault, vector_fault};
use crate::row::{Batch, Schema, Stage, Value};
use bytes::Bytes;
use half::f16;
use insta::assert_snapshot;
use std::sync::Arc;
use uuid::Uuid;

use super::*;
use crate::route::ForeignKey;
use crate::row;
use crate::row::{EmbeddingColumn, Embeddings, FieldType, Vector};

/// A column written as in SQL: a type, and perhaps `not null`, `default` or `generated`.
fn column(name: &str, sql: &str) -> crate::route::table::Column {
    let type_sql = sql.split(' ').next().unwrap();
    let (base, dimensions) = match type_sql.split_once('(') {
        Some((base, rest)) => (base, rest.trim_end_matches(')').parse().ok()),
        None => (type_sql, None),
    };
    crate::route::table::Column {
        name: name.into(),
        type_name: base.into(),
        type_sql: base.into(),
        declared_sql: type_sql.into(),
        equals: "=".into(),
        category: match base {
            "mood" => "E",
            "interval" => "T",
            _ if base.starts_with('_') => "A",
            _ => "X",
        }
        .into(),
        type_oid: 0,
        array_oid: 0,
        dimensions,
        required: sql.contains("not null"),
        has_default: sql.contains("default"),
        default_sql: sql.contains("default").then(|| "1".into()),
        omitted_sql: None,
        generated: sql.contains("generated"),
    }
}

/// A table whose first column is the primary key.
fn table(name: &str, columns: &[(&str, &str)], references: &[&str]) -> Table {
    Table {
        name: name.into(),
        bare: name.into(),
        quoted: format!("public.{name}"),
        columns: columns
            .iter()
            .map(|(name, sql)| column(name, sql))
            .collect(),
        primary_key: vec![columns[0].0.into()],
        unique_keys: Vec::new(),
        near_keys: Vec::new(),
        guarded: false,
        has_triggers: false,
        own_checks: Vec::new(),
        copies: true,
        foreign_keys: references
            .iter()
            .map(|name| ForeignKey {
                table: (*name).into(),
                columns: vec![columns[0].0.into()],
                referenced: vec!["id".into()],
            })
            .collect(),
    }
}

fn schema() -> Schema {
    use FieldType::{Boolean, Integer, Text, Timestamp};
    let columns = [
        ("company", Text),
        ("years", Integer),
        ("open", Boolean),
        ("posted", Timestamp),
    ];
    let column = |(name, field_type): (&str, _)| row::Column {
        name: name.into(),
        field_type: Some(field_type),
    };
    Schema {
        columns: columns.map(column).into(),
        embeddings: vec![EmbeddingColumn {
            name: "vector".into(),
            dimensions: 3,
        }],
    }
}

fn metadata() -> Table {
    let columns = [
        ("id", "uuid not null"),
        ("company", "text not null"),
        ("years", "int4 not null"),
        ("updated_at", "timestamptz not null"),
    ];
    table("metadata", &columns, &[])
}

fn embedding() -> Table {
    table(
        "embedding",
        &[("id", "uuid not null"), ("vector", "vector(3) not null")],
        &["metadata"],
    )
}

/// Binds tables that are all there, with renames and without transforms.
fn bound(tables: &[Table], rename: &[(&str, &str)]) -> Result<Targets, Vec<Misfit>> {
    bound_with(tables, rename, false)
}

fn bound_with(
    tables: &[Table],
    rename: &[(&str, &str)],
    transforms: bool,
) -> Result<Targets, Vec<Misfit>> {
    bind(Binding {
        schema: &schema(),
        names: &tables
            .iter()
            .map(|table| table.name.clone())
            .collect::<Vec<_>>(),
        tables: &tables.iter().cloned().map(Some).collect::<Vec<_>>(),
        rename: &rename
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect(),
        key: &Default::default(),
        meant: &Default::default(),
        transforms,
        key_is_apart: false,
    })
}

#[test]
fn columns_are_fed_by_name_and_referenced_tables_come_first() {
    let targets = bound(&[embedding(), metadata()], &[]).unwrap();
    let names: Vec<_> = targets
        .tables
        .iter()
        .map(|target| target.table.name.as_str())
        .collect();
    assert_eq!(names, ["metadata", "embedding"]);
    assert_eq!(targets.key_type, KeyType::Uuid);
    let fed: Vec<_> = targets.tables[0]
        .columns
        .iter()
        .map(|column| (column.column.name.as_str(), column.feed))
        .collect();
    assert_eq!(
        fed,
        [("company", Feed::Field(0)), ("years", Feed::Field(1))]
    );
    assert_eq!(targets.tables[0].touched, ["updated_at"]);
    assert_eq!(targets.tables[1].columns[0].feed, Feed::Embedding(0));
    assert_eq!(targets.schema.columns, schema().columns);
}

#[test]
fn what_only_plugins_or_the_server_can_fill_is_told_apart() {
    let columns = [
        ("id", "int8 not null"),
        ("grade", "text"),
        ("rank", "int4 not null default"),
        ("total", "int4 not null generated"),
        ("created_at", "timestamptz not null"),
        ("last_modified", "timestamp"),
        ("checked_on", "date"),
    ];
    let targets = bound_with(&[table("t", &columns, &[])], &[], true).unwrap();
    let target = &targets.tables[0];
    let fed: Vec<_> = target
        .columns
        .iter()
        .map(|column| column.column.name.as_str())
        .collect();
    // `rank` keeps its default, `total` is the server's.
    assert_eq!(fed, ["grade", "checked_on"]);
    assert_eq!(target.touched, ["last_modified"]);
    // Neither has a default that would do it.
    assert_eq!(target.stamped, ["created_at", "last_modified"]);
    let added: Vec<_> = targets.schema.columns[4..]
        .iter()
        .map(|column| (column.name.as_str(), column.field_type))
        .collect();
    assert_eq!(added, [("grade", None), ("checked_on", None)]);
    // Without plugins that could fill them they are left out, and null.
    let targets = bound(&[table("t", &columns, &[])], &[]).unwrap();
    assert!(targets.tables[0].columns.is_empty());
}

#[test]
fn a_renamed_field_feeds_only_the_column_it_was_renamed_to() {
    let columns = [
        ("id", "text not null"),
        ("firm", "text"),
        ("company", "text"),
        ("years", "int2"),
    ];
    let targets = bound(&[table("t", &columns, &[])], &[("company", "firm")]).unwrap();
    let fed: Vec<_> = targets.tables[0]
        .columns
        .iter()
        .map(|column| (column.column.name.as_str(), column.feed))
        .collect();
    assert_eq!(fed, [("firm", Feed::Field(0)), ("years", Feed::Field(1))]);
}

/// Everything that does not fit, as users see it.
fn misfits(tables: &[Table], rename: &[(&str, &str)]) -> String {
    let misfits = bound(tables, rename).unwrap_err();
    crate::error::PipelineError::Unfit(misfits).to_string()
}

#[test]
fn everything_that_does_not_fit_is_reported_together() {
    let columns = [
        ("id", "uuid not null"),
        ("company", "int4"),
        ("years", "uuid"),
        ("open", "vector(3)"),
        ("vector", "text"),
        ("grade", "text not null"),
        ("other", "halfvec(3) not null"),
    ];
    let mut paired = table("paired", &[("a", "uuid"), ("b", "uuid")], &[]);
    paired.primary_key.push("b".into());
    let keyless = Table {
        primary_key: Vec::new(),
        ..table("keyless", &[("a", "uuid")], &[])
    };
    let tables = [
        table("wrong", &columns, &[]),
        table("narrow", &[("id", "uuid"), ("vector", "vector(2)")], &[]),
        table("other_key", &[("id", "int8")], &[]),
        table("time_key", &[("id", "timestamptz")], &[]),
        table("generated_key", &[("id", "int8 generated")], &[]),
        paired,
        keyless,
    ];
    assert_snapshot!(misfits(&tables, &[("firm", "company")]), @r#"
    wrong.years: has type uuid, but its field has type Integer
      hint: change the column, or set the field's value in a transform plugin under another name
    wrong.open: has type vector, but its field has type Boolean
      hint: change the column, or set the field's value in a transform plugin under another name
    wrong.vector: has type text, but its embedding needs vector or halfvec
      hint: change the column, or rename the embedding
    wrong.grade: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    wrong.other: needs an embedding, but the dataset has none of this name
      hint: did you mean rename = { vector = "other" }?
    narrow.vector: has 2 dimensions, but the dataset's embedding has 3
      hint: if the table is empty: alter table public.narrow alter column "vector" type vector(3); otherwise
        alter table public.narrow add column "vector_3" vector(3);
        in the pipeline, rename = { vector = "vector_3" }; then `forebay run`, which fills it
        create index concurrently on public.narrow using hnsw ("vector_3" vector_cosine_ops);
        once searches use "vector_3": alter table public.narrow drop column "vector";
    time_key.id: has type timestamptz, which a row's key cannot feed
      hint: use uuid, integer or text
    generated_key: its primary key is generated always, and it has no other key
      hint: rows are found by the primary key, or else by the only unique key without nulls
    paired: no field feeds the key columns `a` and `b`
      hint: the row's key feeds one key column, and fields of the same name feed the others; a list makes one row per item if the table references another one
    keyless: has no primary key
      hint: rows are found by the primary key, or else by the only unique key without nulls
    rename.firm: the dataset has no field or embedding `firm`
      hint: rename = { firm = "company" } maps the source's name to the column's name
    other_key: its key differs in type from those of the other tables
      hint: one row key feeds them all
    "#);
}

#[test]
fn a_rename_without_effect_is_an_error() {
    let table = table(
        "t",
        &[
            ("id", "uuid"),
            ("firm", "text"),
            ("total", "int4 generated"),
        ],
        &[],
    );
    for (rename, expected) in [
        (
            ("firm", "company"),
            "rename.firm: the dataset has no field or embedding `firm`",
        ),
        (
            ("company", "fimr"),
            "rename.company: no table has a column `fimr` that it feeds",
        ),
        (
            ("years", "total"),
            "rename.years: no table has a column `total` that it feeds",
        ),
        (
            ("company", "id"),
            "rename.company: no table has a column `id` that it feeds",
        ),
    ] {
        let told = misfits(std::slice::from_ref(&table), &[rename]);
        assert_eq!(told.lines().next().unwrap(), expected);
    }
}

#[test]
fn a_table_that_is_not_there_is_named() {
    let misfits = bind(Binding {
        schema: &schema(),
        names: &["here".into(), "gone".into()],
        tables: &[Some(table("here", &[("id", "uuid")], &[])), None],
        rename: &[("company".into(), "in_gone".into())].into(),
        key: &Default::default(),
        meant: &Default::default(),
        transforms: false,
        key_is_apart: false,
    })
    .unwrap_err();
    let places: Vec<_> = misfits
        .iter()
        .map(|misfit| (misfit.place.as_str(), misfit.message.as_str()))
        .collect();
    assert_eq!(places, [("gone", "no such table")]);
}

#[test]
fn a_vector_that_is_too_long_waits_for_a_plugin_that_may_shorten_it() {
    for (dimensions, transforms, fits) in [
        (3, false, true),
        (2, false, false),
        (2, true, true),
        (4, true, false),
    ] {
        let table = table(
            "t",
            &[
                ("id", "uuid"),
                ("vector", &format!("halfvec({dimensions})")),
            ],
            &[],
        );
        assert_eq!(
            bound_with(&[table], &[], transforms).is_ok(),
            fits,
            "{dimensions} {transforms}"
        );
    }
}

fn f32s(elements: &[f32]) -> Vector {
    Vector::F32(
        elements
            .iter()
            .flat_map(|element| element.to_le_bytes())
            .collect(),
    )
}

fn f16s(elements: &[f32]) -> Vector {
    Vector::F16(
        elements
            .iter()
            .flat_map(|element| f16::from_f32(*element).to_le_bytes())
            .collect(),
    )
}

/// Batches of one row in the schema of [`schema`].
fn batch(values: [Value; 4], vector: Vector) -> Batch {
    Batch {
        schema: Arc::new(schema()),
        keys: vec!["k".into()],
        values: values.into(),
        embeddings: Embeddings {
            width: 1,
            vectors: vec![Some(vector)],
        },
        live: vec![0],
        ..Batch::default()
    }
}

fn good_values() -> [Value; 4] {
    [
        Value::Text("Łąka".into()),
        Value::Integer(5),
        Value::Boolean(true),
        Value::Timestamp(1),
    ]
}

fn digest(targets: &Targets, values: [Value; 4], vector: Vector) -> Uuid {
    let mut digests = Vec::new();
    let mut batch = batch(values, vector);
    targets.route(&mut batch, &mut digests);
    assert_eq!((batch.live.as_slice(), batch.failures.len()), (&[0][..], 0));
    digests[0]
}

#[test]
fn a_digest_changes_with_what_would_be_written_and_with_nothing_else() {
    let targets = bound(&[metadata(), embedding()], &[]).unwrap();
    let good = || (good_values(), f32s(&[1.0, 2.0, 3.0]));
    let with = |change: &dyn Fn(&mut [Value; 4], &mut Vector)| {
        let (mut values, mut vector) = good();
        change(&mut values, &mut vector);
        digest(&targets, values, vector)
    };
    let same = with(&|_, _| {});
    assert_eq!(same, with(&|_, _| {}));
    // Neither `open` nor `posted` has a column.
    assert_eq!(same, with(&|values, _| values[2] = Value::Null));
    assert_eq!(same, with(&|values, _| values[3] = Value::Timestamp(2)));

    let mut seen = vec![same];
    type Change<'c> = &'c dyn Fn(&mut [Value; 4], &mut Vector);
    let changes: [Change<'_>; 8] = [
        &|values, _| values[0] = Value::Text("Łąki".into()),
        &|values, _| values[0] = Value::Text("".into()),
        &|values, _| values[0] = Value::Null,
        &|values, _| values[0] = Value::Json("Łąka".into()),
        &|values, _| values[1] = Value::Integer(6),
        &|values, _| values[1] = Value::Null,
        &|_, vector| *vector = f32s(&[1.0, 2.0, 3.000_001]),
        &|_, vector| *vector = f16s(&[1.0, 2.0, 3.0]),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let digest = with(change);
        assert!(!seen.contains(&digest), "change {index} changes nothing");
        seen.push(digest);
    }
}

#[test]
fn a_digest_changes_with_the_layout() {
    let wide = table(
        "metadata",
        &[
            ("id", "uuid"),
            ("company", "text"),
            ("years", "int8"),
            ("updated_at", "timestamptz"),
        ],
        &[],
    );
    let moved = Table {
        quoted: "elsewhere.metadata".into(),
        ..metadata()
    };
    let firm = table(
        "metadata",
        &[("id", "uuid"), ("firm", "text"), ("years", "int4")],
        &[],
    );
    let more = table(
        "metadata",
        &[
            ("id", "uuid"),
            ("company", "text"),
            ("years", "int4"),
            ("open", "bool"),
        ],
        &[],
    );
    let mut seen = Vec::new();
    for (tables, rename) in [
        (vec![metadata(), embedding()], &[][..]),
        (vec![wide, embedding()], &[]),
        (vec![moved, embedding()], &[]),
        (vec![firm, embedding()], &[("company", "firm")]),
        (vec![more, embedding()], &[]),
        (vec![metadata()], &[]),
    ] {
        let targets = bound(&tables, rename).unwrap();
        let digest = digest(&targets, good_values(), f32s(&[1.0, 2.0, 3.0]));
        assert!(!seen.contains(&digest), "{tables:?}");
        seen.push(digest);
    }
}

#[test]
fn a_row_that_does_not_fit_fails_alone() {
    let targets = bound(&[metadata(), embedding()], &[]).unwrap();
    let mut batch = batch(good_values(), f32s(&[1.0, 2.0, 3.0]));
    batch.keys.push("l".into());
    batch.values.extend(good_values());
    batch.values[1] = Value::Integer(1 << 31);
    batch.embeddings.vectors.push(Some(f32s(&[0.0; 3])));
    batch.live.push(1);
    let mut digests = Vec::new();
    targets.route(&mut batch, &mut digests);
    assert_eq!(batch.live, [1]);
    assert!(digests[0].is_nil() && !digests[1].is_nil());
    let failure = &batch.failures[0];
    assert_eq!(
        (
            failure.row,
            failure.stage,
            failure.code.as_str(),
            failure.field.as_deref()
        ),
        (0, Stage::Write, "VALUE_RANGE", Some("years"))
    );
    assert_eq!(failure.message, "`years` cannot hold 2147483648 in 4 bytes");
}

#[test]
fn a_value_has_to_fit_its_column() {
    use ColumnKind::{
        Array, Boolean, Bytea, Cast, CastNumber, Date, Float4, Float8, Integer, Json, Jsonb, Label,
        Numeric, Text, Timestamp, Uuid,
    };
    let text = |text: &str| Value::Text(text.into());
    let earliest = -211_813_488_000_000_000 + POSTGRES_EPOCH_MICROS;
    for (kind, value, fault) in [
        (Boolean, Value::Null, None),
        (Boolean, Value::Boolean(true), None),
        (Boolean, Value::Integer(1), Some("VALUE_TYPE")),
        (Integer(2), Value::Integer(32_767), None),
        (Integer(2), Value::Integer(-32_769), Some("VALUE_RANGE")),
        (Integer(4), Value::Integer(-2_147_483_648), None),
        (
            Integer(4),
            Value::Integer(2_147_483_648),
            Some("VALUE_RANGE"),
        ),
        (Integer(8), Value::Integer(i64::MIN), None),
        (Integer(8), Value::Real(1.0), Some("VALUE_TYPE")),
        (Float4, Value::Real(3.4e38), None),
        (Float4, Value::Real(3.5e38), Some("VALUE_RANGE")),
        (Float4, Value::Real(f64::INFINITY), None),
        (Float4, Value::Real(-0.0), None),
        (Float4, Value::Real(1e-45), None),
        (Float4, Value::Real(-1e-46), Some("VALUE_RANGE")),
        (Float4, Value::Real(1e-60), Some("VALUE_RANGE")),
        (Float4, Value::Integer(i64::MAX), None),
        (Float8, Value::Real(f64::MAX), None),
        (Float8, text("1"), Some("VALUE_TYPE")),
        (Text, text(""), None),
        (Text, Value::Json("{}".into()), None),
        (Text, Value::Texts(Vec::new()), Some("VALUE_TYPE")),
        (Text, text("a\0b"), Some("SQL_22021")),
        (Cast, text("\0"), Some("SQL_22021")),
        (Label, text("a\0"), Some("SQL_22021")),
        (Array, Value::Texts(vec!["\0".into()]), Some("SQL_22021")),
        (Jsonb, Value::Texts(vec!["\0".into()]), None),
        (Bytea, Value::Binary(Bytes::new()), None),
        (Bytea, text("x"), Some("VALUE_TYPE")),
        (Uuid, text("6F9619FF-8B86-D011-B42D-00C04FC964FF"), None),
        (Uuid, text("6F9619FF"), Some("VALUE_TYPE")),
        (
            Uuid,
            Value::Binary(Bytes::from_static(&[0; 16])),
            Some("VALUE_TYPE"),
        ),
        (Timestamp, Value::Timestamp(i64::MAX), None),
        (Timestamp, Value::Timestamp(earliest), None),
        (Timestamp, Value::Timestamp(earliest - 1), Some("SQL_22008")),
        (Date, Value::Timestamp(i64::MIN), Some("SQL_22008")),
        (Date, Value::Integer(1), Some("VALUE_TYPE")),
        (Cast, text("1 day"), None),
        (Cast, Value::Integer(1), Some("VALUE_TYPE")),
        (Cast, Value::Texts(vec!["a".into()]), Some("VALUE_TYPE")),
        (Cast, Value::Json("[]".into()), Some("VALUE_TYPE")),
        (Array, Value::Texts(vec!["a".into()]), None),
        (Array, text("{1,2}"), None),
        (Array, Value::Json("[]".into()), Some("VALUE_TYPE")),
        (CastNumber, Value::Integer(1), None),
        (Numeric, Value::Integer(1), None),
        (Numeric, Value::Real(f64::NAN), None),
        (Numeric, text(" -1.50e-7 "), None),
        (Numeric, text("1,5"), Some("VALUE_TYPE")),
        (Numeric, text("1e131072"), Some("VALUE_RANGE")),
        (Label, text("happy"), None),
        (Label, Value::Integer(1), Some("VALUE_TYPE")),
        (Json, Value::Texts(Vec::new()), None),
        (Jsonb, Value::Json("[]".into()), None),
        (Jsonb, Value::Timestamp(0), Some("VALUE_TYPE")),
        (Cast, Value::Binary(Bytes::new()), Some("VALUE_TYPE")),
        (Cast, Value::Timestamp(0), Some("VALUE_TYPE")),
        (ColumnKind::Vector(None), text("[1]"), Some("VALUE_TYPE")),
    ] {
        assert_eq!(
            value_fault(kind, &value).map(|(code, _)| code),
            fault,
            "{kind:?} {value:?}"
        );
    }
}

#[test]
fn a_vector_has_to_fit_its_column() {
    use ColumnKind::{HalfVec, Vector};
    for (kind, vector, fault) in [
        (Vector(Some(2)), f32s(&[1.0, 1e38]), None),
        (Vector(Some(2)), f16s(&[1.0, 2.0]), None),
        (Vector(None), f32s(&[1.0; 7]), None),
        (Vector(Some(2)), f32s(&[1.0]), Some("EMBEDDING_DIMENSIONS")),
        (
            HalfVec(Some(2)),
            f16s(&[1.0; 3]),
            Some("EMBEDDING_DIMENSIONS"),
        ),
        (HalfVec(Some(2)), f32s(&[-65_504.0, 65_519.0]), None),
        // Rounds to infinity.
        (
            HalfVec(Some(2)),
            f32s(&[0.0, -65_520.0]),
            Some("VALUE_RANGE"),
        ),
        (HalfVec(None), f16s(&[65_504.0]), None),
    ] {
        assert_eq!(
            vector_fault(kind, &vector).map(|(code, _)| code),
            fault,
            "{kind:?} {vector:?}"
        );
    }
}

/// A schema with lists, and a table that refers to `posting` by its first columns.
fn with_lists(
    tables: &[Table],
    rename: &[(&str, &str)],
    transforms: bool,
) -> Result<Targets, Vec<Misfit>> {
    use FieldType::{Integer, Json, Text, Texts};
    let columns = [
        ("tenant", Text),
        ("number", Integer),
        ("skills", Texts),
        ("languages", Json),
    ];
    let column = |(name, field_type): (&str, _)| row::Column {
        name: name.into(),
        field_type: Some(field_type),
    };
    bind(Binding {
        schema: &Schema {
            columns: columns.map(column).into(),
            embeddings: schema().embeddings,
        },
        names: &tables
            .iter()
            .map(|table| table.name.clone())
            .collect::<Vec<_>>(),
        tables: &tables.iter().cloned().map(Some).collect::<Vec<_>>(),
        rename: &rename
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect(),
        key: &Default::default(),
        meant: &Default::default(),
        transforms,
        key_is_apart: false,
    })
}

/// A table whose primary key is its first columns.
fn keyed(name: &str, columns: &[(&str, &str)], key: usize, references: &[&str]) -> Table {
    Table {
        primary_key: columns[..key]
            .iter()
            .map(|(name, _)| (*name).into())
            .collect(),
        ..table(name, columns, references)
    }
}

/// How the columns of the second of two tables are fed, the first being what it refers to.
fn fed(columns: &[(&str, &str)], rename: &[(&str, &str)], transforms: bool) -> String {
    let posting = keyed("posting", &[("id", "int8 not null")], 1, &[]);
    let second = keyed("second", columns, 2, &["posting"]);
    let targets = match with_lists(&[second, posting], rename, transforms) {
        Ok(targets) => targets,
        Err(misfits) => return crate::error::PipelineError::Unfit(misfits).to_string(),
    };
    let target = &targets.tables[1];
    let name = |index: usize| targets.schema.columns[index].name.as_str();
    let mut fed: Vec<String> = target
        .fed()
        .map(|column| match column.feed {
            Feed::Key => format!("{}=key", column.column.name),
            Feed::Field(index) => format!("{}={}", column.column.name, name(index)),
            Feed::Embedding(_) => format!("{}=embedding", column.column.name),
        })
        .collect();
    if let Some(items) = &target.items {
        let columns = items.columns.iter();
        let columns = columns.map(|item| format!("{}={:?}", item.column.name, item.feed));
        fed.push(format!(
            "{} of {}:",
            if items.json { "json" } else { "texts" },
            name(items.list)
        ));
        fed.extend(columns);
    }
    fed.extend(target.touched.iter().map(|name| format!("{name} touched")));
    fed.join(" ")
}

#[test]
fn a_tables_key_and_what_feeds_it_tell_whether_it_has_a_lists_items() {
    for (columns, rename, expected) in [
        // One row for each row.
        (
            &[("id", "int8"), ("tenant", "text")][..],
            &[][..],
            "id=key tenant=tenant",
        ),
        (
            &[("number", "int4"), ("id", "int8")],
            &[],
            "number=number id=key",
        ),
        // A list named as the column, or as the table.
        (
            &[("id", "int8"), ("skills", "text")],
            &[],
            "id=key texts of skills: skills=Item",
        ),
        (
            &[
                ("id", "int8"),
                ("skill", "int4"),
                ("position", "int2"),
                ("updated_at", "timestamptz"),
            ],
            &[("skills", "second.skill")],
            "id=key texts of skills: skill=Item position=Position updated_at touched",
        ),
        (
            &[("id", "int8"), ("skill", "uuid"), ("rank", "int4 default")],
            &[("skills", "second")],
            "id=key texts of skills: skill=Item",
        ),
        // The position in the key.
        (
            &[
                ("id", "int8"),
                ("position", "int4"),
                ("note", "text"),
                ("skills", "text"),
            ],
            &[],
            "id=key texts of skills: position=Position skills=Item",
        ),
        (
            &[
                ("id", "int8"),
                ("ordinal", "int8"),
                ("skill", "text not null"),
            ],
            &[("skills", "second")],
            "id=key texts of skills: ordinal=Position skill=Item",
        ),
        // Members of objects.
        (
            &[
                ("id", "int8"),
                ("name", "text"),
                ("level", "int4 not null default"),
                ("total", "int4 generated"),
            ],
            &[("languages", "second")],
            "id=key json of languages: name=Item level=Item",
        ),
    ] {
        assert_eq!(fed(columns, rename, false), expected, "{columns:?}");
    }
    // A list that only a plugin has, unless the table is an embedding's.
    let columns = [("id", "int8"), ("topic", "text")];
    assert_eq!(
        fed(&columns, &[], true),
        "id=key texts of topic: topic=Item"
    );
    let columns = [("id", "int8"), ("number", "int4"), ("vector", "vector(3)")];
    assert_eq!(
        fed(&columns, &[], true),
        "id=key number=number vector=embedding"
    );
}

#[test]
fn a_key_or_a_list_that_does_not_fit_is_reported() {
    let told = |columns: &[(&str, &str)], rename: &[(&str, &str)]| fed(columns, rename, false);
    assert_snapshot!(told(&[("id", "int8"), ("topic", "text")], &[]), @r#"
    second: no field feeds the key columns `id` and `topic`
      hint: the row's key feeds one key column, and fields of the same name feed the others; a list makes one row per item if the table references another one
    "#);
    assert_snapshot!(told(&[("id", "int8"), ("topic", "text"), ("vector", "vector(3)")], &[]), @r#"
    second: no field feeds the key columns `id` and `topic`
      hint: the row's key feeds one key column, and fields of the same name feed the others; a list makes one row per item if the table references another one
    "#);
    assert_snapshot!(told(&[("id", "int8"), ("skills", "text"), ("note", "text not null")], &[]), @r#"
    second.note: is NOT NULL, but the list feeds another column
      hint: give it a default, or make the list JSON objects
    "#);
    assert_snapshot!(told(&[("id", "int8"), ("position", "int4"), ("a", "text")], &[("skills", "second")]), @r#"
    second: has no column for the items of its list
      hint: give the column the name of the list, with `rename` if needed, or make it NOT NULL
    "#);
    assert_snapshot!(told(&[("id", "int4"), ("skills", "text")], &[]), @r#"
    second: its key differs in type from those of the other tables
      hint: one row key feeds them all
    "#);
    assert_snapshot!(told(&[("id", "int8"), ("number", "uuid")], &[]), @r#"
    second.number: has type uuid, but its field has type Integer
      hint: change the column, or set the field's value in a transform plugin under another name
    "#);
    assert_snapshot!(told(&[("id", "int8"), ("skills", "text")], &[("skills", "third")]), @r#"
    second: no field feeds the key columns `id` and `skills`
      hint: the row's key feeds one key column, and fields of the same name feed the others; a list makes one row per item if the table references another one
    "#);
    let twice = keyed("posting", &[("id", "int8")], 1, &[]);
    let also = Table {
        name: "public.posting".into(),
        ..twice.clone()
    };
    let mut several = keyed("several", &[("a", "int8"), ("b", "int8")], 1, &[]);
    several.primary_key.clear();
    several.unique_keys = vec![vec!["a".into()], vec!["b".into()]];
    let misfits = with_lists(&[twice, also, several], &[], false).unwrap_err();
    assert_snapshot!(crate::error::PipelineError::Unfit(misfits).to_string(), @r#"
    public.posting: is named twice
      hint: name it once
    several: has several unique keys, and no primary key that can be fed
      hint: choose one in the pipeline: key = "a", or key = "b"
    "#);
}

#[test]
fn a_key_that_the_server_makes_is_passed_over_for_the_only_other_one() {
    let columns = [
        ("id", "int8 generated"),
        ("external", "uuid not null"),
        ("number", "int4"),
    ];
    let mut table = keyed("t", &columns, 1, &[]);
    table.unique_keys = vec![vec!["external".into()]];
    let targets = with_lists(&[table], &[], false).unwrap();
    assert_eq!(targets.key_type, KeyType::Uuid);
    let key = targets.tables[0].row_key().unwrap();
    assert_eq!(key.column.name, "external");
}

#[test]
fn an_item_has_to_fit_its_column() {
    let fault = |sql: &str, value: Value| {
        let posting = keyed("posting", &[("id", "int8 not null")], 1, &[]);
        let second = keyed(
            "second",
            &[("id", "int8"), ("skills", sql)],
            2,
            &["posting"],
        );
        let targets = with_lists(&[posting, second], &[], false).unwrap();
        let items = targets.tables[1].items.as_ref().unwrap();
        let values = [Value::Null, Value::Null, value];
        items
            .fault(&values)
            .map(|(code, message, name)| format!("{code} {name} {message}"))
    };
    let texts = |texts: &[&str]| Value::Texts(texts.iter().map(|text| (*text).into()).collect());
    assert_eq!(fault("text", Value::Null), None);
    assert_eq!(fault("text", texts(&["a", ""])), None);
    assert_eq!(fault("int2", texts(&["+7", "-32768"])), None);
    assert_eq!(fault("interval", texts(&["soon"])), None);
    let told: Vec<String> = [
        ("text", Value::Text("a".into())),
        ("text", Value::Json("[]".into())),
        ("int2", texts(&["1", "32768"])),
        ("int8", texts(&["9223372036854775808"])),
        ("int4", texts(&["1.0"])),
        ("uuid", texts(&["6f9619ff"])),
    ]
    .map(|(sql, value)| fault(sql, value).unwrap())
    .into();
    assert_snapshot!(told.join("\n"), @r#"
    VALUE_TYPE skills received Text, but its table needs a list of texts
    VALUE_TYPE skills received Json, but its table needs a list of texts
    VALUE_RANGE skills cannot hold 32768 in 2 bytes
    VALUE_RANGE skills cannot hold 9223372036854775808
    VALUE_TYPE skills received a text that is not an integer
    VALUE_TYPE skills received a text that is not a uuid
    "#);
}
