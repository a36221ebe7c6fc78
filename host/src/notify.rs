//! Notifies API servers that rows have changed.
//!
//! Pending notifications are in the outbox, written with the rows; each is delivered at least once.
//! A server that is unavailable does not fail the run: its notifications are sent again at the end
//! of the next run.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::printable::printable;
use crate::proto::{InvalidateCacheRequest, InvalidateCacheResponse};
use crate::source::{Peer, call};
use crate::store::outbox::Owed;
use crate::store::run::Run;
use crate::store::{Store, StoreError};
use crate::{config, failpoints};

/// Maximum time of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a call that is under way when the host is stopped.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Number of attempts at the end of one run; the waits between them double from half a second.
const ATTEMPTS: usize = 5;

/// Outcome of the notification of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// `none`: not configured; `nothing_changed`; `delivered`; `pending`: not delivered yet.
    pub status: NotifyStatus,
    /// Number of calls of this run so far.
    pub attempts: u32,
    /// Error of the last call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Outcome {
    /// The outcome if the notification is left to another host.
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
    /// There is nothing to notify of.
    NothingChanged,
    /// The server has confirmed it.
    Delivered,
    /// Not delivered yet.
    Pending,
}

/// Delivers the pending notifications of a pipeline, from this run and earlier ones. After `stop`, a
/// server that does not answer soon is left to the next run.
///
/// # Errors
/// If the outbox cannot be read or written.
pub async fn deliver(
    store: &Store,
    pipeline: &str,
    run: &Run,
    notify: Option<&config::Notify>,
    stop: &CancellationToken,
) -> Result<Outcome, StoreError> {
    let Some(notify) = notify else {
        return Ok(Outcome::default());
    };
    let peer = Peer {
        address: notify.grpc.clone(),
        key: "notify",
        auth: notify.auth.clone(),
    };
    let pending = store.release(run.pipeline).await?;
    let mut outcome = Outcome {
        status: NotifyStatus::NothingChanged,
        ..Outcome::default()
    };
    for pending in pending {
        failpoints::point!("notify.before");
        let (attempts, result) = invalidate_patiently(&peer, pipeline, &pending, stop).await;
        failpoints::point!("notify.called");
        store
            .attempted(&pending, result.as_ref().err().map(String::as_str))
            .await?;
        failpoints::point!("notify.noted");
        outcome.attempts += attempts;
        match result {
            Ok(message) => {
                tracing::info!(
                    target = pending.target,
                    changed_rows = pending.changed_rows,
                    answer = %message,
                    "notified"
                );
                if outcome.status != NotifyStatus::Pending {
                    outcome.status = NotifyStatus::Delivered;
                }
            }
            Err(error) => {
                tracing::warn!(target = pending.target, %error, "notification not delivered; the next run tries again");
                outcome.status = NotifyStatus::Pending;
                outcome.error = Some(error);
                if stop.is_cancelled() {
                    break;
                }
            }
        }
    }
    Ok(outcome)
}

/// Calls until the server has confirmed, or as often as one run does. Returns the number of calls and
/// the last answer.
async fn invalidate_patiently(
    peer: &Peer,
    pipeline: &str,
    pending: &Owed,
    stop: &CancellationToken,
) -> (u32, Result<String, String>) {
    let mut attempts = 0;
    let attempt = || {
        attempts += 1;
        invalidate(peer, pipeline, pending)
    };
    let policy = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_times(ATTEMPTS - 1)
        .with_jitter();
    let calls = attempt
        .retry(policy)
        .notify(|error, wait| tracing::warn!(target = pending.target, %error, ?wait, "notification failed; trying again"));
    let result = tokio::select! {
        result = calls => result,
        () = stopped(stop) => Err("the host was stopped before the server answered".to_owned()),
    };
    (attempts, result)
}

/// Waits until a server has had time to answer after a stop.
async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_ANSWER).await;
}

async fn invalidate(peer: &Peer, pipeline: &str, pending: &Owed) -> Result<String, String> {
    let request = InvalidateCacheRequest {
        target: pending.target.clone(),
        notification_id: pending.id.to_string(),
        pipeline: pipeline.to_owned(),
        changed_rows: pending.changed_rows.unsigned_abs(),
    };
    let path = "/forebay.v1.CacheService/InvalidateCache";
    let answer = call(peer, path, &request, CALL_TIMEOUT).await;
    let answer: InvalidateCacheResponse = answer.map_err(|failure| failure.to_string())?;
    let message = printable(&answer.message).into_owned();
    if answer.success {
        Ok(message)
    } else {
        Err(format!("the server refused: {message}"))
    }
}
