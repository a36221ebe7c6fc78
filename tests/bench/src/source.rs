//! The source of all runs: the clean rows of the example's dataset, encoded before the first is
//! asked for, in a process of its own. So it takes nothing from the host's CPU time, and as
//! little as it can from the machine's.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use forebay::demo::dataset::Dataset;
use forebay::demo::{embedding_server, running::Running};
use forebay::proto::embedding_source_service_server::{
    EmbeddingSourceService, EmbeddingSourceServiceServer,
};
use forebay::proto::{
    self, ListDatasetsRequest, ListDatasetsResponse, StreamChunksRequest, StreamChunksResponse,
};
use forebay::source::wire::Chunk;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child as Process, Command};
use tonic::{Request, Response, Status};

/// The window of the sample servers: a chunk fits.
const WINDOW_BYTES: u32 = 4 << 20;

/// The first rows of the dataset in which nothing is wrong, encoded.
pub(crate) fn clean_rows(rows: usize, dimensions: usize) -> anyhow::Result<Vec<Bytes>> {
    // One row in forty is dirty.
    let more = rows as u64 + rows as u64 / 10 + 100;
    let dataset = Dataset::new(more, dimensions)?;
    let clean: Vec<Bytes> = (0..more)
        .filter(|index| dataset.dirt(*index).is_none())
        .flat_map(|index| dataset.encode(index..index + 1))
        .take(rows)
        .collect();
    ensure!(
        clean.len() == rows,
        "the dataset has only {} clean rows",
        clean.len()
    );
    Ok(clean)
}

/// Says its address on standard output and serves until standard input ends.
pub(crate) fn serve(rows: usize, dimensions: usize) -> anyhow::Result<()> {
    let mut description = embedding_server::description(&Dataset::new(rows as u64, dimensions)?);
    description.row_count = Some(rows as u64);
    let server = EmbeddingSourceServiceServer::new(Server {
        description,
        rows: clean_rows(rows, dimensions)?.into(),
    });
    let router = tonic::transport::Server::builder()
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(server);
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let running = Running::start("bench-source", anywhere, router)?;
    println!("{}", running.url());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    running.stop()?;
    Ok(())
}

struct Server {
    description: proto::Dataset,
    rows: Arc<[Bytes]>,
}

#[tonic::async_trait]
impl EmbeddingSourceService for Server {
    type StreamChunksStream = BoxStream<'static, Result<StreamChunksResponse, Status>>;

    async fn list_datasets(
        &self,
        _request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        Ok(Response::new(ListDatasetsResponse {
            datasets: vec![self.description.clone()],
        }))
    }

    /// Always from the first row: every run is a first one.
    async fn stream_chunks(
        &self,
        request: Request<StreamChunksRequest>,
    ) -> Result<Response<Self::StreamChunksStream>, Status> {
        let chunk_rows = request.into_inner().max_chunk_rows.max(1) as usize;
        let rows = Arc::clone(&self.rows);
        let chunks = (0..rows.len()).step_by(chunk_rows).zip(1..);
        let chunks = chunks.map(move |(begin, sequence)| {
            let end = (begin + chunk_rows).min(rows.len());
            let chunk = Chunk {
                rows: rows.get(begin..end).unwrap_or_default().to_vec(),
                resume_token: format!("row:{end}"),
                sequence,
            };
            Ok(StreamChunksResponse { chunk: Some(chunk) })
        });
        Ok(Response::new(stream::iter(chunks).boxed()))
    }
}

/// The process of a source. It ends with its standard input, so with this process.
pub(crate) struct Child {
    url: String,
    _process: Process,
}

impl Child {
    /// Starts this program as a source, and waits for its address.
    pub(crate) async fn start(rows: usize, dimensions: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["source", &rows.to_string(), &dimensions.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the source")?;
        let stdout = process.stdout.take().context("the source has no output")?;
        let url = BufReader::new(stdout)
            .lines()
            .next_line()
            .await?
            .context("the source ended before it had an address")?;
        Ok(Self {
            url,
            _process: process,
        })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A pipeline that streams from here into the example's tables.
    pub(crate) fn pipeline(url: &str, plugins: &[String]) -> String {
        format!(
            r#"
[pipelines.recruit]
source = {{ grpc = "{url}", dataset = "recruit" }}
plugins = {plugins:?}
tables = ["recruit_metadata", "recruit_embedding"]
"#
        )
    }
}
