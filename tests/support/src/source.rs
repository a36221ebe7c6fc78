//! A source that says what it is told to: any rows, in any chunks, with any sequence.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use forebay::demo::running::Running;
use forebay::proto::embedding_source_service_server::{
    EmbeddingSourceService, EmbeddingSourceServiceServer,
};
use forebay::proto::value::Kind;
use forebay::proto::vector::Elements;
use forebay::proto::{
    Dataset, Delivery, Embedding, Field, FieldType, ListDatasetsRequest, ListDatasetsResponse, Row,
    StreamChunksRequest, StreamChunksResponse, Texts, Value, Vector,
};
use forebay::source::wire::Chunk;
use futures_util::stream;
use futures_util::stream::{BoxStream, StreamExt};
use prost::Message;
use tonic::service::interceptor::InterceptedService;
use tonic::transport;
use tonic::transport::server::Router;
use tonic::{Code, Request, Response, Status};

use crate::{Security, anywhere};

/// What the source says. A resume token is the number of chunks before it.
#[derive(Clone, Debug)]
pub struct Script {
    /// How the dataset is described.
    pub dataset: Dataset,
    /// The chunks of each partition, as encoded rows.
    pub chunks: BTreeMap<String, Vec<Vec<Bytes>>>,
    /// Chunks that are left out of the count, by their place in a stream.
    pub skip_sequence_at: Option<u64>,
    /// How streams go on after so many chunks, instead of with the next one.
    pub then: Option<(u64, Then)>,
    /// Makes the resume token of the chunk at a place, which is its number otherwise.
    pub token: fn(usize) -> String,
}

/// How a stream goes on.
#[derive(Clone, Debug)]
pub enum Then {
    /// It ends with this status.
    Fail(Code, &'static str),
    /// Nothing more comes, and it does not end.
    Silence,
}

impl Script {
    /// A dataset named `rows` with one embedding `vector` of `dimensions`, and these fields.
    pub fn new(dimensions: u32, fields: &[(&str, FieldType)]) -> Self {
        let field = |(name, field_type): &(&str, FieldType)| Field {
            name: (*name).to_owned(),
            r#type: (*field_type).into(),
        };
        let vector = Embedding {
            name: "vector".to_owned(),
            dimensions,
        };
        let dataset = Dataset {
            name: "rows".to_owned(),
            fields: fields.iter().map(field).collect(),
            embeddings: vec![vector],
            partitions: Vec::new(),
            row_count: None,
            delivery: Delivery::Snapshot.into(),
        };
        Self {
            dataset,
            chunks: BTreeMap::new(),
            skip_sequence_at: None,
            then: None,
            token: |place| place.to_string(),
        }
    }

    /// Changes how the dataset is described.
    pub fn described(mut self, change: impl FnOnce(&mut Dataset)) -> Self {
        change(&mut self.dataset);
        self
    }

    /// Each stream goes on like this after so many chunks.
    pub fn then(mut self, chunks: u64, then: Then) -> Self {
        self.then = Some((chunks, then));
        self
    }

    /// Makes the resume token of the chunk at a place, from 1 on.
    pub fn token(mut self, token: fn(usize) -> String) -> Self {
        self.token = token;
        self
    }

    /// One more embedding.
    pub fn embedding(mut self, name: &str, dimensions: u32) -> Self {
        let name = name.to_owned();
        self.dataset.embeddings.push(Embedding { name, dimensions });
        self
    }

    /// Delivers changes from run to run.
    pub fn changes(mut self) -> Self {
        self.dataset.delivery = Delivery::Changes.into();
        self
    }

    /// Says how many rows it has.
    pub fn counting(mut self, rows: u64) -> Self {
        self.dataset.row_count = Some(rows);
        self
    }

    /// One more chunk of the only partition.
    pub fn chunk(self, rows: impl IntoIterator<Item = RowBuilder>) -> Self {
        self.raw_chunk("", rows.into_iter().map(RowBuilder::encode).collect())
    }

    /// One more chunk of a named partition.
    pub fn partition(mut self, name: &str, rows: impl IntoIterator<Item = RowBuilder>) -> Self {
        if !self.dataset.partitions.iter().any(|known| known == name) {
            self.dataset.partitions.push(name.to_owned());
        }
        self.raw_chunk(name, rows.into_iter().map(RowBuilder::encode).collect())
    }

