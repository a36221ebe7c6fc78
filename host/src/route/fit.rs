//! Checks that values fit a column: by their declared types, and one by one.

use super::kind::POSTGRES_EPOCH_MICROS;
use super::numeric;
use super::table::{Column, Table, quoted};
use super::unmapped::toml_key;
use super::{Binding, ColumnKind, Feed};
use crate::row::{FieldType, Schema, Value, Vector};

/// The reason why a feed can never fit a column.
pub(super) struct Mismatch {
    pub(super) message: String,
    pub(super) hint: String,
}

/// Checks that a feed can fit a column.
pub(super) fn mismatch(
    binding: Binding<'_>,
    schema: &Schema,
    feed: Feed,
    table: &Table,
    column: &Column,
    kind: ColumnKind,
) -> Option<Mismatch> {
    match feed {
        Feed::Embedding(index) => {
            let embedding = schema.embeddings.get(index)?;
            let (ColumnKind::Vector(dimensions) | ColumnKind::HalfVec(dimensions)) = kind else {
                let message = format!(
                    "has type {}, but its embedding needs vector or halfvec",
                    column.type_sql
                );
                let hint = "change the column, or rename the embedding".into();
                return Some(Mismatch { message, hint });
            };
            let dimensions = dimensions.filter(|dimensions| *dimensions != embedding.dimensions)?;
            // A plugin may truncate what is too long.
            if binding.transforms && embedding.dimensions > dimensions {
                return None;
            }
            let message = format!(
                "has {dimensions} dimensions, but the dataset's embedding has {}",
                embedding.dimensions
            );
            let hint = another_width(table, column, &embedding.name, embedding.dimensions);
            Some(Mismatch { message, hint })
        }
        Feed::Key => None,
        Feed::Field(index) => {
            let field_type = schema.columns.get(index)?.field_type?;
            if kind.accepts(field_type) {
                return None;
            }
            let message = format!(
                "has type {}, but its field has type {field_type:?}",
                column.type_sql
            );
            let hint = "change the column, or set the field's value in a transform plugin under another name".into();
            Some(Mismatch { message, hint })
        }
    }
}

/// How to give an embedding of another width its column. A column that has values cannot change its
/// width, so there is a second one for a while.
fn another_width(table: &Table, column: &Column, embedding: &str, dimensions: usize) -> String {
    let (sql, name) = (&table.quoted, quoted(&column.name));
    let vector = &column.type_name;
    let plain = format!("{}_{dimensions}", column.name);
    let wide = quoted(&plain);
    let mut steps = format!(
        "if the table is empty: alter table {sql} alter column {name} type {vector}({dimensions}); otherwise\n    \
         alter table {sql} add column {wide} {vector}({dimensions});\n    "
    );
    if column.required {
        steps += &format!("alter table {sql} alter column {name} drop not null;\n    ");
    }
    let rename = format!("{} = {plain:?}", toml_key(embedding));
    steps += &format!(
        "in the pipeline, rename = {{ {rename} }}; then `forebay run`, which fills it\n    "
    );
    if let Some(index) = index_on(vector, &wide, dimensions) {
        steps += &format!("create index concurrently on {sql} using hnsw ({index});\n    ");
    }
    steps + &format!("once searches use {wide}: alter table {sql} drop column {name};")
}

/// What an HNSW index of a column indexes (pgvector: up to 2,000 dimensions of `vector`, 4,000 of
/// `halfvec`); `None` if it can have none.
fn index_on(vector: &str, name: &str, dimensions: usize) -> Option<String> {
    match (vector, dimensions) {
        ("vector", ..=2_000) => Some(format!("{name} vector_cosine_ops")),
        ("halfvec", ..=4_000) => Some(format!("{name} halfvec_cosine_ops")),
        ("vector", ..=4_000) => Some(format!(
            "({name}::halfvec({dimensions})) halfvec_cosine_ops"
        )),
        _ => None,
    }
}

