//! What the tables need of a row, beside its key.

use super::target::{Feed, Target};
use crate::decode::{Need, Needs};
use crate::row::Schema;

pub(super) fn needs(tables: &[Target], schema: &Schema) -> Needs {
    let embeddings = (0..schema.embeddings.len()).map(|index| {
        let fed = tables.iter().flat_map(Target::fed);
        let fed = fed.filter(|column| column.feed == Feed::Embedding(index));
        let required: Vec<bool> = fed.map(|column| column.column.required).collect();
        match (required.is_empty(), required.contains(&true)) {
            (true, _) => Need::Unused,
            (false, true) => Need::Required,
            (false, false) => Need::Optional,
        }
    });
    let columns = tables.iter().flat_map(|target| &target.columns);
    let mut defaulted: Vec<usize> = columns
        .filter_map(|column| column.omitted().map(|(field, _)| field))
        .collect();
    defaulted.sort_unstable();
    defaulted.dedup();
    Needs {
        embeddings: embeddings.collect(),
        defaulted,
    }
}
