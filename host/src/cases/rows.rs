//! Builds batches from the rows of cases, as the decoder does.

use std::borrow::Borrow;
use std::sync::Arc;

use super::suite::{CaseFailure, CaseRow};
use crate::row::{Batch, Embeddings, Failure, Schema, Value};

/// Builds a batch in which all rows are live.
pub(super) fn batch(schema: &Arc<Schema>, rows: &[&CaseRow]) -> Batch {
    let width = schema.embeddings.len();
    let mut batch = blank(schema, rows.len());
    batch.embeddings = Embeddings {
        width,
        vectors: vec![None; rows.len() * width],
    };
    for (index, row) in (0_u32..).zip(rows) {
        batch.keys.push(row.key.clone());
        fill(&mut batch, index, &row.fields);
        for (name, vector) in &row.embeddings {
            let slot = schema.embedding(name);
            let slot = slot.and_then(|at| batch.embeddings.slot(index as usize, at));
            if let Some(slot) = slot {
                *slot = Some(vector.clone());
            }
        }
        batch.live.push(index);
    }
    batch
}

/// Builds a batch of failed rows, none of which is live, and their failures.
pub(super) fn failures(
    schema: &Arc<Schema>,
    rows: &[impl Borrow<CaseFailure>],
) -> (Batch, Vec<Failure>) {
    let mut batch = blank(schema, rows.len());
    let mut failures = Vec::with_capacity(rows.len());
    for (index, row) in (0_u32..).zip(rows.iter().map(Borrow::borrow)) {
        batch.keys.push(row.key.clone());
        fill(&mut batch, index, &row.fields);
        failures.push(Failure {
            row: index,
            stage: row.stage,
            code: row.code.clone(),
            message: row.message.clone(),
            field: None,
            plugin: None,
            attempt: row.attempt,
        });
    }
    (batch, failures)
}

fn blank(schema: &Arc<Schema>, rows: usize) -> Batch {
    Batch {
        schema: Arc::clone(schema),
        values: vec![Value::Null; rows * schema.columns.len()],
        ..Batch::default()
    }
}

fn fill(batch: &mut Batch, row: u32, fields: &[(String, Value)]) {
    for (name, value) in fields {
        let column = batch.schema.column(name);
        let slot = column.and_then(|column| batch.row_mut(row).get_mut(column));
        if let Some(slot) = slot {
            slot.clone_from(value);
        }
    }
}
