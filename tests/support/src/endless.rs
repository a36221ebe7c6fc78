//! A source that has rows for as long as the test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use forebay::demo::running::Running;
use forebay::proto::embedding_source_service_server::{
    EmbeddingSourceService, EmbeddingSourceServiceServer,
};
use forebay::proto::{
    Dataset, Delivery, Embedding, Field, FieldType, ListDatasetsRequest, ListDatasetsResponse,
    StreamChunksRequest, StreamChunksResponse,
};
use forebay::source::wire::Chunk;
use futures_util::stream;
use futures_util::stream::{BoxStream, StreamExt};
use tonic::{Request, Response, Status};

use crate::{RowBuilder, anywhere, rows};

/// Rows of a chunk. Row `n` is in chunk `(n - 1) / CHUNK`.
pub const CHUNK: u64 = 60;

/// Rows numbered from 1, in chunks of [`CHUNK`], until it is told to end.
pub struct Endless {
    running: Running,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    pause: Duration,
    delivery: Delivery,
    ended: AtomicBool,
    sent: AtomicU64,
}

impl Endless {
    /// With a pause before each chunk.
    pub fn start(pause: Duration) -> Self {
        Self::delivering(Delivery::Snapshot, pause)
    }

    /// As [`Endless::start`], as a feed of changes.
    pub fn feed(pause: Duration) -> Self {
        Self::delivering(Delivery::Changes, pause)
    }

    fn delivering(delivery: Delivery, pause: Duration) -> Self {
        let state = State {
            pause,
            delivery,
            ..State::default()
        };
        let state = Arc::new(state);
        let service = EmbeddingSourceServiceServer::new(Server(Arc::clone(&state)));
        let router = tonic::transport::Server::builder().add_service(service);
        Self {
            running: Running::start("endless-source", anywhere(), router).unwrap(),
            state,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.running.url()
    }

    /// What is sent next is the last chunk.
    pub fn end(&self) {
        self.state.ended.store(true, Ordering::SeqCst);
    }

    /// Begins anew: for the next run.
    pub fn again(&self) {
        self.state.ended.store(false, Ordering::SeqCst);
    }

    /// Rows sent in all.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

struct Server(Arc<State>);

#[tonic::async_trait]
impl EmbeddingSourceService for Server {
    type StreamChunksStream = BoxStream<'static, Result<StreamChunksResponse, Status>>;

    async fn list_datasets(
        &self,
        _request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        let field = |name: &str, field_type: FieldType| Field {
            name: name.to_owned(),
            r#type: field_type.into(),
        };
        let dataset = Dataset {
            name: "rows".to_owned(),
            fields: vec![field("number", FieldType::Integer)],
            embeddings: vec![Embedding {
                name: "vector".to_owned(),
                dimensions: 2,
            }],
            partitions: Vec::new(),
            row_count: None,
            delivery: self.0.delivery.into(),
        };
        Ok(Response::new(ListDatasetsResponse {
            datasets: vec![dataset],
        }))
    }

    async fn stream_chunks(
        &self,
        request: Request<StreamChunksRequest>,
    ) -> Result<Response<Self::StreamChunksStream>, Status> {
        let state = Arc::clone(&self.0);
        let first: u64 = request.into_inner().resume_token.parse().unwrap_or(0);
        let pause = state.pause;
        let chunks = stream::iter(first..)
            .then(move |chunk| async move {
                tokio::time::sleep(pause).await;
                chunk
            })
            .take_while(move |_| {
                let goes_on = !state.ended.load(Ordering::SeqCst);
                state
                    .sent
                    .fetch_add(CHUNK * u64::from(goes_on), Ordering::SeqCst);
                std::future::ready(goes_on)
            })
            .map(move |chunk| {
                let numbers = chunk * CHUNK + 1..=(chunk + 1) * CHUNK;
                let numbers = numbers.map(|number| i64::try_from(number).unwrap());
                let chunk = Chunk {
                    rows: rows(numbers).into_iter().map(RowBuilder::encode).collect(),
                    resume_token: (chunk + 1).to_string(),
                    sequence: chunk - first + 1,
                };
                Ok(StreamChunksResponse { chunk: Some(chunk) })
            });
        Ok(Response::new(chunks.boxed()))
    }
}
