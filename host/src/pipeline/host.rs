//! The parts that all pipelines of a host share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::PipelineError;
use crate::retry::Patience;
use crate::rollout::PluginWatcher;
use crate::store::Store;

/// The parts that all pipelines of a host share.
#[derive(Debug, Clone)]
pub struct Host {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// The database, connected and migrated.
    pub store: Store,
    /// The plugin directory.
    pub plugins: Arc<PluginWatcher>,
}

impl Host {
    /// Queries the source or the database, and tries again while it is away.
    pub(super) async fn retrying<T, E, R>(
        &self,
        mut attempt: impl FnMut() -> R,
    ) -> Result<T, PipelineError>
    where
        E: Into<PipelineError>,
        R: Future<Output = Result<T, E>>,
    {
        let mut patience = Patience::new(self.config.give_up_after);
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => patience.wait(error.into()).await?,
            }
        }
    }
}

/// Waits until `limit` has passed after a stop.
pub(super) async fn overdue(stop: &CancellationToken, limit: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(limit).await;
}

/// Does blocking work on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Nothing aborts it.
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
