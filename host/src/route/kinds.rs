//! A dataset with several kinds of rows, each with tables of its own.
//!
//! Each kind is matched by itself, with its own fields and tables. Then its columns are given their
//! places in the one schema that all kinds share, so that a chunk of any kind is a batch like any
//! other. A chunk has rows of one kind, and [`Targets::of`] says what is to be done with it. Rows are
//! found by columns that fields feed: a row's key, which is unique among all kinds, feeds none.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::bind::bind;
use super::dimensions::learn_dimensions;
use super::layout::in_reference_order;
use super::{Binding, Feed, Misfit, Table, Target, Targets};
use crate::config::KeyChoice;
use crate::decode::{KeyType, Need, Needs};
use crate::route::absent::Missing;
use crate::row::{Column, Schema};
use crate::source::RowKind;

/// Matches a dataset, which may have several kinds of rows, with tables. Returns also its schema,
/// with dimensions that only the tables say.
///
/// # Errors
/// Fails if anything does not fit; the error lists all misfits.
pub fn bind_kinds(
    binding: Binding<'_>,
    kinds: &[RowKind],
) -> Result<(Targets, Schema), Vec<Misfit>> {
    if kinds.is_empty() {
        let schema = learn_dimensions(binding)?;
        let targets = bind(Binding {
            schema: &schema,
            ..binding
        })?;
        return Ok((targets, schema));
    }
    let (mut bound, mut misfits) = (Vec::new(), Vec::new());
    for kind in kinds {
        match bind_kind(binding, kind) {
            Ok(targets) => bound.push((kind, targets)),
            Err(found) => misfits.extend(found),
        }
    }
    if misfits.is_empty() {
        Ok(merged(binding.schema, bound))
    } else {
        Err(misfits)
    }
}

/// Matches one kind with its tables, by its own schema.
fn bind_kind(binding: Binding<'_>, kind: &RowKind) -> Result<(Targets, Schema), Vec<Misfit>> {
    let prefix = format!("{}.", kind.name);
    let bare = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_owned();
    let mut schema = Schema::default();
    let columns = binding.schema.columns.get(kind.columns.clone());
    schema
        .columns
        .extend_from_slice(columns.unwrap_or_default());
    schema
        .columns
        .iter_mut()
        .for_each(|it| it.name = bare(&it.name));
    let embeddings = binding.schema.embeddings.get(kind.embeddings.clone());
    schema
        .embeddings
        .extend_from_slice(embeddings.unwrap_or_default());
    schema
        .embeddings
        .iter_mut()
        .for_each(|it| it.name = bare(&it.name));
    let chosen = binding.names.iter().zip(binding.tables);
    let chosen = chosen.filter(|(name, _)| kind.tables.contains(name));
    let (names, tables): (Vec<String>, Vec<Option<Table>>) = chosen
        .map(|(name, table)| (name.clone(), table.clone()))
        .unzip();
    let rename: BTreeMap<String, String> = binding
        .rename
        .iter()
        .filter_map(|(from, to)| Some((from.strip_prefix(&prefix)?.to_owned(), to.clone())))
        .collect();
    let has = |column: &String| {
        tables
            .iter()
            .flatten()
            .any(|it| it.column(column).is_some())
    };
    let key = match binding.key {
        KeyChoice::Column(column) if !has(column) => &KeyChoice::Found,
        key => key,
    };
    let own = Binding {
        schema: &schema,
        names: &names,
        tables: &tables,
        rename: &rename,
        key,
        key_is_apart: true,
        ..binding
    };
    let learned = learn_dimensions(own)?;
    let targets = bind(Binding {
        schema: &learned,
        ..own
    })?;
    Ok((targets, learned))
}

/// The places of a kind's columns and embeddings in the schema of all.
struct Places {
    columns: Vec<usize>,
    first_embedding: usize,
}

impl Places {
    fn column(&self, index: usize) -> usize {
        self.columns.get(index).copied().unwrap_or(index)
    }

