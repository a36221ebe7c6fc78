//! Errors of the source, by what to do about them.

use std::fmt;

use super::failure::{Failure, Kind};

/// An error of the source. Its text includes the cause, and a hint where there is one.
#[derive(Debug)]
pub struct SourceError {
    /// Configured address of the source.
    pub address: String,
    /// What is wrong.
    pub failure: Failure,
}

impl SourceError {
    /// How the error is retried.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.failure.kind
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, failure } = self;
        match self.kind() {
            Kind::Away => write!(f, "source {address} is away: {failure}"),
            Kind::Failing => write!(f, "source {address} failed: {failure}"),
            Kind::Stale => write!(f, "source {address} refuses the token: {failure}"),
            Kind::Final => write!(f, "source {address}: {failure}"),
        }
    }
}

impl std::error::Error for SourceError {}
