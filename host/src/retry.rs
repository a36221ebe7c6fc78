//! Retries with growing waits, until there has been no progress for too long.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Maximum wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// An error that tells whether a retry may succeed.
pub trait Retry: std::error::Error + Sized + 'static + From<GaveUp<Self>> {
    /// True if the other side is unavailable and nothing is lost by trying again.
    fn is_transient(&self) -> bool;
}

/// There was no progress for too long.
#[derive(Debug, thiserror::Error)]
#[error("gave up after {}: {last}", humantime::format_duration(*.after))]
pub struct GaveUp<E: std::error::Error + 'static> {
    /// The configured time without progress.
    pub after: Duration,
    /// Error of the last attempt.
    #[source]
    pub last: Box<E>,
}

/// The waits between attempts: from 200 ms, doubling up to 15 s, with jitter.
#[derive(Debug)]
pub struct Patience {
    give_up_after: Duration,
    since: Option<Instant>,
    waits: ExponentialBackoff,
}

fn waits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(MAX_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Patience {
    /// Gives up after this much time without progress.
    #[must_use]
    pub fn new(give_up_after: Duration) -> Self {
        Self {
            give_up_after,
            since: None,
            waits: waits(),
        }
    }

    /// Records progress: the next wait is short again.
    pub fn progress(&mut self) {
        if self.since.take().is_some() {
            self.waits = waits();
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The given error at once if it is permanent; [`GaveUp`] if there was no progress for too long.
    pub async fn wait<E: Retry>(&mut self, error: E) -> Result<(), E> {
        if !error.is_transient() {
            return Err(error);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let wait = self.waits.next().unwrap_or(MAX_WAIT);
        if since.elapsed() + wait > self.give_up_after {
            return Err(GaveUp {
                after: self.give_up_after,
                last: Box::new(error),
            }
            .into());
        }
        tracing::warn!(%error, wait = %humantime::format_duration(Duration::from_millis(wait.as_millis() as u64)), "trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("away")]
        Away,
        #[error("bug")]
        Bug,
        #[error(transparent)]
        GaveUp(#[from] GaveUp<Failure>),
    }

    impl Retry for Failure {
        fn is_transient(&self) -> bool {
            matches!(self, Self::Away)
        }
    }

    #[test]
    fn waits_double_up_to_a_limit_and_are_short_again_after_progress() {
        let mut patience = Patience::new(Duration::from_secs(300));
        let mut least = Duration::from_millis(200);
        for attempt in 0..20 {
            let wait = patience.waits.next().unwrap_or_default();
            assert!(
                wait >= least && wait <= 2 * least,
                "attempt {attempt}: {wait:?}"
            );
            least = (2 * least).min(Duration::from_secs(15));
        }
        patience.since = Some(Instant::now());
        patience.progress();
        assert!(patience.since.is_none());
        assert!(
            patience
                .waits
                .next()
                .is_some_and(|wait| wait <= Duration::from_millis(400))
        );
    }

    #[tokio::test]
    async fn it_gives_up_in_time_and_at_once_if_waiting_is_useless() {
        let mut patience = Patience::new(Duration::from_millis(100));
        let error = patience.wait(Failure::Away).await.err();
        insta::assert_snapshot!(error.map(|error| error.to_string()).unwrap_or_default(), @"gave up after 100ms: away");
        let error = patience.wait(Failure::Bug).await.err();
        assert!(matches!(error, Some(Failure::Bug)), "{error:?}");
    }
}
