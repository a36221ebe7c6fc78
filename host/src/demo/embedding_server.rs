//! A sample embedding server: serves a [`Dataset`] as a snapshot.
//!
//! A chunk is generated when gRPC's flow control asks for it, so that at most one chunk is ahead
//! of the client, for any size of the dataset. A resume token is `row:` and the index of the next
//! row. Streams can be made to break, to test how clients react.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream;
use futures_util::stream::{BoxStream, StreamExt};
use tonic::{Request, Response, Status};

use super::dataset;
use super::dataset::{Dataset, posting};
use super::running::{Running, ServerError, WINDOW_BYTES};
use crate::proto;
use crate::proto::embedding_source_service_server::{
    EmbeddingSourceService, EmbeddingSourceServiceServer,
};
use crate::proto::{
    Delivery, Embedding, ListDatasetsRequest, ListDatasetsResponse, StreamChunksRequest,
    StreamChunksResponse,
};
use crate::source::wire::Chunk;

/// Prefix of the resume tokens of this server.
const TOKEN_PREFIX: &str = "row:";

/// Serves a dataset on `address`; port 0 selects a free one.
///
/// # Errors
/// If the address cannot be bound, or no thread can be started.
pub fn start(dataset: Arc<Dataset>, address: SocketAddr) -> Result<Running, ServerError> {
    start_breaking(dataset, address, [])
}

/// As [`start`], but the n-th stream breaks with status UNAVAILABLE after the n-th number of chunks
/// in `breaks_after`. Streams beyond its length do not break.
///
/// # Errors
/// As for [`start`].
pub fn start_breaking(
    dataset: Arc<Dataset>,
    address: SocketAddr,
    breaks_after: impl IntoIterator<Item = u64>,
) -> Result<Running, ServerError> {
    let breaks_after = Mutex::new(breaks_after.into_iter().collect());
    let service = EmbeddingSourceServiceServer::new(Server {
        dataset,
        breaks_after,
    });
    let router = tonic::transport::Server::builder()
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(service);
    Running::start("embedding-server", address, router)
}

/// The description of the dataset in the server's list.
#[must_use]
pub fn description(dataset: &Dataset) -> proto::Dataset {
    let vector = Embedding {
        name: dataset::EMBEDDING.to_owned(),
        dimensions: dataset.dimensions() as u32,
    };
    proto::Dataset {
        name: dataset::NAME.to_owned(),
        fields: posting::fields(),
        embeddings: vec![vector],
        partitions: Vec::new(),
        row_count: Some(dataset.rows()),
        delivery: Delivery::Snapshot.into(),
    }
}

struct Server {
    dataset: Arc<Dataset>,
    breaks_after: Mutex<VecDeque<u64>>,
}

#[tonic::async_trait]
impl EmbeddingSourceService for Server {
    type StreamChunksStream = BoxStream<'static, Result<StreamChunksResponse, Status>>;

    async fn list_datasets(
        &self,
        _request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        Ok(Response::new(ListDatasetsResponse {
            datasets: vec![description(&self.dataset)],
        }))
    }

    async fn stream_chunks(
        &self,
        request: Request<StreamChunksRequest>,
    ) -> Result<Response<Self::StreamChunksStream>, Status> {
        let request = request.into_inner();
        let next_row = self.check(&request)?;
        let breaks_after = self
            .breaks_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let chunks = Chunks {
            dataset: Arc::clone(&self.dataset),
            chunk_rows: u64::from(request.max_chunk_rows),
            next_row,
            sequence: 0,
            breaks_after,
        };
        // gRPC ends a stream with the first error.
        Ok(Response::new(stream::iter(chunks).boxed()))
    }
}

impl Server {
    /// The index of the first row that a request asks for.
    fn check(&self, request: &StreamChunksRequest) -> Result<u64, Status> {
        if request.dataset != dataset::NAME || !request.partition.is_empty() {
            let StreamChunksRequest {
                dataset, partition, ..
            } = request;
            return Err(Status::not_found(format!(
                "unknown dataset {dataset:?} or partition {partition:?}"
            )));
        }
        if request.max_chunk_rows == 0 {
            return Err(Status::invalid_argument(
                "max_chunk_rows is 0; it must be at least 1",
            ));
        }
        if request.resume_token.is_empty() {
            return Ok(0);
        }
        let row = request.resume_token.strip_prefix(TOKEN_PREFIX);
        row.and_then(|row| row.parse().ok())
            .filter(|row| *row <= self.dataset.rows())
            .ok_or_else(|| {
                let token = &request.resume_token;
                Status::invalid_argument(format!("{token:?} is not a resume token of this server"))
            })
    }
}

/// The chunks of a stream, generated lazily.
struct Chunks {
    dataset: Arc<Dataset>,
    chunk_rows: u64,
    next_row: u64,
    /// Sequence number of the last chunk.
    sequence: u64,
    breaks_after: Option<u64>,
}

