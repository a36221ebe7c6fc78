//! Errors that stop a pipeline, by their origin.

use std::error::Error;
use std::fmt;

use crate::policy::{Halted, TooManyDeadLetters};
use crate::retry::{GaveUp, Retry};
use crate::route::Misfit;
use crate::source::SourceError;
use crate::store::{CommitError, StoreError};

/// An error that stops a pipeline before its end.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Everything that was found to be wrong before the first row.
    #[error("{}", Unfit(.0))]
    Unfit(Vec<Misfit>),
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy decided so, or a plugin is broken.
    #[error("{0}")]
    Halted(#[from] Halted),
    /// A chunk would exceed `dead_letter_limit`; nothing of it is written.
    #[error(transparent)]
    TooManyDeadLetters(#[from] TooManyDeadLetters),
    /// The source or the database was away for too long.
    #[error(transparent)]
    GaveUp(#[from] GaveUp<PipelineError>),
    /// A bug in the host, or a system out of resources.
    #[error("{0}")]
    Broken(String),
}

/// The text of an error and its causes, each once: errors of pipelines, sources and the database
/// include the causes in their own text.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = error;
    while !includes_causes(last)
        && let Some(cause) = last.source()
    {
        text.push_str(&format!(": {cause}"));
        last = cause;
    }
    text
}

fn includes_causes(error: &(dyn Error + 'static)) -> bool {
    error.is::<PipelineError>() || error.is::<SourceError>() || error.is::<StoreError>()
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
            CommitError::TooManyDeadLetters(excess) => Self::TooManyDeadLetters(excess),
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
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use tonic::Status;

    use super::*;
    use crate::retry::Patience;

    fn away() -> PipelineError {
        let mut cause = Status::unavailable("refused");
        cause.set_source(Arc::new(io::Error::other("ECONNREFUSED")));
        PipelineError::Source(SourceError::Away {
            address: "http://h:1".into(),
            cause,
        })
    }

    #[test]
    fn only_an_unavailable_side_is_tried_again() {
        let refused = SourceError::Refused {
            address: String::new(),
            cause: Status::not_found(""),
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
    async fn giving_up_names_the_last_error() {
        let mut patience = Patience::new(Duration::from_millis(100));
        let error = patience.wait(away()).await.err();
        insta::assert_snapshot!(error.map(|error| error.to_string()).unwrap_or_default(), @"gave up after 100ms: source http://h:1 is away: The service is currently unavailable: refused");
    }

    #[test]
    fn causes_are_kept_and_told_once() {
        let error = away();
        let cause = error.source().and_then(Error::source);
        assert_eq!(
            cause.map(ToString::to_string).as_deref(),
            Some("ECONNREFUSED")
        );
        let said = "source http://h:1 is away: The service is currently unavailable: refused";
        assert_eq!(with_causes(&error), said);

        #[derive(Debug, thiserror::Error)]
        #[error("cannot check")]
        struct Around(#[source] PipelineError);
        assert_eq!(with_causes(&Around(error)), format!("cannot check: {said}"));
    }
}
