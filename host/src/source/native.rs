//! The own protocol: a server of `forebay.v1`, and the stream of a partition's chunks.

use bytes::Bytes;
use prost::Message;

use super::answers::{Answers, Call, Encoded, garbled, message};
use super::dataset::{Dataset, describe};
use super::error::SourceError;
use super::failure::Failure;
use super::position::{Position, Step};
use super::server::Server;
use super::units::{Chunk, Units};
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

/// A dataset of a server that speaks `forebay.v1`.
#[derive(Debug, Clone)]
pub struct Native {
    server: Server,
    dataset: String,
    limits: config::Limits,
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

impl Native {
    pub(super) fn new(grpc: &config::Grpc, dataset: &str, limits: config::Limits) -> Self {
        Self {
            server: Server::new(grpc),
            dataset: dataset.to_owned(),
            limits,
        }
    }

    /// Requests the description of the dataset.
    pub(super) async fn dataset(&self) -> Result<Dataset, SourceError> {
        let name = &self.dataset;
        let call = Call {
            path: "/forebay.v1.EmbeddingSourceService/ListDatasets".into(),
            key: self.server.key(),
            max_bytes: MAX_LIST_BYTES,
            limit: "forebay.v1.ListDatasetsResponse",
        };
        let listed = async {
            let mut answers = self.server.call(call, Bytes::new()).await?;
            let listed = answers.next(message::<Listed>);
            let listed = self.server.within("an answer", listed);
            let listed = listed.await?.ok_or_else(|| garbled("no response"))?;
            find(name, listed)
        };
        match listed.await {
            Ok(dataset) => describe(dataset, &self.limits).map_err(|fault| {
                let message = format!("dataset `{name}`: {}", fault.message);
                let failure = Failure::fatal(message);
                self.server.error(match fault.hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                })
            }),
            Err(failure) => Err(self.server.failed(failure).await),
        }
    }

    /// Opens the stream of chunks after `position`.
    pub(super) async fn open(
        &self,
        partition: &str,
        position: &str,
        max_chunk_rows: u32,
    ) -> Result<Chunks, SourceError> {
        let request = proto::StreamChunksRequest {
            dataset: self.dataset.clone(),
            partition: partition.to_owned(),
            resume_token: position.to_owned(),
            max_chunk_rows,
        };
        let call = Call {
            path: "/forebay.v1.EmbeddingSourceService/StreamChunks".into(),
            key: self.server.key(),
            max_bytes: self.limits.chunk,
            limit: "limits.chunk",
        };
        match self.server.call(call, request.encode_to_vec().into()).await {
            Ok(answers) => Ok(Chunks {
                server: self.server.clone(),
                answers,
                max_chunk_rows: max_chunk_rows as usize,
                sequence: 0,
                position: Position::new(position),
            }),
            Err(failure) => Err(self.server.failed(failure).await),
        }
    }
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
    server: Server,
    answers: Answers,
    max_chunk_rows: usize,
    sequence: u64,
    position: Position,
}

impl Chunks {
    /// The next chunk that moves the position. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        let server = self.server.clone();
        let chunk = match server.within("a chunk", self.moving()).await {
            Ok(chunk) => chunk,
            Err(failure) => return Err(server.failed(failure).await),
        };
        Ok(chunk.map(|chunk| Chunk {
            units: Units::Messages(chunk.rows),
            position: chunk.resume_token,
        }))
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
