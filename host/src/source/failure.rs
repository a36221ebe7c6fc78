//! Why a call of a server failed, how that is retried, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use rustls::{AlertDescription, CertificateError};
use tonic::codegen::http::StatusCode;
use tonic::{Code, Status};

use super::probe::Speaks;
use crate::printable::printable;

/// How a failed call is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server is unreachable, busy, or its connection broke: until `retry.give_up_after`.
    Away,
    /// The server itself failed: a few times, since a defect fails in the same way each time.
    Failing,
    /// The server refused a secret that a file holds, which may be about to be renewed: until
    /// `retry.give_up_after`, with the secret as it is then.
    Stale,
    /// The server will refuse it again, or is not what the configuration says: never.
    Final,
}

/// A failed call. Its text has what is wrong, and a hint where there is one; whatever the server
/// said is escaped.
#[derive(Debug, Clone)]
pub struct Failure {
    /// How it is retried.
    pub kind: Kind,
    /// True if the server refused the request itself, such as for its position.
    pub(crate) is_refusal: bool,
    /// True if the server does not know who calls.
    is_unauthenticated: bool,
    message: String,
    hint: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        Self {
            kind,
            is_refusal: false,
            is_unauthenticated: false,
            message: printable(message.as_ref()).into_owned(),
            hint: None,
        }
    }

    pub(super) fn away(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Away, message)
    }

    pub(super) fn fatal(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Final, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What it is if the token, which a server may repeat in its messages, is not to be shown, and
    /// may be renewed in the file `renewed`.
    pub(super) fn of_token(mut self, token: &str, renewed: Option<&Path>, key: &str) -> Self {
        if !token.is_empty() {
            self.message = self.message.replace(token, "…");
        }
        match renewed {
            Some(file) if self.is_unauthenticated => {
                self.kind = Kind::Stale;
                let file = printable(&file.to_string_lossy()).into_owned();
                self.hint(format!(
                    "`{key}.auth` reads the token from {file} before each call: renew it there"
                ))
            }
            _ => self,
        }
    }

    /// The same with this hint, unless it has one.
    pub(super) fn or_hint(self, hint: &str) -> Self {
        match self.hint {
            Some(_) => self,
            None => self.hint(hint),
        }
    }

    /// True if it says more than the error it was made of.
    pub(super) fn is_explained(&self) -> bool {
        self.hint.is_some()
    }

    /// A status that the server sent. `key` is the table of the server in the configuration, and
    /// `path` the method that was called. The codes that are final are those of `source.proto`,
    /// and those with which a server refuses a client.
    pub(super) fn of_status(status: &Status, key: &str, path: &str) -> Self {
        let said = format!("{}: {}", name(status.code()), status.message());
        match status.code() {
            Code::Unimplemented => {
                let method = path.trim_start_matches('/');
                Self::fatal(format!("its server does not implement {method} ({said})"))
                    .hint(format!("name a server that does in `{key}.grpc`; it may be another service, or an older version of this one"))
            }
            Code::Unauthenticated => Self {
                is_unauthenticated: true,
                ..Self::fatal(said).hint(format!(
                    "set `{key}.auth`: a token, or a client certificate and its key"
                ))
            },
            Code::PermissionDenied => Self::fatal(said).hint(format!(
                "the server knows this client but does not let it in; see `{key}.auth`"
            )),
            Code::NotFound | Code::InvalidArgument | Code::OutOfRange => Self {
                is_refusal: true,
                ..Self::fatal(said)
            },
            // What C-core and others make of an exception in a handler is UNKNOWN.
            Code::Unknown
            | Code::Internal
            | Code::DataLoss
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::Ok => Self::new(Kind::Failing, said),
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled => Self::away(said),
        }
    }

    /// An HTTP response that is not one of gRPC.
    pub(super) fn of_http(status: StatusCode, content_type: &str, key: &str) -> Self {
        let content = match content_type {
            "" => "no content type",
            content_type => content_type,
        };
        let said = format!(
            "the server responded with HTTP status {status} and {content}, which is not gRPC"
        );
        // A proxy says so while the server behind it is away.
        let kind = match status.as_u16() {
            408 | 429 | 502..=504 => Kind::Away,
            500 => Kind::Failing,
            _ => Kind::Final,
        };
        let hint = match status.as_u16() {
            408 | 429 | 500.. => {
                "a proxy says so while the server behind it is away or fails".to_owned()
            }
            401 | 403 | 407 => format!("set `{key}.auth`, if it is a proxy that wants a token"),
            _ => format!(
                "`{key}.grpc` seems to be the address of a web server or a proxy; name that of the gRPC server"
            ),
        };
        Self {
            is_unauthenticated: matches!(status.as_u16(), 401 | 407),
            ..Self::new(kind, said).hint(hint)
        }
    }

    /// A connection that could not be made, or broke before the server answered. `speaks` is what
    /// the port was found to speak; it explains what the error does not.
    pub(super) fn of_connection(
        error: &(dyn Error + 'static),
        to: &To<'_>,
        speaks: Option<Speaks>,
    ) -> Self {
        let key = to.key;
        chain(error)
            .find_map(|cause| {
                let tls = cause.downcast_ref().and_then(|error| of_tls(error, to));
                tls.or_else(|| cause.downcast_ref().and_then(|error| of_io(error, to)))
            })
            .or_else(|| of_text(&error_chain(error), to))
            .or_else(|| match speaks? {
                Speaks::Tls if !to.is_tls() => Some(
                    Self::fatal("the port speaks TLS, which http:// does not use")
                        .hint(format!("write https:// in `{key}.grpc`")),
                ),
                Speaks::Http2 | Speaks::Http1 if to.is_tls() => Some(no_tls(to)),
                Speaks::Http1 => Some(
                    Self::fatal(
                        "the port speaks HTTP/1, not HTTP/2: a web server, not a gRPC server",
                    )
                    .hint(format!(
                        "name the address of the gRPC server in `{key}.grpc`"
                    )),
                ),
                Speaks::Other => Some(Self::fatal("the port speaks neither HTTP/2 nor TLS").hint(
                    format!("name the address of the gRPC server in `{key}.grpc`"),
                )),
                // So does a proxy while the server behind it is away.
                Speaks::Nothing => Some(Self::away("the port answers nothing").hint(format!(
                    "start the server behind it, or name the address of the gRPC server in `{key}.grpc`"
                ))),
                Speaks::Tls if to.is_tls() && !to.has_identity => {
                    let message = format!("it ended the TLS connection: {}", error_chain(error));
                    Some(Self::away(message).hint(wants_certificate(key)))
                }
                Speaks::Http2 | Speaks::Tls => None,
            })
            .unwrap_or_else(|| Self::away(error_chain(error)))
    }
}

/// The server that a call goes to, for messages about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct To<'a> {
    /// As configured.
    pub address: &'a str,
    /// Its table in the configuration: `source` or `notify`.
    pub key: &'a str,
    /// The name that its certificate has to be for.
    pub name: &'a str,
    /// True if the host shows a certificate of its own. It may be renewed, and so may the
    /// authorities.
    pub has_identity: bool,
    /// True if the authorities are those of a file.
    pub has_ca: bool,
}

