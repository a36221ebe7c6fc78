//! The channel to a gRPC server, over TCP, TLS or a Unix socket.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// Flow-control window of a stream, in bytes. The default of 64 KiB would cost a round trip for
/// every ten rows of 1536 dimensions.
const STREAM_WINDOW: u32 = 4 << 20;

/// Maximum size of an HTTP/2 frame, in bytes. With the usual 16 KiB, framing and reading cost more
/// than the rows.
const FRAME: u32 = 256 << 10;

/// A channel to `address` (`http://`, `https://` or `unix:/path`) that connects when it is used.
///
/// # Errors
/// If the address is invalid.
pub fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    if let Some(path) = address.strip_prefix("unix:") {
        let path = Arc::new(path.to_owned());
        let connector = tower::service_fn(move |_| {
            let path = Arc::clone(&path);
            async move {
                tokio::net::UnixStream::connect(path.as_str())
                    .await
                    .map(TokioIo::new)
            }
        });
        return Ok(
            tuned(Endpoint::from_static("http://localhost")).connect_with_connector_lazy(connector)
        );
    }
    let mut endpoint = tuned(Endpoint::from_str(address)?);
    if address.starts_with("https://") {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
    }
    Ok(endpoint.connect_lazy())
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        // A peer that vanished silently is noticed within half a minute.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(2 * STREAM_WINDOW)
}
