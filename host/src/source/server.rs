//! A gRPC server that rows come from: its connection, and how long it may be silent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::answers::{Answers, Call};
use super::channel::Peer;
use super::error::SourceError;
use super::failure::Failure;
use crate::config;

/// Time after which the log says that a source is silent.
const SILENT: Duration = Duration::from_secs(60);

/// A gRPC server as a source.
#[derive(Debug, Clone)]
pub(super) struct Server {
    peer: Arc<Peer>,
    /// The connection that streams share, until a call fails.
    channel: Arc<Mutex<Option<Channel>>>,
    idle_timeout: Duration,
}

impl Server {
    /// A server to which a connection is made when it is called.
    pub(super) fn new(grpc: &config::Grpc) -> Self {
        Self {
            peer: Arc::new(Peer {
                address: grpc.address.clone(),
                key: "source",
                auth: grpc.auth.clone(),
            }),
            channel: Arc::default(),
            idle_timeout: grpc.idle_timeout,
        }
    }

    /// Its table in the configuration.
    pub(super) fn key(&self) -> &'static str {
        self.peer.key
    }

    /// A connection to the server; made unless there is one.
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let known = self.channel.lock().await.clone();
        match known {
            Some(channel) => Ok(channel),
            // Not under the lock: each partition has to learn by itself that the server is away.
            None => {
                let new = self.peer.connect().await?;
                Ok(self.channel.lock().await.get_or_insert(new).clone())
            }
        }
    }

    /// Sends an encoded request; connects first, unless there is a connection.
    pub(super) async fn call(&self, call: Call, request: Bytes) -> Result<Answers, Failure> {
        let channel = self.connect().await?;
        // A server may send its headers only with the first message.
        self.within(
            "an answer",
            Answers::open(&self.peer, channel, call, request),
        )
        .await
    }

    /// Waits for the server, at most `source.idle_timeout`. The log says so when it takes long.
    pub(super) async fn within<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let idle = self.idle_timeout;
        let silent = SILENT.min(idle / 2);
        tokio::pin!(answer);
        if let Ok(answer) = timeout(silent, &mut answer).await {
            return answer;
        }
        let (after, most) = (words(silent), words(idle));
        let address = &self.peer.address;
        tracing::warn!(
            source = %address,
            "the source is silent: waiting for {what} since {after}, for at most {most} (`source.idle_timeout`)"
        );
        match timeout(idle.saturating_sub(silent), answer).await {
            Ok(answer) => answer,
            Err(_) => Err(
                Failure::away(format!("silent for {most}, with {what} to come"))
                    .hint("if it needs longer between two chunks, raise `source.idle_timeout`"),
            ),
        }
    }

    /// A failure of this server.
    pub(super) fn error(&self, failure: Failure) -> SourceError {
        SourceError {
            address: self.peer.address.clone(),
            failure: self.peer.without_token(failure),
        }
    }

    /// As [`Self::error`]; the next call connects anew.
    pub(super) async fn failed(&self, failure: Failure) -> SourceError {
        self.channel.lock().await.take();
        self.error(failure)
    }
}

fn words(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}
