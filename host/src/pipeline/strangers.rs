//! Pipelines that wait for an index and will not come back for it: renamed, or removed from the
//! configuration, after their host was killed.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::prepare::Pipeline;
use crate::error::PipelineError;
use crate::store::index::Work;

/// A run of another host moves within this time, or it is taken to be gone. If that is wrong, its
/// rows enter the index one by one: slower, but right.
const STILL: Duration = Duration::from_secs(10);
/// Interval of looking at it.
const POLL: Duration = Duration::from_millis(500);

impl Pipeline {
    /// The pipelines among those that wait for an index whose runs nobody continues: they are not
    /// in this host's configuration, and do not move.
    pub(super) async fn gone(
        &self,
        work: &Work,
        stop: &CancellationToken,
    ) -> Result<Vec<String>, PipelineError> {
        let (host, store) = (&self.host, &self.host.store);
        let is_configured = |name: &String| host.config.pipelines.iter().any(|it| it.name == *name);
        let strangers: Vec<String> = work
            .others
            .iter()
            .filter(|it| !is_configured(it))
            .cloned()
            .collect();
        if strangers.is_empty() {
            return Ok(strangers);
        }
        let begin = Instant::now();
        let whereabouts = || store.whereabouts(work, &strangers);
        let first = host.retrying(whereabouts).await?;
        let mut gone = first.clone();
        while gone.iter().any(|it| it.is_running) && begin.elapsed() < STILL && !stop.is_cancelled()
        {
            sleep(POLL).await;
            let now = host.retrying(whereabouts).await?;
            gone.retain(|it| now.contains(it));
        }
        let gone: Vec<String> = gone.into_iter().map(|it| it.pipeline).collect();
        if !gone.is_empty() {
            tracing::warn!(
                pipeline = self.config.name,
                index = work.quoted,
                "the unfinished run of {} is not waited for: the pipeline is not in this configuration, and its run does not move",
                gone.join(", ")
            );
        }
        Ok(gone)
    }
}