impl To<'_> {
    fn is_tls(&self) -> bool {
        self.address.starts_with("https://")
    }
}

fn no_tls(to: &To<'_>) -> Failure {
    Failure::fatal("the port does not speak TLS")
        .hint(format!("write http:// in `{}.grpc`", to.key))
}

fn of_tls(error: &rustls::Error, to: &To<'_>) -> Option<Failure> {
    use CertificateError as Bad;
    let (key, name) = (to.key, to.name);
    Some(match error {
        rustls::Error::InvalidMessage(_) => no_tls(to),
        rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        ) => Failure::fatal(format!(
            "its certificate is not for the name {name} ({error})"
        ))
        .hint(format!(
            "write the name of its certificate in `{key}.grpc`, or as `{key}.auth.server_name`"
        )),
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => Failure::new(
            match to.has_ca {
                true => Kind::Failing,
                false => Kind::Final,
            },
            "its certificate is not of an authority that this machine knows",
        )
        .hint(format!("name the file of its authority as `{key}.auth.ca`")),
        rustls::Error::InvalidCertificate(_) => Failure::fatal(error.to_string())
            .hint("renew the certificate of the server, and compare the clocks of both machines"),
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => no_http2(to),
        // What a proxy says whose server is not there yet.
        rustls::Error::AlertReceived(
            AlertDescription::InternalError | AlertDescription::UserCanceled,
        ) => Failure::away(error.to_string()),
        rustls::Error::AlertReceived(_) => refused_client(&error.to_string(), to),
        _ => return None,
    })
}

fn no_http2(to: &To<'_>) -> Failure {
    Failure::fatal("the port speaks TLS, but not HTTP/2 in it: a web server, not a gRPC server")
        .hint(format!(
            "name the address of the gRPC server in `{}.grpc`",
            to.key
        ))
}

fn refused_client(said: &str, to: &To<'_>) -> Failure {
    let key = to.key;
    let kind = match to.has_identity {
        true => Kind::Failing,
        false => Kind::Final,
    };
    Failure::new(
        kind,
        format!("the server refused the TLS connection: {said}"),
    )
    .hint(wants_certificate(key))
}

fn wants_certificate(key: &str) -> String {
    format!("it may want a client certificate: see `{key}.auth.certificate` and `{key}.auth.key`")
}

fn of_io(error: &io::Error, to: &To<'_>) -> Option<Failure> {
    let To { address, key, .. } = to;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(
            Failure::away("connection refused: nobody listens there")
                .hint(format!("start the server, or correct `{key}.grpc`")),
        ),
        io::ErrorKind::NotFound if address.starts_with("unix:") => Some(
            Failure::away("there is no such socket")
                .hint(format!("start the server, or correct `{key}.grpc`")),
        ),
        io::ErrorKind::PermissionDenied if address.starts_with("unix:") => Some(
            Failure::fatal("this user may not open the socket")
                .hint("let this user write to the socket and enter its directories"),
        ),
        io::ErrorKind::TimedOut => Some(timed_out(to)),
        _ => None,
    }
}

fn timed_out(to: &To<'_>) -> Failure {
    Failure::away("the connection timed out").hint(format!(
        "a firewall may drop what is sent there; see `{}.grpc`",
        to.key
    ))
}

/// Errors whose types are private, or were made texts on the way.
fn of_text(text: &str, to: &To<'_>) -> Option<Failure> {
    if text.contains("dns error") {
        let why = text.rsplit(": ").next().unwrap_or_default();
        return Some(
            Failure::away(format!("its host name cannot be resolved: {why}"))
                .hint(format!("correct the name in `{}.grpc`", to.key)),
        );
    }
    if text.contains("HTTP/2 was not negotiated") {
        return Some(no_http2(to));
    }
    if text.contains("deadline has elapsed") {
        return Some(timed_out(to));
    }
    let alert = text.split_once("received fatal alert: ");
    alert.map(|(_, alert)| refused_client(alert, to))
}

/// The name of a code, as gRPC's documentation and `source.proto` write it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// An error and its causes. An I/O error does not name what it wraps as its cause.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The text of an error and of its causes, which tonic leaves out of its own text.
pub(super) fn error_chain(error: &dyn Error) -> String {
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
