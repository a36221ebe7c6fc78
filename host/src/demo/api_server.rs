//! A sample API server: drops its cache when it is told to, and records the requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::running::{Running, ServerError};
use crate::proto::cache_service_server::{CacheService, CacheServiceServer};
use crate::proto::{InvalidateCacheRequest, InvalidateCacheResponse};

/// Maximum number of recorded requests. A run makes one.
const MAX_RECORDED: usize = 10_000;

/// An API server that answers until it is stopped or dropped.
#[derive(Debug)]
pub struct ApiServer {
    running: Running,
    calls: Arc<Mutex<Calls>>,
}

/// The requests to the server.
#[derive(Debug, Default)]
struct Calls {
    received: Vec<InvalidateCacheRequest>,
    failures_left: u32,
}

/// Serves on `address`; port 0 selects a free one.
///
/// # Errors
/// If the address cannot be bound, or no thread can be started.
pub fn start(address: SocketAddr) -> Result<ApiServer, ServerError> {
    start_failing(address, 0)
}

/// As [`start`], but the first `failures` calls are answered with status UNAVAILABLE.
///
/// # Errors
/// As for [`start`].
pub fn start_failing(address: SocketAddr, failures: u32) -> Result<ApiServer, ServerError> {
    let calls = Arc::new(Mutex::new(Calls {
        received: Vec::new(),
        failures_left: failures,
    }));
    let service = CacheServiceServer::new(Server {
        calls: Arc::clone(&calls),
    });
    let router = tonic::transport::Server::builder().add_service(service);
    Ok(ApiServer {
        running: Running::start("api-server", address, router)?,
        calls,
    })
}

impl ApiServer {
    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Its URL for a client's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        self.running.url()
    }

    /// The calls so far in the order of arrival, including those that were made to fail.
    #[must_use]
    pub fn received(&self) -> Vec<InvalidateCacheRequest> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .received
            .clone()
    }

    /// Closes all connections and returns the CPU time of the server's thread.
    ///
    /// # Errors
    /// If the server has failed before.
    pub fn stop(self) -> Result<Duration, ServerError> {
        self.running.stop()
    }
}

struct Server {
    calls: Arc<Mutex<Calls>>,
}

#[tonic::async_trait]
impl CacheService for Server {
    async fn invalidate_cache(
        &self,
        request: Request<InvalidateCacheRequest>,
    ) -> Result<Response<InvalidateCacheResponse>, Status> {
        let request = request.into_inner();
        let InvalidateCacheRequest {
            target,
            notification_id,
            pipeline,
            changed_rows,
        } = &request;
        tracing::info!(%target, %notification_id, %pipeline, changed_rows, "cache invalidated");
        let message = format!("dropped the cache of {target}");
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.received.len() < MAX_RECORDED {
            calls.received.push(request);
        }
        if calls.failures_left > 0 {
            calls.failures_left -= 1;
            return Err(Status::unavailable("the call was made to fail"));
        }
        Ok(Response::new(InvalidateCacheResponse {
            success: true,
            message,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tonic::Code;

    use super::*;
    use crate::proto::cache_service_client::CacheServiceClient;

    #[tokio::test]
    async fn calls_are_recorded_and_fail_as_often_as_told() {
        let server = start_failing(([127, 0, 0, 1], 0).into(), 1).unwrap();
        let mut client = CacheServiceClient::connect(server.url()).await.unwrap();
        let request = InvalidateCacheRequest {
            target: "recruit".to_owned(),
            notification_id: "1".to_owned(),
            pipeline: "recruit".to_owned(),
            changed_rows: 3,
        };
        let status = client.invalidate_cache(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let answer = client
            .invalidate_cache(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(answer.success);
        assert_eq!(server.received(), [request.clone(), request]);
        server.stop().unwrap();
    }
}
