//! Errors that stop a pipeline, by their origin.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::policy::{Halted, TooManyDeadLetters};
use crate::retry::{GaveUp, Retry};
use crate::route::Misfit;
use crate::source::{Kind, SourceError};
use crate::store::run::Status;
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
    /// Stopping took too long. What is not committed is received again by the next start.
    #[error(
        "not everything that had been received was committed within retry.stop_timeout ({}); the \
         next start receives it again",
        humantime::format_duration(*.0)
    )]
    Overdue(Duration),
}

impl PipelineError {
    /// The status of a run that ends with this error; `stopped` if it was asked to end.
    pub(crate) fn status(&self, stopped: bool) -> Status {
        match self {
            // Everything was read, and the rows are in.
            Self::TooManyDeadLetters(excess) if excess.is_complete => Status::HeldBack,
            Self::Halted(_) | Self::TooManyDeadLetters(_) => Status::Halted,
            Self::Overdue(_) => Status::Interrupted,
            // What is away when a run is stopped does not fail it.
            Self::GaveUp(_) if stopped => Status::Interrupted,
            _ if stopped && self.is_transient() => Status::Interrupted,
            _ => Status::Failed,
        }
    }
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
        match self {
            Self::Source(error) => error.kind() != Kind::Final,
            Self::Store(error) => matches!(
                error,
                StoreError::Away(_) | StoreError::Conflict(_) | StoreError::Behind(_)
            ),
            Self::Unfit(_)
            | Self::Halted(_)
            | Self::TooManyDeadLetters(_)
            | Self::GaveUp(_)
            | Self::Overdue(_)
            | Self::Broken(_) => false,
        }
    }

    fn is_defect(&self) -> bool {
        matches!(self, Self::Source(error) if error.kind() == Kind::Failing)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::retry::Patience;
    use crate::source::Failure;

    fn source(kind: Kind) -> PipelineError {
        PipelineError::Source(SourceError {
            address: "http://h:1".into(),
            failure: Failure::new(kind, "out of paper"),
        })
    }

    #[test]
    fn only_an_unavailable_side_is_tried_again() {
        for (error, transient) in [
            (source(Kind::Away), true),
            (source(Kind::Failing), true),
            (PipelineError::Store(StoreError::Away("".into())), true),
            (source(Kind::Final), false),
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
        let defects = [Kind::Away, Kind::Failing, Kind::Final].map(|it| source(it).is_defect());
        assert_eq!(defects, [false, true, false]);
    }

    #[tokio::test]
    async fn giving_up_names_the_last_error() {
        let mut patience = Patience::new(Duration::from_millis(100));
        let error = patience.wait(source(Kind::Away)).await.err();
        insta::assert_snapshot!(error.map(|error| error.to_string()).unwrap_or_default(), @"gave up after 100ms: source http://h:1 is away: out of paper");
    }

    #[test]
    fn causes_are_told_once() {
        let error = source(Kind::Away);
        let said = "source http://h:1 is away: out of paper";
        assert_eq!(with_causes(&error), said);

        #[derive(Debug, thiserror::Error)]
        #[error("cannot check")]
        struct Around(#[source] PipelineError);
        assert_eq!(with_causes(&Around(error)), format!("cannot check: {said}"));
    }
}
