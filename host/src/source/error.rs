//! Errors of the source, by what to do about them, with their causes.

use std::error::Error;

use tonic::Status;

/// An error of the source. Its text includes the cause.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The server is unreachable or failing: trying again may help.
    #[error("source {address} is away: {}", text_of(.cause))]
    Away {
        /// Configured address of the source.
        address: String,
        /// From the transport or the server.
        #[source]
        cause: Status,
    },
    /// The server refused the request, and will refuse it again.
    #[error("source {address}: {}", text_of(.cause))]
    Refused {
        /// Configured address of the source.
        address: String,
        /// From the server.
        #[source]
        cause: Status,
    },
    /// The server's response is unusable: it violates the protocol, or describes no usable dataset.
    #[error("source {address}: {message}")]
    Unusable {
        /// Configured address of the source.
        address: String,
        /// The fault of the response.
        message: String,
    },
    /// The configured address is invalid.
    #[error("source {address}: {cause}")]
    Address {
        /// Configured address of the source.
        address: String,
        /// From the parser of the address or the TLS configuration.
        #[source]
        cause: tonic::transport::Error,
    },
}

impl SourceError {
    /// Classifies a failed call. NOT_FOUND, INVALID_ARGUMENT and the like are final, as
    /// `source.proto` says; so is OUT_OF_RANGE, for a message over the limit.
    pub(super) fn failed_call(address: String, cause: Status) -> Self {
        use tonic::Code;
        match cause.code() {
            Code::NotFound
            | Code::InvalidArgument
            | Code::Unimplemented
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::OutOfRange => Self::Refused { address, cause },
            _ => Self::Away { address, cause },
        }
    }
}

fn text_of(status: &Status) -> String {
    format!("{}: {}", status.code().description(), status.message())
}

/// The text of an error and of its causes, which tonic leaves out of its own text.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
