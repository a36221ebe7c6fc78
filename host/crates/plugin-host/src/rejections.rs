//! Rejections as a plugin gives them, for its tests. A failure of a row has the first code of its
//! rejections and all their messages in one. Here nothing is merged.
//!
//! Each question gets a fresh instance, under the limits of every call.

use super::answer::Question;
use super::bindings::types;
use super::call_error::CallError;
use super::component::Plugin;
use super::embeddings::{Access, Lent};
use super::engine::apart;
use crate::row::{Batch, Embeddings, Schema};

/// A reason why a row must not be written, cut to what the interface allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// For machines; `REJECTED` where the plugin gave none.
    pub code: String,
    /// For people.
    pub message: String,
    /// The column at fault, if it is one.
    pub field: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct NoAnswer {
    /// `PLUGIN_TRAP`, `PLUGIN_DEADLINE`, `PLUGIN_MEMORY`, `PLUGIN_ERROR` or `PLUGIN_OUTPUT`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl From<CallError> for NoAnswer {
    fn from(fault: CallError) -> Self {
        Self {
            code: fault.kind.code(),
            message: fault.message,
        }
    }
}

impl Plugin {
    /// Every rejection of these rows by `validate`, in order. What else is in the batch is not
    /// shown to the plugin.
    ///
    /// # Errors
    ///
    /// When the plugin fails on them.
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

    /// Indices of the columns it reads.
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
