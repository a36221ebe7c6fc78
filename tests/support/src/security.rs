//! How a server of a test knows its clients, and how they know it.

use std::path::PathBuf;

use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Request, Status};

use crate::root;

/// What a server wants of its clients, over TLS with a certificate for `rows.test`.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// The bearer token of each call.
    pub token: Option<&'static str>,
    /// A certificate of the tests' authority.
    pub certificate: bool,
}

impl Security {
    /// The path of `ca.pem`, `client.pem` or `client.key`.
    pub fn file(name: &str) -> PathBuf {
        root().join("tests/support/pem").join(name)
    }

    pub(crate) fn tls(&self) -> ServerTlsConfig {
        let read = |name| std::fs::read(Self::file(name)).unwrap();
        let own = Identity::from_pem(read("server.pem"), read("server.key"));
        let tls = ServerTlsConfig::new().identity(own);
        match self.certificate {
            true => tls.client_ca_root(Certificate::from_pem(read("ca.pem"))),
            false => tls,
        }
    }

    pub(crate) fn door(
        &self,
    ) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<> {
        let wanted = self.token.map(|token| format!("Bearer {token}"));
        move |request| {
            let shown = request.metadata().get("authorization");
            let shown = shown.and_then(|shown| shown.to_str().ok());
            match &wanted {
                Some(wanted) if shown != Some(wanted) => {
                    // As a careless server says it.
                    let message = format!("who are you? Not {}", shown.unwrap_or("anybody"));
                    Err(Status::unauthenticated(message))
                }
                _ => Ok(request),
            }
        }
    }
}
