//! Rejections as a plugin returns them, for its tests. A [`Failure`](crate::row::Failure) has the
//! first code of a row's rejections and joins their messages; here nothing is merged.
//!
//! Each call gets a new instance, under the usual limits.

use super::answer::Question;
use super::bindings::types;
use super::component::Plugin;
use super::embeddings::{Access, Lent};
use super::engine::apart;
use super::outcome::NoAnswer;
use crate::row::{Batch, Embeddings, Schema};

/// A reason why a row must not be written, cut to the lengths that the interface allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Code for machines; `REJECTED` if the plugin gave none.
    pub code: String,
    /// Message for people.
    pub message: String,
    /// The invalid column, if it is only one.
    pub field: Option<String>,
}

impl Plugin {
    /// Returns all rejections of these rows by `validate`, in order. The plugin does not see the
    /// other rows of the batch.
    ///
    /// # Errors
    /// If the plugin fails on these rows.
    pub fn rejections(
        &self,
        settings: &[(String, String)],
        batch: &mut Batch,
        rows: &[u32],
    ) -> Result<Vec<Vec<Rejection>>, NoAnswer> {
        let embeddings = std::mem::take(&mut batch.embeddings);
        let mut lent = Some(Lent::new(&batch.schema, embeddings, rows, Access::Read));
        let columns = self.columns(&batch.schema);
        let answer = apart(|| {
            let mut instance = self.open(settings)?;
            let columns = &columns;
            let question = Question {
                batch,
                rows,
                columns,
            };
            instance.validate(&mut lent, question)
        });
        batch.embeddings = lent.map_or_else(Embeddings::default, Lent::undone);
        let mut rejections = vec![Vec::new(); rows.len()];
        for (row, fault) in answer? {
            if let Some(its) = rejections.get_mut(row as usize) {
                its.push(rejection(fault));
            }
        }
        Ok(rejections)
    }

    /// Indices of the columns that the plugin reads.
    pub(super) fn columns(&self, schema: &Schema) -> Vec<usize> {
        match self.reads() {
            Some(reads) => reads
                .iter()
                .filter_map(|name| schema.column(name))
                .collect(),
            None => (0..schema.columns.len()).collect(),
        }
    }
}

fn rejection(rejection: types::Rejection) -> Rejection {
    Rejection {
        code: rejection.code,
        message: rejection.message,
        field: rejection.field,
    }
}