    /// One more chunk, of rows that are encoded already.
    pub fn raw_chunk(mut self, partition: &str, rows: Vec<Bytes>) -> Self {
        self.chunks
            .entry(partition.to_owned())
            .or_default()
            .push(rows);
        self
    }

    /// Starts to listen.
    pub fn serve(self) -> Scripted {
        self.serve_with(|mut server, service| server.add_service(service))
    }

    /// Starts to listen, over TLS and only to clients that are known.
    pub fn serve_secured(self, security: &Security) -> Scripted {
        let (tls, door) = (security.tls(), security.door());
        let mut scripted = self.serve_with(|server, service| {
            let service = InterceptedService::new(service, door);
            server.tls_config(tls).unwrap().add_service(service)
        });
        scripted.scheme = "https";
        scripted
    }

    fn serve_with(
        self,
        route: impl FnOnce(transport::Server, EmbeddingSourceServiceServer<Server>) -> Router,
    ) -> Scripted {
        let script = Arc::new(Mutex::new(self));
        let (taken, opened, requests) = (Arc::default(), Arc::default(), Arc::default());
        let service = EmbeddingSourceServiceServer::new(Server {
            script: Arc::clone(&script),
            taken: Arc::clone(&taken),
            opened: Arc::clone(&opened),
            requests: Arc::clone(&requests),
        });
        let router = route(transport::Server::builder(), service);
        let running = Running::start("scripted-source", anywhere(), router).unwrap();
        Scripted {
            running,
            scheme: "http",
            script,
            taken,
            opened,
            requests,
        }
    }
}

/// A source at work.
pub struct Scripted {
    running: Running,
    scheme: &'static str,
    script: Arc<Mutex<Script>>,
    taken: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<StreamChunksRequest>>>,
}

impl Scripted {
    /// The positions at which streams were opened.
    pub fn positions(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let requests = requests.iter();
        requests.map(|it| it.resume_token.clone()).collect()
    }

    /// The most rows that a stream was asked to send in a chunk.
    pub fn asked(&self) -> u32 {
        let requests = self.requests.lock().unwrap();
        let asked = requests.iter().map(|it| it.max_chunk_rows).max();
        asked.unwrap_or_default()
    }

    /// The most chunks that were taken from it in one stream.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Number of streams that were opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.running.address())
    }

    /// Changes what it says from now on.
    pub fn change(&self, change: impl FnOnce(Script) -> Script) {
        let mut script = self.script.lock().unwrap();
        *script = change(script.clone());
    }

    /// A pipeline that streams from here without plugins; `more` is appended to it.
    pub fn pipeline(&self, tables: &[&str], more: &str) -> String {
        self.pipeline_with(tables, "plugins = []", 300, more)
    }

    /// As [`Scripted::pipeline`], with plugins and a size of chunks.
    pub fn pipeline_with(
        &self,
        tables: &[&str],
        plugins: &str,
        chunk_rows: u32,
        more: &str,
    ) -> String {
        let url = self.url();
        format!(
            r#"
            [pipelines.rows]
            source = {{ grpc = "{url}", dataset = "rows", chunk_rows = {chunk_rows} }}
            {plugins}
            tables = {tables:?}
            {more}"#
        )
    }
}

struct Server {
    script: Arc<Mutex<Script>>,
    taken: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<StreamChunksRequest>>>,
}

#[tonic::async_trait]
impl EmbeddingSourceService for Server {
    type StreamChunksStream = BoxStream<'static, Result<StreamChunksResponse, Status>>;

    async fn list_datasets(
        &self,
        _request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        let datasets = vec![self.script.lock().unwrap().dataset.clone()];
        Ok(Response::new(ListDatasetsResponse { datasets }))
    }