/// The reason why a value cannot be written to a column, as a code and a message.
pub(super) fn value_fault(kind: ColumnKind, value: &Value) -> Option<(&'static str, String)> {
    let in_range = |integer: i64, bytes: u8| match bytes {
        2 => i16::try_from(integer).is_ok(),
        4 => i32::try_from(integer).is_ok(),
        _ => true,
    };
    match (kind, value) {
        (_, Value::Null) => None,
        (ColumnKind::Integer(bytes), Value::Integer(integer)) => {
            (!in_range(*integer, bytes)).then(|| {
                (
                    "VALUE_RANGE",
                    format!("cannot hold {integer} in {bytes} bytes"),
                )
            })
        }
        (ColumnKind::Uuid, Value::Text(text)) => uuid::Uuid::try_parse(text)
            .is_err()
            .then(|| ("VALUE_TYPE", "received a text that is not a uuid".into())),
        (ColumnKind::Timestamp | ColumnKind::Date, Value::Timestamp(micros)) => {
            let since_2000 = micros.checked_sub(POSTGRES_EPOCH_MICROS);
            let in_range = since_2000.is_some_and(|micros| TIMES.contains(&micros));
            (!in_range).then(|| {
                let message = format!(
                    "cannot hold a time {} s from 1970: the server's are from 4714 BC to 294276",
                    micros / 1_000_000
                );
                ("SQL_22008", message)
            })
        }
        (ColumnKind::Float4, Value::Real(real)) => (!fits_float4(*real))
            .then(|| ("VALUE_RANGE", format!("cannot hold {real:e} in 4 bytes"))),
        (ColumnKind::Numeric, Value::Text(text)) => numeric::fault(text),
        (kind, value) => match field_type(value) {
            Some(field_type) if !kind.accepts(field_type) => Some((
                "VALUE_TYPE",
                format!("received {field_type:?}, which its type cannot hold"),
            )),
            _ => nul_fault(kind, value),
        },
    }
}

/// True if the server's own cast to `real` takes a double: it refuses one that would become
/// infinite or zero (`dtof` in its sources).
fn fits_float4(real: f64) -> bool {
    let narrow = real as f32;
    let overflows = narrow.is_infinite() && real.is_finite();
    let underflows = narrow == 0.0 && real != 0.0;
    !(overflows || underflows)
}

/// Times that the server can store, in microseconds since 2000 (`MIN_TIMESTAMP` and
/// `END_TIMESTAMP` in its sources).
const TIMES: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// A NUL is the one character that the server's texts cannot hold.
fn nul_fault(kind: ColumnKind, value: &Value) -> Option<(&'static str, String)> {
    match value {
        Value::Text(text) => nul_in(text),
        // JSON has an escape for it.
        Value::Texts(_) if matches!(kind, ColumnKind::Json | ColumnKind::Jsonb) => None,
        Value::Texts(texts) => texts.iter().find_map(|text| nul_in(text)),
        _ => None,
    }
}

/// The fault of a text with a NUL.
pub(super) fn nul_in(text: &str) -> Option<(&'static str, String)> {
    let place = text.find('\0')?;
    let message = format!("cannot hold a NUL, and its text has one at byte {place}");
    Some(("SQL_22021", message))
}

pub(super) fn field_type(value: &Value) -> Option<FieldType> {
    match value {
        Value::Null => None,
        Value::Boolean(_) => Some(FieldType::Boolean),
        Value::Integer(_) => Some(FieldType::Integer),
        Value::Real(_) => Some(FieldType::Real),
        Value::Text(_) => Some(FieldType::Text),
        Value::Binary(_) => Some(FieldType::Binary),
        Value::Timestamp(_) => Some(FieldType::Timestamp),
        Value::Json(_) => Some(FieldType::Json),
        Value::Texts(_) => Some(FieldType::Texts),
    }
}

/// The reason why a vector cannot be written to a column, as a code and a message.
pub(super) fn vector_fault(kind: ColumnKind, vector: &Vector) -> Option<(&'static str, String)> {
    let (ColumnKind::Vector(dimensions) | ColumnKind::HalfVec(dimensions)) = kind else {
        return None;
    };
    let wanted = dimensions.filter(|dimensions| *dimensions != vector.dimensions());
    if let Some(wanted) = wanted {
        let message = format!(
            "has {wanted} dimensions, but the embedding has {}",
            vector.dimensions()
        );
        return Some(("EMBEDDING_DIMENSIONS", message));
    }
    match (kind, vector) {
        (ColumnKind::HalfVec(_), Vector::F32(bytes)) => {
            let (elements, _) = bytes.as_chunks::<4>();
            let large = elements
                .iter()
                .any(|element| f32::from_le_bytes(*element).abs() >= 65_520.0);
            large.then(|| {
                (
                    "VALUE_RANGE",
                    "cannot hold an element beyond 65,504 in half precision".into(),
                )
            })
        }
        _ => None,
    }
}
