//! Bounds, and the error when one is exceeded.

/// Reason why a component is not compiled.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ComplexityError {
    #[error("not a valid component: {0}")]
    Invalid(#[from] wasmparser::Error),
    #[error("{0}")]
    Excessive(String),
}

impl ComplexityError {
    /// Suggested remedy.
    pub(in super::super) fn hint(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "the file is truncated or damaged: build it again",
            Self::Excessive(_) => "rebuild it as a plain component",
        }
    }
}

/// Checks that `count` is at most `limit`; `what` is counted.
pub(super) fn at_most(count: usize, limit: usize, what: &str) -> Result<(), ComplexityError> {
    if count > limit {
        let message = format!("has {count} {what}; at most {limit} are allowed");
        return Err(ComplexityError::Excessive(message));
    }
    Ok(())
}