    async fn stream_chunks(
        &self,
        request: Request<StreamChunksRequest>,
    ) -> Result<Response<Self::StreamChunksStream>, Status> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let request = request.into_inner();
        self.requests.lock().unwrap().push(request.clone());
        let script = self.script.lock().unwrap().clone();
        let before = request.resume_token.parse().unwrap_or(0);
        let chunks = script.chunks.get(&request.partition).cloned();
        let answers = chunks
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .skip(before);
        let script_then = script.then.clone();
        let taken = Arc::clone(&self.taken);
        let answers = (1..).zip(answers).map(move |(place, (index, rows))| {
            taken.fetch_max(place, Ordering::SeqCst);
            let skipped = script.skip_sequence_at.is_some_and(|skip| place >= skip);
            let chunk = Chunk {
                rows,
                resume_token: (script.token)(index + 1),
                sequence: place + u64::from(skipped),
            };
            Ok(StreamChunksResponse { chunk: Some(chunk) })
        });
        let answers = stream::iter(answers);
        Ok(Response::new(match script_then {
            None => answers.boxed(),
            Some((chunks, then)) => {
                let more = match then {
                    Then::Fail(code, message) => {
                        stream::iter([Err(Status::new(code, message))]).boxed()
                    }
                    Then::Silence => stream::pending().boxed(),
                };
                let chunks = usize::try_from(chunks).unwrap();
                answers.take(chunks).chain(more).boxed()
            }
        }))
    }
}

/// A row with `vector` = (number, 1, 1, …).
#[derive(Clone, Debug)]
pub struct RowBuilder(Row);

/// A row with a key and a vector.
pub fn row(key: &str, vector: &[f32]) -> RowBuilder {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|element| element.to_le_bytes())
        .collect();
    let row = Row {
        key: key.to_owned(),
        ..Row::default()
    };
    RowBuilder(row).elements(Elements::F32(bytes.into()))
}

/// Rows with consecutive integer keys, an integer `number` that is the key, and two dimensions.
pub fn rows(keys: impl IntoIterator<Item = i64>) -> Vec<RowBuilder> {
    let make =
        |key: i64| row(&key.to_string(), &[key as f32, 1.0]).set("number", Kind::Integer(key));
    keys.into_iter().map(make).collect()
}

/// A row that says that the row with this key is gone.
pub fn tombstone(key: &str) -> RowBuilder {
    RowBuilder(Row {
        key: key.to_owned(),
        deleted: true,
        ..Row::default()
    })
}

impl RowBuilder {
    /// With this value of a field.
    pub fn set(mut self, field: &str, kind: Kind) -> Self {
        let value = Value { kind: Some(kind) };
        self.0.fields.insert(field.to_owned(), value);
        self
    }

    /// With a text.
    pub fn text(self, field: &str, text: &str) -> Self {
        self.set(field, Kind::Text(text.to_owned()))
    }

    /// With no value for this field.
    pub fn without(mut self, field: &str) -> Self {
        self.0.fields.remove(field);
        self
    }

    /// With null for this field.
    pub fn null(mut self, field: &str) -> Self {
        let value = Value { kind: None };
        self.0.fields.insert(field.to_owned(), value);
        self
    }

    /// Without an embedding.
    pub fn without_embedding(mut self, name: &str) -> Self {
        self.0.embeddings.remove(name);
        self
    }

    /// One more embedding.
    pub fn vector(mut self, name: &str, vector: &[f32]) -> Self {
        let elements = vector.iter().flat_map(|element| element.to_le_bytes());
        let vector = Vector {
            elements: Some(Elements::F32(elements.collect::<Vec<u8>>().into())),
        };
        self.0.embeddings.insert(name.to_owned(), vector);
        self
    }

    /// With a list of texts.
    pub fn texts<'t>(self, field: &str, texts: impl IntoIterator<Item = &'t str>) -> Self {
        let values = texts.into_iter().map(str::to_owned).collect();
        self.set(field, Kind::Texts(Texts { values }))
    }

    /// With a JSON text.
    pub fn json(self, field: &str, json: &str) -> Self {
        self.set(field, Kind::Json(json.to_owned()))
    }

    /// With these elements of the embedding `vector`.
    pub fn elements(mut self, elements: Elements) -> Self {
        let vector = Vector {
            elements: Some(elements),
        };
        self.0.embeddings.insert("vector".to_owned(), vector);
        self
    }

    /// As it goes over the wire.
    pub fn encode(self) -> Bytes {
        self.0.encode_to_vec().into()
    }
}
