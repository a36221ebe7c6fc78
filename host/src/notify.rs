//! Tells API servers that rows have changed.
//!
//! What is owed stands in the outbox, written with the rows; it is delivered at least once. A
//! server that is away costs the run nothing: what it is owed is tried again at the end of the
//! next one.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use serde::Serialize;

use crate::proto::InvalidateCacheRequest;
use crate::proto::cache_service_client::CacheServiceClient;
use crate::source::{connect, error_chain};
use crate::store::outbox::Owed;
use crate::store::run::Run;
use crate::store::{Store, StoreError};
use crate::{config, failpoints};

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts at the end of one run; the waits between them double from half a second.
const ATTEMPTS: usize = 5;

/// What became of the notification of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// `none`: not configured; `nothing_changed`; `delivered`; `pending`: owed still.
    pub status: NotifyStatus,
    /// Calls made, by this run so far.
    pub attempts: u32,
    /// Why the last call failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Outcome {
    /// Left to another host.
    #[must_use]
    pub fn pending() -> Self {
        Self {
            status: NotifyStatus::Pending,
            ..Self::default()
        }
    }
}

/// See [`Outcome::status`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyStatus {
    /// Not configured.
    #[default]
    None,
    /// Nothing is owed.
    NothingChanged,
    /// The server has answered.
    Delivered,
    /// Owed still.
    Pending,
}

/// Delivers what a pipeline owes, of this run and of earlier ones.
///
/// # Errors
/// If the outbox cannot be read or written.
pub async fn deliver(
    store: &Store,
    pipeline: &str,
    run: &Run,
    notify: Option<&config::Notify>,
) -> Result<Outcome, StoreError> {
    let Some(notify) = notify else {
        return Ok(Outcome::default());
    };
    let owed = store.owed(run.pipeline).await?;
    let mut outcome = Outcome {
        status: NotifyStatus::NothingChanged,
        ..Outcome::default()
    };
    for owed in owed {
        failpoints::point!("notify.before");
        let mut attempts = 0;
        let call = || {
            attempts += 1;
            invalidate(&notify.grpc, pipeline, &owed)
        };
        let policy = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_times(ATTEMPTS - 1)
            .with_jitter();
        let result = call
            .retry(policy)
            .notify(|error, wait| tracing::warn!(target = owed.target, %error, ?wait, "notification failed, trying again"))
            .await;
        failpoints::point!("notify.called");
        store
            .attempted(&owed, result.as_ref().err().map(String::as_str))
            .await?;
        failpoints::point!("notify.noted");
        outcome.attempts += attempts;
        match result {
            Ok(message) => {
                tracing::info!(
                    target = owed.target,
                    changed_rows = owed.changed_rows,
                    answer = message,
                    "notified"
                );
                if outcome.status != NotifyStatus::Pending {
                    outcome.status = NotifyStatus::Delivered;
                }
            }
            Err(error) => {
                tracing::warn!(target = owed.target, %error, "notification stays owed; the next run tries again");
                outcome.status = NotifyStatus::Pending;
                outcome.error = Some(error);
            }
        }
    }
    Ok(outcome)
}

async fn invalidate(address: &str, pipeline: &str, owed: &Owed) -> Result<String, String> {
    let channel = connect(address).map_err(|error| error_chain(&error))?;
    let mut request = tonic::Request::new(InvalidateCacheRequest {
        target: owed.target.clone(),
        notification_id: owed.id.to_string(),
        pipeline: pipeline.to_owned(),
        changed_rows: owed.changed_rows.unsigned_abs(),
    });
    request.set_timeout(CALL_TIMEOUT);
    let answer = CacheServiceClient::new(channel)
        .invalidate_cache(request)
        .await;
    let answer = answer
        .map_err(|status| format!("{}: {}", status.code().description(), status.message()))?
        .into_inner();
    if answer.success {
        Ok(answer.message)
    } else {
        Err(format!("the server refused: {}", answer.message))
    }
}
