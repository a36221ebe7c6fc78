//! The ceiling: the same rows into the same tables by binary `COPY`, from a loop that does
//! nothing else. A process of its own, so that its CPU time can be told.
//!
//! It knows every row to be new and good, keeps no checkpoint and no digest, and has encoded all
//! it sends before the clock starts. So nothing that loads these tables in transactions of 300
//! rows, over as many connections, should be faster.

mod copy;
mod encode;

use std::process::Stdio;

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::source::{Shape, arguments};

pub(crate) use copy::copy;

/// Rows of a transaction: as many as the host takes when nobody says otherwise.
pub(crate) const CHUNK_ROWS: usize = 300;

/// The type of the column that takes the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Column {
    Vector,
    Halfvec,
}

impl Column {
    /// As SQL, tables and arguments name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Halfvec => "halfvec",
        }
    }
}

/// What is to be copied, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct Copy {
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[arg(long, value_enum)]
    pub(crate) column: Column,
    /// Each takes its share of the chunks
    #[arg(long)]
    pub(crate) connections: usize,
    /// Statements after the last commit, which count
    #[arg(long, default_value = "")]
    pub(crate) then: String,
}

/// What it took, from before the first `COPY` to after the last commit.
#[derive(Clone, std::marker::Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) seconds: f64,
    /// Of this process.
    pub(crate) cpu_seconds: f64,
    /// The statements after the last commit.
    pub(crate) then_seconds: f64,
}

/// Starts this program as the loop, and waits for its end.
pub(crate) async fn run(url: &str, copy: &Copy) -> anyhow::Result<Took> {
    let output = Command::new(std::env::current_exe()?)
        .args(["copy", "--url", url])
        .args(arguments(copy.shape))
        .arg(format!("--column={}", copy.column.name()))
        .arg(format!("--connections={}", copy.connections))
        .arg(format!("--then={}", copy.then))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await?;
    ensure!(output.status.success(), "the bare COPY failed");
    serde_json::from_slice(&output.stdout).context("the bare COPY said something else")
}
