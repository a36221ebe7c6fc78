//! Dimensions that a source does not say are those of the columns that take its embeddings.

use super::bind::Binder;
use super::{Binding, ColumnKind, Feed, Misfit};
use crate::row::Schema;

/// Learns the dimensions that are not known yet (0) from the columns that take the embeddings.
///
/// # Errors
/// If such a column does not say them either.
pub(super) fn learn_dimensions(binding: Binding<'_>) -> Result<Schema, Vec<Misfit>> {
    let mut schema = binding.schema.clone();
    let mut misfits = Vec::new();
    let binder = Binder {
        binding,
        schema: binding.schema.clone(),
        misfits: Vec::new(),
    };
    for table in binding.tables.iter().flatten() {
        for column in &table.columns {
            let (ColumnKind::Vector(declared) | ColumnKind::HalfVec(declared)) =
                ColumnKind::of(column)
            else {
                continue;
            };
            let Some(Feed::Embedding(index)) = binder.feed(table, &column.name) else {
                continue;
            };
            let embedding = schema.embeddings.get_mut(index);
            let Some(embedding) = embedding.filter(|it| it.dimensions == 0) else {
                continue;
            };
            match declared {
                Some(dimensions) => embedding.dimensions = dimensions,
                None => misfits.push(Misfit {
                    place: format!("{}.{}", table.name, column.name),
                    message: format!(
                        "says no dimensions, and those of `{}` are not known",
                        embedding.name
                    ),
                    hint: format!(
                        "write source.embeddings = {{ {} = 1536 }}, or make the column a vector(1536)",
                        embedding.name
                    ),
                }),
            }
        }
    }
    if misfits.is_empty() {
        Ok(schema)
    } else {
        Err(misfits)
    }
}
