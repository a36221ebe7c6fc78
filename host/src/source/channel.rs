//! The channel to a gRPC server, over TCP, TLS or a Unix socket, and how the two prove who they are.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::codegen::http::{HeaderValue, Uri};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::failure::{Failure, Kind, To};
use super::probe::{Speaks, probe};
use crate::config::Auth;

/// Flow-control window of a stream, in bytes. The default of 64 KiB would cost a round trip for
/// every ten rows of 1536 dimensions.
const STREAM_WINDOW: u32 = 4 << 20;

/// Maximum size of an HTTP/2 frame, in bytes. With the usual 16 KiB, framing and reading cost more
/// than the rows.
const FRAME: u32 = 256 << 10;

/// Maximum time to connect, and again to agree on TLS.
const CONNECT: Duration = Duration::from_secs(10);

// TCP's own keepalive finds out within a minute that the other machine is gone. Pings of HTTP/2
// would not: servers on gRPC's C core (Python, C++, Ruby) allow one in five minutes, and end the
// connection after two more. A server that is there and silent is `source.idle_timeout`'s case.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// A gRPC server as the configuration names it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// `http://`, `https://` or `unix:` followed by a path.
    pub address: String,
    /// Its table in the configuration, for hints: `source` or `notify`.
    pub key: &'static str,
    /// How the two prove who they are.
    pub auth: Auth,
}

impl Peer {
    /// Connects. Files are read each time, so that a renewed certificate is used from then on.
    ///
    /// # Errors
    /// If the server is away, speaks something else, or one side does not trust the other.
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let connected = match self.address.strip_prefix("unix:") {
            Some(path) => connect_unix(path).await,
            None => self.endpoint()?.connect().await,
        };
        match connected {
            Ok(channel) => Ok(channel),
            Err(error) => Err(self.unconnected(&error).await),
        }
    }

    /// The value of `authorization`, with the token as it is now.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let key = self.key;
        let Some(secret) = &self.auth.token else {
            return Ok(None);
        };
        let read = secret.read();
        let token = read.map_err(|error| {
            self.unreadable(secret.file().unwrap_or(Path::new("")), "token_file", &error)
        })?;
        let token = token.trim();
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| {
            Failure::fatal(format!(
                "the token of `{key}.auth` has a character that no header may have"
            ))
            .hint("write it without line ends and control characters")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What is wrong with a connection that failed before the server answered.
    pub(super) async fn unconnected(&self, error: &tonic::transport::Error) -> Failure {
        let uri = Uri::from_str(&self.address).unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        let name = self.auth.server_name.as_deref().unwrap_or(host);
        let to = To {
            address: &self.address,
            key: self.key,
            name,
            has_identity: self.auth.identity.is_some(),
            has_ca: self.auth.ca.is_some(),
        };
        let failure = Failure::of_connection(error, &to, None);
        // What the error explains needs no look.
        if failure.is_explained() || host.is_empty() {
            return failure;
        }
        // The brackets of an IPv6 address are part of the URI only.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let speaks: Option<Speaks> = probe(host, port(&uri)).await;
        Failure::of_connection(error, &to, speaks)
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let endpoint = Endpoint::from_str(&self.address)
            .map_err(|error| self.invalid(&error))?
            .tcp_keepalive(Some(KEEPALIVE))
            .tcp_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .tcp_keepalive_retries(Some(KEEPALIVE_PROBES))
            .tcp_nodelay(true);
        let endpoint = tuned(endpoint);
        match self.address.starts_with("https://") {
            true => endpoint
                .tls_config(self.tls()?)
                .map_err(|error| self.invalid(&error)),
            false => Ok(endpoint),
        }
    }

    fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let Auth {
            ca,
            identity,
            server_name,
            token: _,
        } = &self.auth;
        let mut tls = ClientTlsConfig::new().timeout(CONNECT);
        tls = match ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(self.read(path, "ca")?)),
            None => tls.with_native_roots(),
        };
        if let Some(own) = identity {
            let certificate = self.read(&own.certificate, "certificate")?;
            tls = tls.identity(Identity::from_pem(certificate, self.read(&own.key, "key")?));
        }
        if let Some(name) = server_name {
            tls = tls.domain_name(name);
        }
        Ok(tls)
    }

    /// A failed call in view of the token: it is not shown, and may be renewed.
    pub(super) fn without_token(&self, failure: Failure) -> Failure {
        let Some(secret) = &self.auth.token else {
            return failure;
        };
        let token = secret.read().unwrap_or_default();
        failure.of_token(token.trim(), secret.file(), self.key)
    }

    fn read(&self, path: &Path, key: &str) -> Result<Vec<u8>, Failure> {
        std::fs::read(path).map_err(|error| self.unreadable(path, key, &error))
    }

    fn unreadable(&self, path: &Path, key: &str, error: &std::io::Error) -> Failure {
        let message = format!("cannot read {}: {error}", path.display());
        // Whoever renews a file may remove it for a moment.
        Failure::new(Kind::Failing, message).hint(format!(
            "`{}.auth.{key}` names it; this user has to be able to read it",
            self.key
        ))
    }

    fn invalid(&self, error: &tonic::transport::Error) -> Failure {
        let key = self.key;
        Failure::fatal(super::failure::error_chain(error)).hint(format!(
            "see `{key}.grpc`, and whether the files of `{key}.auth` are certificates and a key in PEM"
        ))
    }
}

async fn connect_unix(path: &str) -> Result<Channel, tonic::transport::Error> {
    let path = Arc::new(path.to_owned());
    let connector = tower::service_fn(move |_| {
        let path = Arc::clone(&path);
        async move {
            let stream = tokio::net::UnixStream::connect(path.as_str()).await;
            stream.map(TokioIo::new)
        }
    });
    tuned(Endpoint::from_static("http://localhost"))
        .connect_with_connector(connector)
        .await
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT)
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(2 * STREAM_WINDOW)
}

fn port(uri: &Uri) -> u16 {
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    uri.port_u16().unwrap_or(default)
}
