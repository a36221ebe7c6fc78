//! HTTP: `/metrics` for Prometheus; `/livez`, `/readyz` and `/health` for supervisors and people.
//!
//! Every client that reaches the address can read them: names of pipelines and plugins, counts and
//! errors, but no rows. Each connection serves one request. The number of connections, their time
//! and the size of a request are bounded, so that a misbehaving client cannot hold up the host.

use std::collections::VecDeque;
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
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::health::HealthState;

/// Maximum number of connections at a time; one more takes the place of the oldest. A request is
/// answered within a millisecond, so the oldest is one that does not ask or does not read.
const MAX_CONNECTIONS: usize = 64;

/// Maximum time for the request to arrive.
const REQUEST: Duration = Duration::from_secs(3);

/// Maximum time from the connection to the end of the response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum size of the request line and headers, in bytes.
const MAX_REQUEST: usize = 16 << 10;

/// Time after which measured durations are sorted into their buckets without a request; until then
/// each takes a few bytes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Listens on `address`; port 0 takes any free port.
    ///
    /// # Errors
    /// If the address is in use, or not an address of this machine.
    pub async fn start(
        address: SocketAddr,
        metrics: PrometheusHandle,
        health: Arc<HealthState>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(listen(listener, Served { metrics, health }));
        Ok(Self { address, task })
    }

    /// The address on which it listens.
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
struct Served {
    metrics: PrometheusHandle,
    health: Arc<HealthState>,
}

async fn listen(listener: TcpListener, served: Served) {
    let mut connections = JoinSet::new();
    let mut ages = VecDeque::new();
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    ages.retain(|connection: &AbortHandle| !connection.is_finished());
                    if ages.len() >= MAX_CONNECTIONS
                        && let Some(oldest) = ages.pop_front()
                    {
                        oldest.abort();
                    }
                    let conversation = tokio::time::timeout(PATIENCE, converse(stream, served.clone()));
                    ages.push_back(connections.spawn(conversation));
                }
                // Most likely out of file descriptors, which passes.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the endpoint");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            // The result concerns only the client.
            Some(_) = connections.join_next() => {}
            _ = upkeep.tick() => served.metrics.run_upkeep(),
        }
    }
}

async fn converse(stream: TcpStream, served: Served) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = served.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(answer) }
    });
    let conversation = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a connection to the endpoint broke");
    }
}

impl Served {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return response(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "only GET and HEAD are supported\n".into(),
            );
        }
        match path {
            "/metrics" => response(StatusCode::OK, PROMETHEUS, self.metrics.render()),
            // Answering is all that it takes to be alive.
            "/livez" => response(StatusCode::OK, TEXT, "ok\n".into()),
            "/readyz" => {
                let reasons = self.health.not_ready();
                let text = match reasons.as_slice() {
                    [] => "ok\n".to_owned(),
                    reasons => reasons.join("\n") + "\n",
                };
                response(status(reasons.is_empty()), TEXT, text)
            }
            "/health" => {
                let (healthy, text) = self.health.answer();
                response(status(healthy), JSON, text)
            }
            _ => {
                let known = "available: /metrics, /livez, /readyz, /health\n";
                response(StatusCode::NOT_FOUND, TEXT, known.into())
            }
        }
    }
}

fn status(is_well: bool) -> StatusCode {
    match is_well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
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
