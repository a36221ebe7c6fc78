//! The client of one embedding server, and the stream of a partition's chunks.

use tonic::Status;
use tonic::transport::Channel;

use super::answers::Answers;
use super::channel::connect;
use super::dataset::{Dataset, describe};
use super::error::SourceError;
use super::wire;
use crate::proto::embedding_source_service_client::EmbeddingSourceServiceClient;
use crate::{config, proto};

/// Maximum size of a resume token, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// A client of one embedding server.
#[derive(Debug, Clone)]
pub struct Source {
    address: String,
    channel: Channel,
    max_chunk_bytes: usize,
}

impl Source {
    /// Makes a client, which connects when it is used.
    ///
    /// # Errors
    /// If the address is invalid.
    pub fn new(source: &config::Source, limits: config::Limits) -> Result<Self, SourceError> {
        let address = source.grpc.clone();
        match connect(&address) {
            Ok(channel) => Ok(Self {
                address,
                channel,
                max_chunk_bytes: limits.chunk,
            }),
            Err(cause) => Err(SourceError::Address { address, cause }),
        }
    }

    /// Requests the description of a dataset.
    ///
    /// # Errors
    /// If the server is away, has no such dataset, or its description is invalid.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, SourceError> {
        let mut client = EmbeddingSourceServiceClient::new(self.channel.clone());
        let answer = client.list_datasets(proto::ListDatasetsRequest {}).await;
        let datasets = answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .datasets;
        let names: Vec<&str> = datasets
            .iter()
            .map(|dataset| dataset.name.as_str())
            .collect();
        let unknown = format!("no dataset `{name}`; available: {}", names.join(", "));
        let dataset = datasets.into_iter().find(|dataset| dataset.name == name);
        let dataset = dataset.ok_or_else(|| self.unusable(unknown))?;
        describe(dataset).map_err(|message| self.unusable(format!("dataset `{name}`: {message}")))
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
        let path = "/forebay.v1.EmbeddingSourceService/StreamChunks";
        let answers = Answers::open(self.channel.clone(), path, &request, self.max_chunk_bytes);
        let answers = answers.await.map_err(|status| self.failed(status))?;
        Ok(Chunks {
            source: self.clone(),
            answers,
            max_chunk_rows: max_chunk_rows as usize,
            sequence: 0,
        })
    }

    fn unusable(&self, message: String) -> SourceError {
        SourceError::Unusable {
            address: self.address.clone(),
            message,
        }
    }

    fn failed(&self, status: Status) -> SourceError {
        SourceError::failed_call(self.address.clone(), status)
    }
}

/// The chunks of a partition, in order.
#[derive(Debug)]
pub struct Chunks {
    source: Source,
    answers: Answers,
    max_chunk_rows: usize,
    sequence: u64,
}

impl Chunks {
    /// The next chunk; `None` when there is nothing more for now.
    ///
    /// # Errors
    /// If the server went away, or violated the protocol.
    pub async fn next(&mut self) -> Result<Option<wire::Chunk>, SourceError> {
        let answer = self.answers.next::<proto::StreamChunksResponse>().await;
        let answer = answer.map_err(|status| self.source.failed(status))?;
        let Some(response) = answer else {
            return Ok(None);
        };
        let Some(chunk) = response.chunk else {
            return Err(self
                .source
                .unusable("sent a response without a chunk".into()));
        };
        self.sequence += 1;
        if chunk.sequence != self.sequence {
            let message = format!(
                "sent chunk {}, expected chunk {}",
                chunk.sequence, self.sequence
            );
            return Err(self.source.unusable(message));
        }
        if chunk.rows.len() > self.max_chunk_rows {
            let message = format!(
                "sent {} rows; at most {} were requested",
                chunk.rows.len(),
                self.max_chunk_rows
            );
            return Err(self.source.unusable(message));
        }
        if chunk.resume_token.is_empty() || chunk.resume_token.len() > MAX_TOKEN_BYTES {
            return Err(self
                .source
                .unusable("sent a chunk whose resume token is empty or larger than 4 KiB".into()));
        }
        Ok(Some(chunk))
    }
}
