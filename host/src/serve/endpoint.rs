//! `/metrics` for Prometheus and `/health` for whoever watches over processes.
//!
//! Whoever can reach the address can read them: names of pipelines and plugins, counts and
//! errors, but no rows. A connection is answered once and closed; connections, their time and
//! what they may send are bounded, so that nobody who asks badly can hold up the host.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::health::HealthState;

/// At a time; more wait. One Prometheus and one probe need two.
const MAX_CONNECTIONS: usize = 16;

/// From the connection to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Request line and headers, in bytes.
const MAX_REQUEST: usize = 16 << 10;

/// How often measured durations are sorted into their buckets while nobody asks; until then
/// each takes a few bytes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Listens on `address`; port 0 takes any that is free.
    ///
    /// # Errors
    /// If the address is taken, or not one of this machine.
    pub async fn start(
        address: SocketAddr,
        metrics: PrometheusHandle,
        board: Arc<HealthState>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(listen(listener, Shown { metrics, board }));
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Shown {
    metrics: PrometheusHandle,
    board: Arc<HealthState>,
}

async fn listen(listener: TcpListener, shown: Shown) {
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(tokio::time::timeout(PATIENCE, converse(stream, shown.clone())));
                }
                // Out of file descriptors, most likely: that passes.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the endpoint");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            // How it ended concerns only the one who asked.
            Some(_) = connections.join_next() => {}
            _ = upkeep.tick() => shown.metrics.run_upkeep(),
        }
    }
}

async fn converse(stream: TcpStream, shown: Shown) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = shown.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(answer) }
    });
    let conversation = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a connection to the endpoint broke");
    }
}

impl Shown {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".into());
        }
        match path {
            "/metrics" => response(StatusCode::OK, PROMETHEUS, self.metrics.render()),
            "/health" => {
                let (well, text) = self.board.answer();
                let status = if well {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                response(status, JSON, text)
            }
            _ => {
                let known = "there are /metrics and /health\n";
                response(StatusCode::NOT_FOUND, TEXT, known.into())
            }
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
