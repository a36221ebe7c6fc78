//! The source: an embedding server that is asked, over gRPC, for the chunks after a position.
//!
//! Received buffers are shared, not copied, all the way to the tables. Back pressure is gRPC's
//! own: a chunk that is not taken from the stream is not asked for.

mod answers;
pub mod wire;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::Status;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use self::answers::Answers;
use crate::proto::embedding_source_service_client::EmbeddingSourceServiceClient;
use crate::row::{Column, EmbeddingColumn, FieldType, Schema};
use crate::{config, proto};

/// How much a stream may send ahead. The default of 64 KiB would cost a round trip for every
/// ten rows of 1536 dimensions.
const STREAM_WINDOW: u32 = 4 << 20;

/// How much of it may come in one piece. In pieces of the usual 16 KiB, framing and reading cost
/// more than the rows.
const FRAME: u32 = 256 << 10;

/// pgvector stores vectors of up to 16,000 elements.
const MAX_DIMENSIONS: u32 = 16_000;

/// Why the source gave no rows.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not there, or gone: worth trying again.
    #[error("source {address} is away: {message}")]
    Away {
        /// As configured.
        address: String,
        /// What the transport or the server said.
        message: String,
    },
    /// It answered, and the answer will not change by asking again.
    #[error("source {address}: {message}")]
    Refused {
        /// As configured.
        address: String,
        /// What is wrong.
        message: String,
    },
}

/// A client of one embedding server.
#[derive(Debug, Clone)]
pub struct Source {
    address: String,
    channel: Channel,
    max_chunk_bytes: usize,
}

/// A dataset, as its server describes it.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its fields and embeddings.
    pub schema: Schema,
    /// At least one; the empty string where the dataset has no partitions.
    pub partitions: Vec<String>,
    /// Rows in all partitions, where known.
    pub row_count: Option<u64>,
    /// Whether a new run goes on where the last one ended, instead of reading all again.
    pub continues: bool,
}

/// A channel to `address` (`http://`, `https://` or `unix:/path`) that connects when it is used.
///
/// # Errors
/// If the address is none.
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
        // A peer that vanished without a word is noticed within half a minute.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(2 * STREAM_WINDOW)
}

impl Source {
    /// A client; connects when it is used.
    ///
    /// # Errors
    /// If the address is none.
    pub fn new(source: &config::Source, limits: config::Limits) -> Result<Self, SourceError> {
        let address = source.grpc.clone();
        match connect(&address) {
            Ok(channel) => Ok(Self {
                address,
                channel,
                max_chunk_bytes: limits.chunk,
            }),
            Err(error) => Err(SourceError::Refused {
                address,
                message: error.to_string(),
            }),
        }
    }

    /// Asks for a dataset's description.
    ///
    /// # Errors
    /// If the server is away, has no such dataset, or describes one that cannot be.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, SourceError> {
        let mut client = EmbeddingSourceServiceClient::new(self.channel.clone());
        let answer = client.list_datasets(proto::ListDatasetsRequest {}).await;
        let datasets = answer
            .map_err(|status| self.failed(&status))?
            .into_inner()
            .datasets;
        let names: Vec<&str> = datasets
            .iter()
            .map(|dataset| dataset.name.as_str())
            .collect();
        let unknown = format!("no dataset `{name}`; it has: {}", names.join(", "));
        let dataset = datasets.into_iter().find(|dataset| dataset.name == name);
        let dataset = dataset.ok_or_else(|| self.refused(unknown))?;
        describe(dataset).map_err(|message| self.refused(format!("dataset `{name}`: {message}")))
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
        let answers = answers.await.map_err(|status| self.failed(&status))?;
        Ok(Chunks {
            source: self.clone(),
            answers,
            max_chunk_rows: max_chunk_rows as usize,
            sequence: 0,
        })
    }

    fn away(&self, message: String) -> SourceError {
        SourceError::Away {
            address: self.address.clone(),
            message,
        }
    }

    fn refused(&self, message: String) -> SourceError {
        SourceError::Refused {
            address: self.address.clone(),
            message,
        }
    }

    /// NOT_FOUND, INVALID_ARGUMENT and their like are final, as the protocol says; a message
    /// over the limit is too.
    fn failed(&self, status: &Status) -> SourceError {
        use tonic::Code;
        let message = format!("{}: {}", status.code().description(), status.message());
        match status.code() {
            Code::NotFound
            | Code::InvalidArgument
            | Code::Unimplemented
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::OutOfRange => self.refused(message),
            _ => self.away(message),
        }
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
    /// If the server went away, or broke the protocol.
    pub async fn next(&mut self) -> Result<Option<wire::Chunk>, SourceError> {
        let answer = self.answers.next::<proto::StreamChunksResponse>().await;
        let answer = answer.map_err(|status| self.source.failed(&status))?;
        let Some(response) = answer else {
            return Ok(None);
        };
        let Some(chunk) = response.chunk else {
            return Err(self.source.refused("sent an answer without a chunk".into()));
        };
        self.sequence += 1;
        if chunk.sequence != self.sequence {
            let message = format!(
                "sent chunk {} where {} was due",
                chunk.sequence, self.sequence
            );
            return Err(self.source.refused(message));
        }
        if chunk.rows.len() > self.max_chunk_rows {
            let message = format!(
                "sent {} rows, {} at most were asked for",
                chunk.rows.len(),
                self.max_chunk_rows
            );
            return Err(self.source.refused(message));
        }
        if chunk.resume_token.is_empty() || chunk.resume_token.len() > 4096 {
            return Err(self
                .source
                .refused("sent a chunk whose resume token is empty or over 4 KiB".into()));
        }
        Ok(Some(chunk))
    }
}

fn describe(dataset: proto::Dataset) -> Result<Dataset, String> {
    let mut names = std::collections::HashSet::new();
    let mut unique = |name: &str| match names.insert(name.to_owned()) {
        true if !name.is_empty() => Ok(()),
        _ => Err(format!("the name `{name}` is empty or used twice")),
    };
    let mut schema = Schema::default();
    for field in dataset.fields {
        unique(&field.name)?;
        let field_type = match field.r#type() {
            proto::FieldType::Unspecified => {
                return Err(format!("field `{}` has no known type", field.name));
            }
            proto::FieldType::Boolean => FieldType::Boolean,
            proto::FieldType::Integer => FieldType::Integer,
            proto::FieldType::Real => FieldType::Real,
            proto::FieldType::Text => FieldType::Text,
            proto::FieldType::Binary => FieldType::Binary,
            proto::FieldType::Timestamp => FieldType::Timestamp,
            proto::FieldType::Texts => FieldType::Texts,
            proto::FieldType::Json => FieldType::Json,
        };
        schema.columns.push(Column {
            name: field.name,
            field_type: Some(field_type),
        });
    }
    for embedding in dataset.embeddings {
        unique(&embedding.name)?;
        if !(1..=MAX_DIMENSIONS).contains(&embedding.dimensions) {
            return Err(format!(
                "embedding `{}` has {} dimensions",
                embedding.name, embedding.dimensions
            ));
        }
        let dimensions = embedding.dimensions as usize;
        schema.embeddings.push(EmbeddingColumn {
            name: embedding.name,
            dimensions,
        });
    }
    let continues = dataset.delivery == i32::from(proto::Delivery::Changes);
    let mut partitions = dataset.partitions;
    if partitions.is_empty() {
        partitions.push(String::new());
    }
    Ok(Dataset {
        schema,
        partitions,
        row_count: dataset.row_count,
        continues,
    })
}

/// An error with its causes, which tonic keeps out of its own text.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
