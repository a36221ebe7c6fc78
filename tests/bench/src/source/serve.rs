//! The process that serves: on TCP and on a Unix socket, from one thread.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;
use forebay::proto;
use forebay::proto::embedding_source_service_server::{
    EmbeddingSourceService, EmbeddingSourceServiceServer,
};
use forebay::proto::{
    ListDatasetsRequest, ListDatasetsResponse, StreamChunksRequest, StreamChunksResponse,
};
use forebay::source::wire::Chunk;
use futures_util::stream;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Request, Response, Status};

use super::dirt::Dirt;
use super::rows::{Rows, Shape};
use super::{CHANGED, FIRST};

/// The window of the sample servers: a chunk fits.
const WINDOW_BYTES: u32 = 4 << 20;

/// Says its address on standard output and serves until standard input ends.
pub(crate) async fn serve(shape: Shape, dirt: bool, socket: &Path) -> anyhow::Result<()> {
    let server = Server::new(shape, dirt)?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let unix = UnixListenerStream::new(UnixListener::bind(socket)?);
    println!("http://{}", tcp.local_addr()?);
    std::io::stdout().flush()?;
    let tcp = TcpIncoming::from(tcp).with_nodelay(Some(true));
    tokio::select! {
        served = server.router().serve_with_incoming(tcp) => served?,
        served = server.router().serve_with_incoming(unix) => served?,
        _ = end_of_input() => {}
    }
    Ok(())
}

fn end_of_input() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        // An error is an end as well, and nobody may be waiting for it any more.
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        ended.send(()).ok();
    });
    end
}

#[derive(Clone)]
struct Server {
    datasets: Arc<[(proto::Dataset, Rows)]>,
}

impl Server {
    fn new(shape: Shape, dirt: bool) -> anyhow::Result<Self> {
        let dataset = Dataset::new(shape.rows as u64, shape.dimensions)?;
        let mut description = embedding_server::description(&dataset);
        description.row_count = Some(shape.rows as u64);
        let described = |name: &str| proto::Dataset {
            name: name.to_owned(),
            ..description.clone()
        };
        let rows = Rows::first(shape)?;
        let mut datasets = vec![(described(FIRST), rows.clone())];
        if rows.is_made() {
            datasets.push((described(CHANGED), rows.second(shape)?));
        }
        for dirt in Dirt::all().filter(|_| dirt) {
            datasets.push((described(&dirt.dataset()), rows.spoiled(shape, dirt)?));
        }
        Ok(Self {
            datasets: datasets.into(),
        })
    }

    fn router(&self) -> Router {
        tonic::transport::Server::builder()
            .initial_connection_window_size(WINDOW_BYTES)
            .add_service(EmbeddingSourceServiceServer::new(self.clone()))
    }
}

#[tonic::async_trait]
impl EmbeddingSourceService for Server {
    type StreamChunksStream = BoxStream<'static, Result<StreamChunksResponse, Status>>;

    async fn list_datasets(
        &self,
        _request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        let datasets = self.datasets.iter();
        Ok(Response::new(ListDatasetsResponse {
            datasets: datasets.map(|(described, _)| described.clone()).collect(),
        }))
    }

    /// Always from the first row: every run is a first one.
    async fn stream_chunks(
        &self,
        request: Request<StreamChunksRequest>,
    ) -> Result<Response<Self::StreamChunksStream>, Status> {
        let request = request.into_inner();
        let mut datasets = self.datasets.iter();
        let dataset = datasets.find(|(described, _)| described.name == request.dataset);
        let (_, rows) = dataset.ok_or_else(|| Status::not_found("no such dataset"))?;
        let (rows, chunk_rows) = (rows.clone(), request.max_chunk_rows.max(1) as usize);
        let chunks = (0..rows.len()).step_by(chunk_rows).zip(1..);
        let chunks = chunks.map(move |(begin, sequence)| {
            let end = (begin + chunk_rows).min(rows.len());
            let chunk = Chunk {
                rows: (begin..end).map(|place| rows.at(place)).collect(),
                resume_token: format!("row:{end}"),
                sequence,
            };
            Ok(StreamChunksResponse { chunk: Some(chunk) })
        });
        Ok(Response::new(stream::iter(chunks).boxed()))
    }
}
