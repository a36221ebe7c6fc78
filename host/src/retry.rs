//! Trying again, with waits that grow, until there has been no progress for too long.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::pipeline::PipelineError;

/// Whether the same may succeed later.
pub trait Retry {
    /// True if whoever failed is away, and nothing is lost by asking again.
    fn is_transient(&self) -> bool;
}

/// Waits between attempts: from 200 ms, doubling up to 15 s, with jitter.
#[derive(Debug)]
pub struct Patience {
    give_up_after: Duration,
    since: Option<Instant>,
    waits: ExponentialBackoff,
}

fn waits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(15))
        .with_jitter()
        .without_max_times()
        .build()
}

impl Patience {
    /// Gives up when that much time has passed without progress.
    #[must_use]
    pub fn new(give_up_after: Duration) -> Self {
        Self {
            give_up_after,
            since: None,
            waits: waits(),
        }
    }

    /// Notes progress: the next wait is short again.
    pub fn progress(&mut self) {
        if self.since.take().is_some() {
            self.waits = waits();
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// At once with an error that will not go away; with [`PipelineError::GaveUp`] when it has
    /// taken too long.
    pub async fn wait(&mut self, error: PipelineError) -> Result<(), PipelineError> {
        if !error.is_transient() {
            return Err(error);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let wait = self.waits.next().unwrap_or(Duration::from_secs(15));
        if since.elapsed() + wait > self.give_up_after {
            return Err(PipelineError::GaveUp {
                after: self.give_up_after,
                last: error.to_string(),
            });
        }
        tracing::warn!(%error, wait = %humantime::format_duration(Duration::from_millis(wait.as_millis() as u64)), "trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{source::SourceError, store::StoreError};

    fn away() -> PipelineError {
        PipelineError::Source(SourceError::Away {
            address: "http://h:1".into(),
            message: "refused".into(),
        })
    }

    #[test]
    fn only_who_is_away_may_come_back() {
        let refused = SourceError::Refused {
            address: String::new(),
            message: String::new(),
        };
        for (error, transient) in [
            (away(), true),
            (PipelineError::Store(StoreError::Away(String::new())), true),
            (PipelineError::Source(refused), false),
            (
                PipelineError::Store(StoreError::Failed(String::new())),
                false,
            ),
            (
                PipelineError::Store(StoreError::Fenced(String::new())),
                false,
            ),
            (PipelineError::Unfit(Vec::new()), false),
            (PipelineError::Broken(String::new()), false),
        ] {
            assert_eq!(error.is_transient(), transient, "{error:?}");
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
    async fn it_gives_up_in_time_and_at_once_where_waiting_is_no_use() {
        let mut patience = Patience::new(Duration::from_millis(100));
        let error = patience
            .wait(away())
            .await
            .err()
            .map(|error| error.to_string());
        insta::assert_snapshot!(error.unwrap_or_default(), @"gave up after 100ms: source http://h:1 is away: refused");
        let error = patience
            .wait(PipelineError::Broken("bug".into()))
            .await
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("bug"));
    }
}
