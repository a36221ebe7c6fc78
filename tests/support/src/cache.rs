//! An API server that answers what it is told to.

use forebay::demo::running::Running;
use forebay::proto::cache_service_server::{CacheService, CacheServiceServer};
use forebay::proto::{InvalidateCacheRequest, InvalidateCacheResponse};
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status, transport};

use crate::{Security, anywhere};

/// An API server at work.
pub struct Cache {
    running: Running,
    scheme: &'static str,
}

impl Cache {
    /// Answers with this message; whether that is a success, it says itself.
    pub fn answering(success: bool, message: &str) -> Self {
        let server = Server(InvalidateCacheResponse {
            success,
            message: message.to_owned(),
        });
        let router = transport::Server::builder().add_service(CacheServiceServer::new(server));
        Self {
            running: Running::start("cache", anywhere(), router).unwrap(),
            scheme: "http",
        }
    }

    /// Answers over TLS, and only clients that are known.
    pub fn secured(security: &Security) -> Self {
        let server = CacheServiceServer::new(Server(InvalidateCacheResponse {
            success: true,
            message: String::new(),
        }));
        let builder = transport::Server::builder().tls_config(security.tls());
        let service = InterceptedService::new(server, security.door());
        let router = builder.unwrap().add_service(service);
        Self {
            running: Running::start("cache", anywhere(), router).unwrap(),
            scheme: "https",
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.running.address())
    }
}

struct Server(InvalidateCacheResponse);

#[tonic::async_trait]
impl CacheService for Server {
    async fn invalidate_cache(
        &self,
        _: Request<InvalidateCacheRequest>,
    ) -> Result<Response<InvalidateCacheResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}
