//! A dataset as its source describes it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::config::Limits;
use crate::files::KeyKind;
use crate::message::{Encoding, Plan};
use crate::printable::printable;
use crate::proto;
use crate::row::{Column, EmbeddingColumn, FieldType, MAX_DIMENSIONS, Schema};

/// How the rows of a dataset are encoded.
#[derive(Debug, Clone, Default)]
pub enum Format {
    /// `forebay.v1.Row`.
    #[default]
    Row,
    /// The columns or lines of files.
    File(Arc<FileFormat>),
    /// Messages of a proto of its own.
    Messages(Arc<Plan>),
}

impl Format {
    /// What a dead letter says of the encoding of a row of this kind; `None` if it is kept as a
    /// `forebay.v1.Row`.
    #[must_use]
    pub fn encoding(&self, kind: usize) -> Option<&Arc<Encoding>> {
        match self {
            Self::Row | Self::File(_) => None,
            Self::Messages(plan) => plan.kinds.get(kind).map(|kind| &kind.encoding),
        }
    }

    /// What dead letters say of the encoding of any row.
    pub fn encodings(&self) -> impl Iterator<Item = &Encoding> {
        let kinds: &[crate::message::Kind] = match self {
            Self::Row | Self::File(_) => &[],
            Self::Messages(plan) => &plan.kinds,
        };
        kinds.iter().map(|kind| &*kind.encoding)
    }
}

/// What is known of the rows of files.
#[derive(Debug, Default)]
pub struct FileFormat {
    /// Fields and embeddings.
    pub schema: Schema,
    /// Name of the column that is the key.
    pub key: String,
    /// What its values are.
    pub key_kind: KeyKind,
}

/// A kind of rows among several.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Stands with a dot before the names of its columns and embeddings.
    pub name: String,
    /// The tables that take its rows.
    pub tables: Vec<String>,
    /// Its columns in the schema.
    pub columns: Range<usize>,
    /// Its embeddings in the schema.
    pub embeddings: Range<usize>,
}

/// A dataset, as its source describes it.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// Its fields and embeddings.
    pub schema: Schema,
    /// The kinds of its rows, if it has several that go to tables of their own.
    pub kinds: Vec<Kind>,
    /// The encoding of its rows.
    pub format: Format,
    /// At least one; the empty string if the dataset has no partitions.
    pub partitions: Vec<String>,
    /// Rows in all partitions, if known.
    pub row_count: Option<u64>,
    /// True if a new run continues where the last one ended, instead of reading everything again.
    pub continues: bool,
}

/// What is wrong with a description, and what to do about it.
#[derive(Debug)]
pub(super) struct Fault {
    pub message: String,
    pub hint: Option<String>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self {
            message,
            hint: None,
        }
    }
}

/// Checks a description against itself and `limits`.
pub(super) fn describe(dataset: proto::Dataset, limits: &Limits) -> Result<Dataset, Fault> {
    let declared = dataset.fields.len() + dataset.embeddings.len();
    at_most(limits.fields, declared, "fields and embeddings", "fields")?;
    at_most(
        limits.partitions,
        dataset.partitions.len(),
        "partitions",
        "partitions",
    )?;
    let schema = schema(dataset.fields, dataset.embeddings)?;
    let continues = dataset.delivery == i32::from(proto::Delivery::Changes);
    let mut partitions = dataset.partitions;
    let mut names = HashSet::new();
    for name in &partitions {
        let shown = printable(name);
        if !names.insert(name) {
            let message = format!("the partition `{shown}` is listed twice");
            let hint = Some("the server has to list each of its partitions once".into());
            return Err(Fault { message, hint });
        }
        if name.contains('\0') {
            return Err(format!("the name of the partition `{shown}` has a NUL").into());
        }
    }
    if partitions.is_empty() {
        partitions.push(String::new());
    }
    Ok(Dataset {
        schema,
        kinds: Vec::new(),
        format: Format::Row,
        partitions,
        row_count: dataset.row_count,
        continues,
    })
}

fn at_most(most: usize, declared: usize, what: &str, key: &str) -> Result<(), Fault> {
    if declared <= most {
        return Ok(());
    }
    Err(Fault {
        message: format!("declares {declared} {what}; `limits.{key}` allows {most}"),
        hint: Some(format!(
            "raise `limits.{key}` if the dataset is right; memory grows with it"
        )),
    })
}

fn schema(fields: Vec<proto::Field>, embeddings: Vec<proto::Embedding>) -> Result<Schema, Fault> {
    let mut names = HashSet::new();
    let mut unique = |name: &str| match names.insert(name.to_owned()) {
        true if !name.is_empty() => Ok(()),
        _ => Err(format!(
            "the name `{}` is empty or used twice",
            printable(name)
        )),
    };
    let mut schema = Schema::default();
    for field in fields {
        unique(&field.name)?;
        let field_type = match field.r#type() {
            proto::FieldType::Unspecified => {
                let name = printable(&field.name);
                return Err(format!("field `{name}` has an unknown type").into());
            }
            proto::FieldType::Boolean => FieldType::Boolean,
            proto::FieldType::Integer => FieldType::Integer,
            proto::FieldType::Real => FieldType::Real,
            proto::FieldType::Text => FieldType::Text,
            proto::FieldType::Binary => FieldType::Binary,
            proto::FieldType::Timestamp => FieldType::Timestamp,
            proto::FieldType::Texts => FieldType::Texts,
            proto::FieldType::Json => FieldType::Json,
        };
        schema.columns.push(Column {
            name: field.name,
            field_type: Some(field_type),
        });
    }
    for embedding in embeddings {
        unique(&embedding.name)?;
        let dimensions = embedding.dimensions as usize;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            let name = printable(&embedding.name);
            return Err(format!(
                "embedding `{name}` has {dimensions} dimensions; 1 to {MAX_DIMENSIONS} are allowed"
            )
            .into());
        }
        schema.embeddings.push(EmbeddingColumn {
            name: embedding.name,
            dimensions,
        });
    }
    Ok(schema)
}
