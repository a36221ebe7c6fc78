//! The client of one embedding server, and the stream of a partition's chunks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::answers::{Answers, Call, Encoded, garbled, message};
use super::channel::Peer;
use super::dataset::{Dataset, describe};
use super::error::SourceError;
use super::failure::Failure;
use super::position::{Position, Step};
use super::wire;
use super::wire::Unusable;
use crate::printable::printable;
use crate::{config, proto};

/// Maximum size of a resume token, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// Maximum size of the list of datasets, in bytes; what gRPC allows by default.
const MAX_LIST_BYTES: usize = 4 << 20;

/// Number of datasets that a message about an unknown one names.
const MAX_NAMES: usize = 20;

/// Time after which the log says that a source is silent.
const SILENT: Duration = Duration::from_secs(60);

/// A client of one embedding server.
#[derive(Debug, Clone)]
pub struct Source {
    peer: Arc<Peer>,
    /// The connection that streams share, until a call fails.
    channel: Arc<Mutex<Option<Channel>>>,
    limits: config::Limits,
    idle_timeout: Duration,
}

/// A message of which nothing but the name of a dataset is read.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// `forebay.v1.ListDatasetsResponse`, with each dataset as its bytes: only one is looked at.
#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    datasets: Vec<Bytes>,
}

impl Source {
    /// Makes a client, which connects when it is used.
    #[must_use]
    pub fn new(source: &config::Source, limits: config::Limits) -> Self {
        Self {
            peer: Arc::new(Peer {
                address: source.grpc.clone(),
                key: "source",
                auth: source.auth.clone(),
            }),
            channel: Arc::default(),
            limits,
            idle_timeout: source.idle_timeout,
        }
    }

    /// Requests the description of a dataset.
    ///
    /// # Errors
    /// If the server is away, has no such dataset, or its description is invalid.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, SourceError> {
        let call = Call {
            path: "/forebay.v1.EmbeddingSourceService/ListDatasets",
            key: self.peer.key,
            max_bytes: MAX_LIST_BYTES,
            limit: "forebay.v1.ListDatasetsResponse",
        };
        let listed = async {
            let mut answers = self.call(call, &proto::ListDatasetsRequest {}).await?;
            let listed = self.within("an answer", answers.next(message::<Listed>));
            let listed = listed.await?.ok_or_else(|| garbled("no response"))?;
            find(name, listed)
        };
        match listed.await {
            Ok(dataset) => describe(dataset, &self.limits).map_err(|fault| {
                let message = format!("dataset `{name}`: {}", fault.message);
                let failure = Failure::fatal(message);
                self.error(match fault.hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                })
            }),
            Err(failure) => Err(self.failed(failure).await),
        }
    }

    /// Opens the stream of chunks after `position`.
    ///
    /// # Errors
    /// If the server is away or refuses the position.
    pub async fn open(
        &self,
        dataset: &str,
        partition: &str,
        position: &str,
        max_chunk_rows: u32,
    ) -> Result<Chunks, SourceError> {
        let request = proto::StreamChunksRequest {
            dataset: dataset.to_owned(),
            partition: partition.to_owned(),
            resume_token: position.to_owned(),
            max_chunk_rows,
        };
        let call = Call {
            path: "/forebay.v1.EmbeddingSourceService/StreamChunks",
            key: self.peer.key,
            max_bytes: self.limits.chunk,
            limit: "limits.chunk",
        };
        match self.call(call, &request).await {
            Ok(answers) => Ok(Chunks {
                source: self.clone(),
                answers,
                max_chunk_rows: max_chunk_rows as usize,
                sequence: 0,
                position: Position::new(position),
            }),
            Err(failure) => Err(self.failed(failure).await),
        }
    }

    /// Sends a request; connects first, unless there is a connection.
    async fn call(&self, call: Call, request: &impl Message) -> Result<Answers, Failure> {
        let known = self.channel.lock().await.clone();
        let channel = match known {
            Some(channel) => channel,
            // Not under the lock: each partition has to learn by itself that the server is away.
            None => {
                let new = self.peer.connect().await?;
                self.channel.lock().await.get_or_insert(new).clone()
            }
        };
        // A server may send its headers only with the first message.
        self.within(
            "an answer",
            Answers::open(&self.peer, channel, call, request),
        )
        .await
    }

    /// Waits for the server, at most `source.idle_timeout`. The log says so when it takes long.
    async fn within<T>(
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

    fn error(&self, failure: Failure) -> SourceError {
        SourceError {
            address: self.peer.address.clone(),
            failure,
        }
    }

    /// As [`Self::error`]; the next call connects anew.
    async fn failed(&self, failure: Failure) -> SourceError {
        self.channel.lock().await.take();
        self.error(failure)
    }
}

