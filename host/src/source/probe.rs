//! Finds out what a port speaks that does not speak what the configuration says.
//!
//! Asked only after a connection has failed: the errors of HTTP/2 and TLS say what byte they did
//! not expect, and not what is on the other side.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Maximum time of each of the two attempts: a port on the same network answers at once.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How HTTP/2 begins (RFC 9113, section 3.4): the preface, and an empty SETTINGS frame.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/2 without TLS.
    Http2,
    /// HTTP/1 without TLS.
    Http1,
    /// TLS.
    Tls,
    /// None of these.
    Other,
    /// It answers with no byte.
    Nothing,
}

/// What the port of a host speaks; `None` if it cannot be connected to.
pub(super) async fn probe(host: &str, port: u16) -> Option<Speaks> {
    let first = first_bytes(host, port, HTTP2).await?;
    match first.as_slice() {
        // The fourth byte of a frame is its type; a server begins with SETTINGS.
        [_, _, _, 4, ..] => return Some(Speaks::Http2),
        bytes if bytes.starts_with(b"HTTP/1") => return Some(Speaks::Http1),
        bytes if is_tls(bytes) => return Some(Speaks::Tls),
        // Some servers of TLS end such a connection without a word.
        _ => {}
    }
    let answer = first_bytes(host, port, &client_hello()?).await?;
    Some(if is_tls(&answer) {
        Speaks::Tls
    } else if answer.starts_with(b"HTTP/1") {
        Speaks::Http1
    } else if first.is_empty() && answer.is_empty() {
        Speaks::Nothing
    } else {
        Speaks::Other
    })
}

/// The beginning of what the port answers to `question`; empty if it ends the connection, or is
/// silent.
async fn first_bytes(host: &str, port: u16, question: &[u8]) -> Option<Vec<u8>> {
    let connect = TcpStream::connect((host, port));
    let mut stream = tokio::time::timeout(TIMEOUT, connect).await.ok()?.ok()?;
    let mut answer = Vec::new();
    let ask = async {
        stream.write_all(question).await?;
        while answer.len() < 9 && stream.read_buf(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    };
    // What has been received counts, however that ended.
    drop(tokio::time::timeout(TIMEOUT, ask).await);
    Some(answer)
}

/// A record of TLS: a handshake or an alert, and the version (RFC 8446, section 5.1).
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}

/// How TLS begins.
fn client_hello() -> Option<Vec<u8>> {
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}
