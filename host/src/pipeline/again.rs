//! Rows that are prepared once more, apart from the stream that they came in: for a repair, and
//! for dead letters that may succeed now.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::prepare::Pipeline;
use crate::chunk::{Prepared, Received};
use crate::error::PipelineError;
use crate::source::wire::Chunk;
use crate::workers::{WorkerGone, Workers};

impl Pipeline {
    /// Prepares encoded rows with today's schema, plugins and tables, as a chunk that leaves its
    /// partition at `position`.
    pub(super) async fn prepare_again(
        &self,
        workers: &Workers,
        rows: Vec<Bytes>,
        position: &str,
    ) -> Result<Prepared, PipelineError> {
        let gone = |_| PipelineError::Broken(WorkerGone.to_string());
        // The caller holds no more than these rows.
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await;
        let received = Received {
            bytes: rows.iter().map(Bytes::len).sum(),
            chunk: Chunk {
                rows,
                resume_token: position.to_owned(),
                sequence: 0,
            },
            permit: permit.map_err(|error| PipelineError::Broken(error.to_string()))?,
            chain: self.rollout.chain(),
        };
        let prepared = workers.prepare(received);
        let prepared = prepared.map_err(|gone| PipelineError::Broken(gone.to_string()))?;
        Ok(prepared.await.map_err(gone)??)
    }
}
