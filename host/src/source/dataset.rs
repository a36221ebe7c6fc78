//! A dataset as its server describes it.

use std::collections::HashSet;

use crate::proto;
use crate::row::{Column, EmbeddingColumn, FieldType, MAX_DIMENSIONS, Schema};

/// A dataset, as its server describes it.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its fields and embeddings.
    pub schema: Schema,
    /// At least one; the empty string if the dataset has no partitions.
    pub partitions: Vec<String>,
    /// Rows in all partitions, if known.
    pub row_count: Option<u64>,
    /// True if a new run continues where the last one ended, instead of reading everything again.
    pub continues: bool,
}

/// Checks a description; the error says what is wrong with it.
pub(super) fn describe(dataset: proto::Dataset) -> Result<Dataset, String> {
    let mut names = HashSet::new();
    let mut unique = |name: &str| match names.insert(name.to_owned()) {
        true if !name.is_empty() => Ok(()),
        _ => Err(format!("the name `{name}` is empty or used twice")),
    };
    let mut schema = Schema::default();
    for field in dataset.fields {
        unique(&field.name)?;
        let field_type = match field.r#type() {
            proto::FieldType::Unspecified => {
                return Err(format!("field `{}` has an unknown type", field.name));
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
    for embedding in dataset.embeddings {
        unique(&embedding.name)?;
        let dimensions = embedding.dimensions as usize;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(format!(
                "embedding `{}` has {dimensions} dimensions; 1 to {MAX_DIMENSIONS} are allowed",
                embedding.name
            ));
        }
        schema.embeddings.push(EmbeddingColumn {
            name: embedding.name,
            dimensions,
        });
    }
    let continues = dataset.delivery == i32::from(proto::Delivery::Changes);
    let mut partitions = dataset.partitions;
    if partitions.is_empty() {
        partitions.push(String::new());
    }
    Ok(Dataset {
        schema,
        partitions,
        row_count: dataset.row_count,
        continues,
    })
}