    fn feed(&self, feed: Feed) -> Feed {
        match feed {
            Feed::Key => Feed::Key,
            Feed::Field(index) => Feed::Field(self.column(index)),
            Feed::Embedding(index) => Feed::Embedding(self.first_embedding + index),
        }
    }

    fn target(&self, mut target: Target) -> Target {
        for column in target.key.iter_mut().chain(&mut target.columns) {
            column.feed = self.feed(column.feed);
        }
        if let Some(items) = &mut target.items {
            items.list = self.column(items.list);
        }
        target
    }

    /// What a row of the kind needs: nothing of what only other kinds have.
    fn needs(&self, needs: &Needs, embeddings: usize) -> Needs {
        let mut all = vec![Need::Unused; embeddings];
        for (slot, need) in all
            .iter_mut()
            .skip(self.first_embedding)
            .zip(&needs.embeddings)
        {
            *slot = *need;
        }
        let mut defaulted: Vec<usize> = needs.defaulted.iter().map(|it| self.column(*it)).collect();
        defaulted.sort_unstable();
        Needs {
            embeddings: all,
            defaulted,
        }
    }
}

/// The schema with the dimensions that its kinds have learned.
fn with_dimensions(schema: &Schema, bound: &[(&RowKind, (Targets, Schema))]) -> Schema {
    let mut schema = schema.clone();
    for (kind, (_, own)) in bound {
        let slots = schema.embeddings.iter_mut().skip(kind.embeddings.start);
        for (slot, own) in slots.zip(&own.embeddings) {
            slot.dimensions = own.dimensions;
        }
    }
    schema
}

fn merged(schema: &Schema, bound: Vec<(&RowKind, (Targets, Schema))>) -> (Targets, Schema) {
    let dataset = with_dimensions(schema, &bound);
    // The columns that only plugins can fill come after those of the dataset.
    let mut all = dataset.clone();
    let mut places = Vec::new();
    for (kind, (targets, _)) in &bound {
        let extra = targets.schema.columns.iter().skip(kind.columns.len());
        let first = all.columns.len();
        all.columns.extend(extra.map(|column| Column {
            name: format!("{}.{}", kind.name, column.name),
            field_type: column.field_type,
        }));
        places.push(Places {
            columns: kind
                .columns
                .clone()
                .chain(first..all.columns.len())
                .collect(),
            first_embedding: kind.embeddings.start,
        });
    }
    let all = Arc::new(all);
    let (mut tables, mut own, mut layouts) = (Vec::new(), Vec::new(), Vec::new());
    for ((_, (targets, _)), places) in bound.into_iter().zip(&places) {
        let of_kind = Targets {
            needs: places.needs(&targets.needs, all.embeddings.len()),
            tables: targets
                .tables
                .into_iter()
                .map(|it| places.target(it))
                .collect(),
            schema: Arc::clone(&all),
            key_type: KeyType::Text,
            missing: Missing::default(),
            layout: targets.layout,
            kinds: Vec::new(),
        };
        layouts.extend(of_kind.layout.to_le_bytes());
        tables.extend(of_kind.tables.iter().cloned());
        own.push(Arc::new(of_kind));
    }
    let targets = Targets {
        tables: in_reference_order(tables),
        needs: Needs {
            embeddings: vec![Need::Unused; all.embeddings.len()],
            defaulted: Vec::new(),
        },
        schema: all,
        key_type: KeyType::Text,
        missing: Missing::default(),
        layout: xxh3_64(&layouts),
        kinds: own,
    };
    (targets, dataset)
}

impl Targets {
    /// What a chunk with rows of this kind concerns.
    #[must_use]
    pub fn of(&self, kind: usize) -> &Self {
        self.kinds.get(kind).map_or(self, |targets| targets)
    }

    /// [`Self::of`] each kind, in their order.
    pub fn all_kinds(&self) -> impl Iterator<Item = &Self> {
        let alone = self.kinds.is_empty().then_some(self);
        self.kinds.iter().map(|targets| &**targets).chain(alone)
    }
}
