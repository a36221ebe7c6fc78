//! The transports: how rows come in, and what a position is.
//!
//! A transport says what a dataset has, and yields the chunks of a partition after a position. What
//! the rows of a chunk are made of concerns the dataset's [`Format`](super::Format) alone.

use super::Dataset;
use super::error::SourceError;
use super::files::Files;
use super::method::Method;
use super::native::Native;
use super::units::Chunk;
use super::{files, method, native};
use crate::config;

/// The source of a pipeline.
#[derive(Debug, Clone)]
pub enum Source {
    /// A server that speaks `forebay.v1`.
    Native(Native),
    /// Files.
    Files(Files),
    /// A server with a proto of its own.
    Method(Box<Method>),
}

/// The chunks of a partition, in order.
#[derive(Debug)]
pub enum Chunks {
    /// From a server that speaks `forebay.v1`.
    Native(Box<native::Chunks>),
    /// From a file.
    File(files::Chunks),
    /// From a server with a proto of its own.
    Method(Box<method::Chunks>),
}

impl Source {
    /// Makes a source, which connects when it is used.
    #[must_use]
    pub fn new(source: &config::Source, limits: config::Limits) -> Self {
        match &source.transport {
            config::Transport::Grpc(grpc) => match &grpc.method {
                None => Self::Native(Native::new(grpc, &source.dataset, limits)),
                Some(method) => Self::Method(Box::new(Method::new(grpc, method, limits))),
            },
            config::Transport::Files(files) => Self::Files(Files::new(files, limits)),
        }
    }

    /// Requests the description of the dataset.
    ///
    /// # Errors
    /// If the source is away, has no such dataset, or its description is invalid.
    pub async fn dataset(&self) -> Result<Dataset, SourceError> {
        match self {
            Self::Native(native) => native.dataset().await,
            Self::Method(method) => method.dataset().await,
            Self::Files(files) => files.dataset().await,
        }
    }

    /// Number of partitions that are read side by side.
    #[must_use]
    pub fn side_by_side(&self) -> usize {
        match self {
            Self::Native(_) | Self::Method(_) => usize::MAX,
            Self::Files(_) => files::SIDE_BY_SIDE,
        }
    }

    /// Opens a partition after `position`; an empty one is the beginning.
    ///
    /// # Errors
    /// If the source is away or refuses the position.
    pub async fn open(
        &self,
        partition: &str,
        position: &str,
        max_chunk_rows: u32,
    ) -> Result<Chunks, SourceError> {
        match self {
            Self::Native(native) => {
                let chunks = native.open(partition, position, max_chunk_rows);
                chunks.await.map(Box::new).map(Chunks::Native)
            }
            Self::Files(files) => {
                let chunks = files.open(partition, position, max_chunk_rows);
                chunks.await.map(Chunks::File)
            }
            Self::Method(method) => {
                let chunks = method.open(position, max_chunk_rows);
                Ok(Chunks::Method(Box::new(chunks.await?)))
            }
        }
    }
}

impl Chunks {
    /// The next chunk that moves the position; `None` when there is nothing more for now.
    /// Cancel-safe.
    ///
    /// # Errors
    /// If the source went away, is silent for too long, or violated its protocol.
    pub async fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        match self {
            Self::Native(chunks) => chunks.next().await,
            Self::File(chunks) => chunks.next().await,
            Self::Method(chunks) => chunks.next().await,
        }
    }
}
