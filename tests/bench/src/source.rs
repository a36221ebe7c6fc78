//! The source of all runs, in a process of its own: its rows are encoded before the first is
//! asked for. So it takes nothing from the host's CPU time, and as little as it can from the
//! machine's.

pub(crate) mod dirt;
pub(crate) mod parquet;
pub(crate) mod rows;
mod serve;

use std::process::Stdio;

use anyhow::Context;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) use rows::{Shape, Wire};
pub(crate) use serve::serve;

/// The dataset of the first generation.
pub(crate) const FIRST: &str = "recruit";
/// The same in which some rows differ.
pub(crate) const CHANGED: &str = "changed";

/// The process of a source. It ends with its standard input, so with this process.
pub(crate) struct Source {
    pub(crate) shape: Shape,
    /// Over TCP.
    pub(crate) url: String,
    /// Over a Unix socket.
    pub(crate) unix_url: String,
    /// Of the process.
    pub(crate) pid: u32,
    _process: Child,
    _directory: TempDir,
}

impl Source {
    /// Starts this program as a source, and waits for its address.
    pub(crate) async fn start(shape: Shape) -> anyhow::Result<Self> {
        Self::start_with(shape, &[]).await
    }

    /// The same, with datasets that have rows which the database refuses.
    pub(crate) async fn start_dirty(shape: Shape) -> anyhow::Result<Self> {
        Self::start_with(shape, &["--dirt"]).await
    }

    async fn start_with(shape: Shape, more: &[&str]) -> anyhow::Result<Self> {
        // The path of a socket has 107 bytes at most.
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("source");
        let mut process = Command::new(std::env::current_exe()?)
            .arg("source")
            .args(arguments(shape))
            .args(more)
            .arg("--socket")
            .arg(&socket)
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
            shape,
            url,
            unix_url: format!("unix:{}", socket.display()),
            pid: process.id().context("the source has ended")?,
            _process: process,
            _directory: directory,
        })
    }
}

/// A shape as a child of this program takes it.
pub(crate) fn arguments(shape: Shape) -> [String; 3] {
    [
        format!("--rows={}", shape.rows),
        format!("--dimensions={}", shape.dimensions),
        format!("--wire={}", shape.wire.name()),
    ]
}
