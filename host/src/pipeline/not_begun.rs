//! A run that could not be begun: recorded and reported like one that failed on its way.

use std::time::Duration;

use super::host::Host;
use crate::error::PipelineError;
use crate::report::Report;

/// Maximum time for the record: the database may be what is away.
const PATIENCE: Duration = Duration::from_secs(2);

impl Host {
    /// Records that a run of a pipeline could not be begun, and reports it. Without the database,
    /// the report has no id.
    pub async fn not_begun(&self, pipeline: &str, error: &PipelineError) -> Report {
        let status = error.status(false);
        let message = error.to_string();
        let noted = self.store.note_not_begun(pipeline, status, &message);
        let run_id = match tokio::time::timeout(PATIENCE, noted).await {
            Ok(Ok(id)) => id.to_string(),
            Ok(Err(error)) => {
                tracing::warn!(pipeline, %error, "cannot record that the run could not be begun");
                String::new()
            }
            Err(_) => {
                tracing::warn!(
                    pipeline,
                    "cannot record that the run could not be begun: the database does not respond"
                );
                String::new()
            }
        };
        Report {
            pipeline: pipeline.to_owned(),
            run_id,
            status,
            message: Some(message),
            ..Report::default()
        }
    }
}