impl Iterator for Chunks {
    type Item = Result<StreamChunksResponse, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next_row >= self.dataset.rows() {
            return None;
        }
        if self.breaks_after == Some(self.sequence) {
            return Some(Err(Status::unavailable(
                "the stream was made to break here",
            )));
        }
        let end = self.dataset.rows().min(self.next_row + self.chunk_rows);
        let rows = self.dataset.encode(self.next_row..end);
        self.next_row = end;
        self.sequence += 1;
        let resume_token = format!("{TOKEN_PREFIX}{end}");
        let chunk = Chunk {
            rows,
            resume_token,
            sequence: self.sequence,
        };
        Some(Ok(StreamChunksResponse { chunk: Some(chunk) }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use tonic::Code;
    use tonic::transport::Channel;

    use super::*;
    use crate::proto::embedding_source_service_client::EmbeddingSourceServiceClient;

    type Client = EmbeddingSourceServiceClient<Channel>;

    const ROWS: u64 = 905;

    async fn serve(breaks_after: &[u64]) -> (Running, Client, Arc<Dataset>) {
        let dataset = Arc::new(Dataset::new(ROWS, 16).unwrap());
        let anywhere = ([127, 0, 0, 1], 0).into();
        let breaks_after = breaks_after.iter().copied();
        let running = start_breaking(Arc::clone(&dataset), anywhere, breaks_after).unwrap();
        let client = Client::connect(running.url()).await.unwrap();
        (running, client, dataset)
    }

    fn request(resume_token: &str) -> StreamChunksRequest {
        StreamChunksRequest {
            dataset: dataset::NAME.to_owned(),
            partition: String::new(),
            resume_token: resume_token.to_owned(),
            max_chunk_rows: 100,
        }
    }

    /// The chunks from a position on, and the end of the stream.
    async fn pull(client: &mut Client, resume_token: &str) -> (Vec<Chunk>, Result<(), Status>) {
        let mut chunks = Vec::new();
        let mut stream = client
            .stream_chunks(request(resume_token))
            .await
            .unwrap()
            .into_inner();
        loop {
            match stream.message().await {
                Ok(Some(response)) => chunks.push(response.chunk.unwrap()),
                Ok(None) => return (chunks, Ok(())),
                Err(status) => return (chunks, Err(status)),
            }
        }
    }

    fn rows(chunks: &[Chunk]) -> Vec<Bytes> {
        chunks.iter().flat_map(|chunk| chunk.rows.clone()).collect()
    }

    #[tokio::test]
    async fn all_rows_come_in_order() {
        let (running, mut client, dataset) = serve(&[]).await;
        let (chunks, end) = pull(&mut client, "").await;
        end.unwrap();
        assert_eq!(rows(&chunks), dataset.encode(0..ROWS));
        let sizes: Vec<_> = chunks.iter().map(|chunk| chunk.rows.len()).collect();
        assert_eq!(sizes, [100, 100, 100, 100, 100, 100, 100, 100, 100, 5]);
        let sequences: Vec<_> = chunks.iter().map(|chunk| chunk.sequence).collect();
        assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
        assert!(running.stop().unwrap() > std::time::Duration::ZERO);
    }

    #[tokio::test]
    async fn every_token_resumes_where_its_chunk_ended() {
        let (_running, mut client, dataset) = serve(&[]).await;
        let (chunks, _) = pull(&mut client, "").await;
        let mut next_row = 0;
        for chunk in &chunks {
            next_row += chunk.rows.len() as u64;
            let (rest, end) = pull(&mut client, &chunk.resume_token).await;
            end.unwrap();
            assert_eq!(rows(&rest), dataset.encode(next_row..ROWS));
        }
    }

    #[tokio::test]
    async fn a_stream_breaks_where_it_is_told_to_and_can_be_resumed() {
        let (_running, mut client, dataset) = serve(&[3, 0]).await;
        let (mut chunks, end) = pull(&mut client, "").await;
        assert_eq!(
            (chunks.len(), end.unwrap_err().code()),
            (3, Code::Unavailable)
        );
        let token = chunks.last().unwrap().resume_token.clone();
        let (none, end) = pull(&mut client, &token).await;
        assert_eq!(
            (none.len(), end.unwrap_err().code()),
            (0, Code::Unavailable)
        );
        let (rest, end) = pull(&mut client, &token).await;
        end.unwrap();
        chunks.extend(rest);
        assert_eq!(rows(&chunks), dataset.encode(0..ROWS));
    }

    #[tokio::test]
    async fn wrong_requests_are_told_apart() {
        let (_running, mut client, _dataset) = serve(&[]).await;
        let elsewhere = StreamChunksRequest {
            dataset: "other".to_owned(),
            ..request("")
        };
        let apart = StreamChunksRequest {
            partition: "p0".to_owned(),
            ..request("")
        };
        let empty = StreamChunksRequest {
            max_chunk_rows: 0,
            ..request("")
        };
        for (request, code) in [
            (elsewhere, Code::NotFound),
            (apart, Code::NotFound),
            (empty, Code::InvalidArgument),
            (request("row:"), Code::InvalidArgument),
            (request("row:906"), Code::InvalidArgument),
            (request("300"), Code::InvalidArgument),
        ] {
            let status = client.stream_chunks(request.clone()).await.unwrap_err();
            assert_eq!(status.code(), code, "{request:?}");
        }
    }

    #[tokio::test]
    async fn the_dataset_is_described_as_it_is() {
        let (_running, mut client, dataset) = serve(&[]).await;
        let datasets = client
            .list_datasets(ListDatasetsRequest {})
            .await
            .unwrap()
            .into_inner();
        let described = datasets.datasets.first().unwrap();
        assert_eq!(described.row_count, Some(ROWS));
        assert_eq!(described.delivery(), Delivery::Snapshot);
        let declared = |name: &String| described.fields.iter().any(|field| field.name == *name);
        for row in (0..ROWS).filter(|row| dataset.dirt(*row).is_none()) {
            assert!(dataset.row(row).fields.keys().all(declared));
        }
    }
}
