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
use tonic::{Request, Response, Status};

use crate::anywhere;

/// What the source says. A resume token is the number of chunks before it.
#[derive(Clone, Debug)]
pub struct Script {
    dataset: Dataset,
    /// The chunks of each partition, as encoded rows.
    pub chunks: BTreeMap<String, Vec<Vec<Bytes>>>,
    /// Chunks that are left out of the count, by their place in a stream.
    pub skip_sequence_at: Option<u64>,
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
        }
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
        let script = Arc::new(Mutex::new(self));
        let taken = Arc::new(AtomicU64::new(0));
        let service = EmbeddingSourceServiceServer::new(Server {
            script: Arc::clone(&script),
            taken: Arc::clone(&taken),
        });
        let router = tonic::transport::Server::builder().add_service(service);
        let running = Running::start("scripted-source", anywhere(), router).unwrap();
        Scripted {
            running,
            script,
            taken,
        }
    }
}

/// A source at work.
pub struct Scripted {
    running: Running,
    script: Arc<Mutex<Script>>,
    taken: Arc<AtomicU64>,
}

impl Scripted {
    /// The most chunks that were taken from it in one stream.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
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
        let url = self.running.url();
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
        let request = request.into_inner();
        let script = self.script.lock().unwrap().clone();
        let before = request.resume_token.parse().unwrap_or(0);
        let chunks = script.chunks.get(&request.partition).cloned();
        let answers = chunks
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .skip(before);
        let taken = Arc::clone(&self.taken);
        let answers = (1..).zip(answers).map(move |(place, (index, rows))| {
            taken.fetch_max(place, Ordering::SeqCst);
            let skipped = script.skip_sequence_at.is_some_and(|skip| place >= skip);
            let chunk = Chunk {
                rows,
                resume_token: (index + 1).to_string(),
                sequence: place + u64::from(skipped),
            };
            Ok(StreamChunksResponse { chunk: Some(chunk) })
        });
        Ok(Response::new(stream::iter(answers).boxed()))
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
