//! The tables as a whole: their order, and a hash of how rows are written to them.

use xxhash_rust::xxh3::xxh3_64;

use super::{Feed, Target};
use crate::row::Schema;

/// Puts referenced tables before those that reference them; otherwise keeps the order.
pub(super) fn in_reference_order(mut rest: Vec<Target>) -> Vec<Target> {
    let mut ordered: Vec<Target> = Vec::new();
    while !rest.is_empty() {
        let waiting: Vec<String> = rest
            .iter()
            .map(|target| target.table.name.clone())
            .collect();
        let next = rest
            .iter()
            .position(|target| {
                let mut references = target.table.foreign_keys.iter();
                !references.any(|reference| waiting.contains(&reference.table))
            })
            // References can form a circle only if constraints are deferred: any order works.
            .unwrap_or(0);
        ordered.push(rest.remove(next));
    }
    ordered
}

/// A hash that changes whenever the same row would be written differently.
pub(super) fn layout(tables: &[Target], schema: &Schema) -> u64 {
    let field = |index: usize| schema.columns.get(index).map(|column| &column.name);
    let mut text = String::new();
    for target in tables {
        text.push_str(&target.table.quoted);
        for column in target.fed() {
            let feed = match column.feed {
                // Digests are kept by the row's key.
                Feed::Key => continue,
                Feed::Field(index) => field(index),
                Feed::Embedding(index) => schema
                    .embeddings
                    .get(index)
                    .map(|embedding| &embedding.name),
            };
            let (name, type_sql) = (&column.column.name, &column.column.type_sql);
            text.push_str(&format!("\0{name}\0{type_sql}\0{feed:?}"));
        }
        if let Some(items) = &target.items {
            text.push_str(&format!("\0{:?}", field(items.list)));
            for item in &items.columns {
                let (name, type_sql) = (&item.column.name, &item.column.type_sql);
                text.push_str(&format!("\0{name}\0{type_sql}\0{:?}", item.feed));
            }
        }
    }
    xxh3_64(text.as_bytes())
}
