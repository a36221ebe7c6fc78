//! Retries with growing waits, until there has been no progress for too long.
//!
//! An outage is waited out as long as the configuration says. A defect of the other side, such as an
//! exception in a server's handler, fails in the same way each time: a few attempts, of which the
//! last comes after some ten seconds, are enough for what it may depend on to come back.

use std::fmt;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Maximum wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// Maximum number of attempts in a row that end with a defect of the other side.
const DEFECTS: u32 = 6;

/// An error that tells whether a retry may succeed.
pub trait Retry: std::error::Error + Sized + 'static + From<GaveUp<Self>> {
    /// True if the other side is unavailable and nothing is lost by trying again.
    fn is_transient(&self) -> bool;

    /// True if the other side itself has failed, which is tried again only a few times.
    fn is_defect(&self) -> bool {
        false
    }
}

/// There was no progress for too long.
#[derive(Debug, thiserror::Error)]
#[error("gave up after {after}: {last}")]
pub struct GaveUp<E: std::error::Error + 'static> {
    /// The bound that was reached.
    pub after: Bound,
    /// Error of the last attempt.
    #[source]
    pub last: Box<E>,
}

/// A bound of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The configured time without progress.
    Time(Duration),
    /// A number of attempts in a row.
    Attempts(u32),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => humantime::format_duration(*time).fmt(f),
            Self::Attempts(attempts) => write!(f, "{attempts} attempts"),
        }
    }
}

/// The waits between attempts: from 200 ms, doubling up to 15 s, with jitter.
#[derive(Debug)]
pub struct Patience {
    give_up_after: Duration,
    since: Option<Instant>,
    /// Defects of the other side since the last progress or outage.
    defects: u32,
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
            defects: 0,
            waits: waits(),
        }
    }

    /// Records progress: the next wait is short again.
    pub fn progress(&mut self) {
        self.defects = 0;
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
        self.defects = if error.is_defect() {
            self.defects + 1
        } else {
            0
        };
        let reached = if self.defects >= DEFECTS {
            Some(Bound::Attempts(DEFECTS))
        } else if since.elapsed() + wait > self.give_up_after {
            Some(Bound::Time(self.give_up_after))
        } else {
            None
        };
        if let Some(after) = reached {
            let last = Box::new(error);
            return Err(GaveUp { after, last }.into());
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
        #[error("out of paper")]
        Defect,
        #[error(transparent)]
        GaveUp(#[from] GaveUp<Failure>),
    }

    impl Retry for Failure {
        fn is_transient(&self) -> bool {
            matches!(self, Self::Away | Self::Defect)
        }

        fn is_defect(&self) -> bool {
            matches!(self, Self::Defect)
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

    #[tokio::test]
    async fn f4_a_defect_is_given_up_after_a_few_attempts() {
        let mut patience = Patience::new(Duration::from_secs(300));
        let short = Duration::from_millis(1);
        let waits = ExponentialBuilder::default().with_min_delay(short);
        patience.waits = waits.with_max_delay(short).without_max_times().build();
        for _ in 0..3 {
            for _ in 1..DEFECTS {
                let waited = patience.wait(Failure::Defect).await;
                assert!(waited.is_ok(), "{waited:?}");
            }
            // An outage in between is none of its defects.
            let waited = patience.wait(Failure::Away).await;
            assert!(waited.is_ok(), "{waited:?}");
        }
        for _ in 1..DEFECTS {
            let waited = patience.wait(Failure::Defect).await;
            assert!(waited.is_ok(), "{waited:?}");
        }
        let error = patience.wait(Failure::Defect).await.err();
        insta::assert_snapshot!(error.map(|error| error.to_string()).unwrap_or_default(), @"gave up after 6 attempts: out of paper");
    }
}
