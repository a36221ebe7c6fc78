//! The tables as a whole: their order, and what tells one way to write a row from another.

use xxhash_rust::xxh3::xxh3_64;

use super::{Feed, Target};
use crate::row::Schema;

/// Referenced tables before those that refer to them; otherwise as configured.
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
            // A circle of references can only be deferred constraints: any order will do.
            .unwrap_or(0);
        ordered.push(rest.remove(next));
    }
    ordered
}

/// Changes whenever the same row would be written differently.
pub(super) fn layout(tables: &[Target], schema: &Schema) -> u64 {
    let field = |index: usize| schema.columns.get(index).map(|column| &column.name);
    let mut text = String::new();
    for target in tables {
        text.push_str(&target.table.quoted);
        for column in target.fed() {
            let feed = match column.feed {
                // The digest is kept by it.
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
