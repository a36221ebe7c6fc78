//! The embeddings of a batch, lent to an instance for one call.
//!
//! They belong to the instance's store while the call runs. When the call fails, its changes are
//! undone.

use std::sync::Arc;

use wasmtime::{Result, bail, format_err};

use super::sanitize::shortened;
use crate::row::{Embeddings, Schema, Vector};

/// Access of a call to the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// For `validate`.
    Read,
    /// For `transform`.
    Write,
}

/// Embeddings lent to an instance for one call.
pub(super) struct Lent {
    schema: Arc<Schema>,
    pub(super) embeddings: Embeddings,
    /// Index in the embeddings of each row of the call.
    rows: Vec<u32>,
    access: Access,
    /// All vectors before the first change. Clones share their buffers.
    before: Option<Vec<Option<Vector>>>,
}

impl Lent {
    /// Lends the embeddings of these rows of a batch.
    pub(super) fn new(
        schema: &Arc<Schema>,
        embeddings: Embeddings,
        rows: &[u32],
        access: Access,
    ) -> Self {
        Self {
            schema: Arc::clone(schema),
            embeddings,
            rows: rows.to_vec(),
            access,
            before: None,
        }
    }

    /// Returns the embeddings with the changes of the call.
    pub(super) fn kept(self) -> Embeddings {
        self.embeddings
    }

    /// Returns the embeddings as they were before the call.
    pub(super) fn undone(mut self) -> Embeddings {
        if let Some(before) = self.before.take() {
            self.embeddings.vectors = before;
        }
        self.embeddings
    }

    /// The index of an embedding.
    pub(super) fn embedding(&self, name: &str) -> Result<usize> {
        self.schema.embedding(name).ok_or_else(|| {
            let known: Vec<_> = self
                .schema
                .embeddings
                .iter()
                .map(|e| e.name.as_str())
                .collect();
            let name = shortened(name, 80);
            format_err!("no embedding is named {name:?}; there are {known:?}")
        })
    }

    /// The index in the embeddings of a row of the call.
    pub(super) fn row(&self, row: u32) -> Result<usize> {
        match self.rows.get(row as usize) {
            Some(row) => Ok(*row as usize),
            None => bail!(
                "row {row} does not exist: the batch has {} rows",
                self.rows.len()
            ),
        }
    }

    /// The vector of a row, if it has one.
    pub(super) fn vector(&self, row: u32, name: &str) -> Result<Option<&Vector>> {
        Ok(self.embeddings.get(self.row(row)?, self.embedding(name)?))
    }

    /// The vectors of one embedding, in the order of the call's rows.
    pub(super) fn column(&self, name: &str) -> Result<impl Iterator<Item = Option<&Vector>>> {
        let embedding = self.embedding(name)?;
        Ok(self
            .rows
            .iter()
            .map(move |row| self.embeddings.get(*row as usize, embedding)))
    }

    /// Checks that the call may change embeddings, and saves them before the first change.
    pub(super) fn begin_change(&mut self) -> Result<()> {
        if self.access == Access::Read {
            bail!("embeddings can only be changed in transform");
        }
        if self.before.is_none() {
            self.before = Some(self.embeddings.vectors.clone());
        }
        Ok(())
    }

    /// Replaces those vectors of one embedding for which `change` returns another.
    pub(super) fn change(
        &mut self,
        name: &str,
        change: impl Fn(&Vector) -> Option<Vector>,
    ) -> Result<()> {
        let embedding = self.embedding(name)?;
        self.begin_change()?;
        for row in &self.rows {
            if let Some(Some(vector)) = self.embeddings.slot(*row as usize, embedding)
                && let Some(changed) = change(vector)
            {
                *vector = changed;
            }
        }
        Ok(())
    }
}