fn words(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}

/// The dataset of this name.
fn find(name: &str, listed: Listed) -> Result<proto::Dataset, Failure> {
    let garbled = |error: prost::DecodeError| garbled(format!("cannot decode a dataset: {error}"));
    let mut names = Vec::new();
    let others = listed.datasets.len();
    for dataset in listed.datasets {
        let found = Named::decode(dataset.clone()).map_err(garbled)?.name;
        if found == name {
            return proto::Dataset::decode(dataset).map_err(garbled);
        }
        if names.len() < MAX_NAMES {
            names.push(printable(&found).into_owned());
        }
    }
    let more = match others - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = names.join(", ");
    let message = format!("no dataset `{name}`; available: {names}{more}");
    Err(Failure::fatal(message).hint("correct `source.dataset`"))
}

/// The chunks of a partition, in order.
#[derive(Debug)]
pub struct Chunks {
    source: Source,
    answers: Answers,
    max_chunk_rows: usize,
    sequence: u64,
    position: Position,
}

impl Chunks {
    /// The next chunk that moves the position; `None` when there is nothing more for now.
    /// Cancel-safe.
    ///
    /// # Errors
    /// If the server went away, is silent for too long, or violated the protocol.
    pub async fn next(&mut self) -> Result<Option<wire::Chunk>, SourceError> {
        let source = self.source.clone();
        match source.within("a chunk", self.moving()).await {
            Ok(chunk) => Ok(chunk),
            Err(failure) => Err(source.failed(failure).await),
        }
    }

    async fn moving(&mut self) -> Result<Option<wire::Chunk>, Failure> {
        loop {
            let most = self.max_chunk_rows;
            let decode =
                |encoded: Encoded<'_>| wire::chunk(encoded, most).map_err(|it| unusable(it, most));
            let Some(chunk) = self.answers.next(decode).await? else {
                return Ok(None);
            };
            self.sequence += 1;
            if chunk.sequence != self.sequence {
                return Err(Failure::fatal(format!(
                    "sent chunk {}, expected chunk {}",
                    chunk.sequence, self.sequence
                )));
            }
            let token = &chunk.resume_token;
            if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
                let message = "sent a chunk whose resume token is empty or larger than 4 KiB";
                return Err(Failure::fatal(message));
            }
            match self.position.step(token) {
                Step::Forward => return Ok(Some(chunk)),
                // A sign of life, and no progress.
                Step::Still if chunk.rows.is_empty() => {}
                Step::Still => return Err(standing(&chunk, "as the chunk before")),
                Step::Back(ago) => {
                    return Err(standing(&chunk, &format!("as the chunk {ago} before")));
                }
            }
        }
    }
}

/// The position of a chunk does not move.
fn standing(chunk: &wire::Chunk, when: &str) -> Failure {
    let (rows, token) = (chunk.rows.len(), printable(&chunk.resume_token));
    Failure::fatal(format!(
        "sent {rows} rows with the same resume token {when}, `{token}`: its position does not move"
    ))
    .hint("the token of a chunk has to stand for the position after its last row")
}

fn unusable(what: Unusable, max_rows: usize) -> Failure {
    match what {
        Unusable::Garbled(error) => garbled(format!("cannot decode a response: {error}")),
        Unusable::TooManyRows => Failure::fatal(format!(
            "sent more than {max_rows} rows in a chunk; at most {max_rows} were requested"
        ))
        .hint("the server has to obey `max_chunk_rows` of its request, which `source.chunk_rows` sets"),
        Unusable::Empty => Failure::fatal("sent a response without a chunk"),
    }
}
