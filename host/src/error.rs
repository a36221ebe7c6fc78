//! Why a pipeline stops, by who is to blame.

use std::fmt;

use crate::policy::Halted;
use crate::retry::{GaveUp, Retry};
use crate::route::Misfit;
use crate::source::SourceError;
use crate::store::{CommitError, StoreError};

/// Why a pipeline did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Found before the first row; all of it.
    #[error("{}", Unfit(.0))]
    Unfit(Vec<Misfit>),
    /// The source's fault.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The database's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy's decision, or a broken plugin.
    #[error("{0}")]
    Halted(#[from] Halted),
    /// Away for too long.
    #[error(transparent)]
    GaveUp(#[from] GaveUp<PipelineError>),
    /// A bug, or a system out of resources.
    #[error("{0}")]
    Broken(String),
}

struct Unfit<'a>(&'a [Misfit]);

impl fmt::Display for Unfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, misfit) in self.0.iter().enumerate() {
            let newline = if index > 0 { "\n" } else { "" };
            write!(
                f,
                "{newline}{}: {}\n  hint: {}",
                misfit.place, misfit.message, misfit.hint
            )?;
        }
        Ok(())
    }
}

impl From<CommitError> for PipelineError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Self::Store(error),
            CommitError::Halted(halted) => Self::Halted(halted),
        }
    }
}

impl Retry for PipelineError {
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Source(SourceError::Away { .. })
                | Self::Store(StoreError::Away(_) | StoreError::Conflict(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::retry::Patience;

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
            (PipelineError::Store(StoreError::Away("".into())), true),
            (PipelineError::Source(refused), false),
            (PipelineError::Store(StoreError::Failed("".into())), false),
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

    #[tokio::test]
    async fn who_gave_up_says_what_was_wrong_the_last_time() {
        let mut patience = Patience::new(Duration::from_millis(100));
        let error = patience.wait(away()).await.err();
        insta::assert_snapshot!(error.map(|error| error.to_string()).unwrap_or_default(), @"gave up after 100ms: source http://h:1 is away: refused");
    }
}
