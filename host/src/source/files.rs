//! Files: each is a partition, and a position is how far it was read.
//!
//! Files are read on threads of their own, a few chunks ahead. What a position belongs to is
//! recognised: a file that has changed since is read from its start, and one that is gone is an
//! error with its name.

mod find;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use self::find::find;
use super::dataset::{Dataset, FileFormat, Format};
use super::error::SourceError;
use super::failure::{Failure, Kind};
use super::file_rows::FileRows;
use super::units::{Chunk, Units};
use crate::files::{Begin, Bounds, FileError, Outline, Position, Reader, look};
use crate::{config, files};

/// Files that are read at once: each holds a few chunks beside what is in flight.
pub(super) const SIDE_BY_SIDE: usize = 4;
/// Chunks that are read ahead of each file.
const AHEAD: usize = 2;
/// Bytes beyond which a chunk gets no more rows, as a fraction (1/16) of `limits.in_flight`.
const SHARE: usize = 16;
/// Files without a schema of their own that are looked at.
const LOOKED_AT: usize = 10;

/// Files that are read side by side.
#[derive(Debug, Clone)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::Files,
    limits: config::Limits,
    format: OnceLock<Arc<FileFormat>>,
}

impl Files {
    pub(super) fn new(config: &config::Files, limits: config::Limits) -> Self {
        Self(Arc::new(Inner {
            config: config.clone(),
            limits,
            format: OnceLock::new(),
        }))
    }

    /// Finds the files, and what columns they have.
    pub(super) async fn dataset(&self) -> Result<Dataset, SourceError> {
        let this = self.clone();
        let described = spawn_blocking(move || this.describe()).await;
        let dataset = described.unwrap_or_else(|error| Err(panicked(&self.names(), &error)))?;
        if let Format::File(format) = &dataset.format {
            self.0.format.get_or_init(|| Arc::clone(format));
        }
        Ok(dataset)
    }

    fn names(&self) -> String {
        self.0.config.patterns.join(", ")
    }

    fn refused(&self, message: impl AsRef<str>, hint: &str) -> SourceError {
        SourceError {
            address: self.names(),
            failure: Failure::fatal(message).hint(hint),
        }
    }

    fn describe(&self) -> Result<Dataset, SourceError> {
        let Inner { config, limits, .. } = &*self.0;
        let partitions = find(config).map_err(|failure| SourceError {
            address: self.names(),
            failure,
        })?;
        if partitions.is_empty() {
            let hint = "correct `source.files`, which is relative to the configuration";
            return Err(self.refused("no file matches", hint));
        }
        if partitions.len() > limits.partitions {
            let message = format!(
                "{} files match; `limits.partitions` allows {}",
                partitions.len(),
                limits.partitions
            );
            return Err(self.refused(message, "raise `limits.partitions`, or write larger files"));
        }
        let (outline, row_count) = self.look_at(&partitions)?;
        let schema = outline.schema(&config.overrides);
        let (key, key_kind, schema) =
            schema.map_err(|(message, hint)| self.refused(message, &hint))?;
        let columns = schema.columns.len() + schema.embeddings.len();
        if columns > limits.fields {
            let message = format!(
                "{columns} columns; `limits.fields` allows {}",
                limits.fields
            );
            return Err(self.refused(message, "raise `limits.fields` if the files are right"));
        }
        Ok(Dataset {
            format: Format::File(Arc::new(FileFormat {
                schema: schema.clone(),
                key,
                key_kind,
            })),
            schema,
            kinds: Vec::new(),
            partitions,
            row_count,
            continues: false,
        })
    }

    /// The columns of all files, and the number of their rows if all say it.
    fn look_at(&self, partitions: &[String]) -> Result<(Outline, Option<u64>), SourceError> {
        let (mut outline, mut rows, mut looked_at) = (Outline::default(), Some(0), 0);
        for name in partitions {
            let path = self.0.config.directory.join(name);
            let kind = files::Kind::of(&path).map_err(|error| failed(name, error))?;
            if kind.is_lines() {
                rows = None;
                looked_at += 1;
                if looked_at > LOOKED_AT {
                    continue;
                }
            }
            let (found, number) = look(&path).map_err(|error| failed(name, error))?;
            rows = rows.zip(number).map(|(rows, more)| rows + more);
            outline.merge(found).map_err(|message| SourceError {
                address: name.clone(),
                failure: Failure::fatal(message)
                    .hint("files of a dataset have the same columns; a type is declared in `source.fields`"),
            })?;
        }
        Ok((outline, rows))
    }

    /// Opens a file after `position`.
    pub(super) async fn open(
        &self,
        partition: &str,
        position: &str,
        max_chunk_rows: u32,
    ) -> Result<Chunks, SourceError> {
        let format = match self.0.format.get() {
            Some(format) => Arc::clone(format),
            None => match self.dataset().await?.format {
                Format::File(format) => format,
                Format::Row | Format::Messages(_) => Arc::default(),
            },
        };
        let after = parse(partition, position)?;
        let bounds = Bounds {
            rows: max_chunk_rows as usize,
            bytes: self.0.limits.in_flight / SHARE,
            row: self.0.limits.row,
        };
        let path = self.0.config.directory.join(partition);
        let name = partition.to_owned();
        let opened = spawn_blocking(move || open(&path, &name, after.as_ref(), bounds)).await;
        let reader = opened.unwrap_or_else(|error| Err(panicked(partition, &error)))?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let name = partition.to_owned();
        spawn_blocking(move || read(reader, &name, &format, &sender));
        Ok(Chunks {
            partition: partition.to_owned(),
            receiver,
        })
    }
}

/// The position that a text stands for; `None` for the start.
fn parse(partition: &str, position: &str) -> Result<Option<Position>, SourceError> {
    if position.is_empty() {
        return Ok(None);
    }
    let parsed = Position::parse(position);
    parsed.map(Some).ok_or_else(|| {
        let mut failure = Failure::fatal("the position of the last run is none in a file");
        failure.is_refusal = true;
        SourceError {
            address: partition.to_owned(),
            failure,
        }
    })
}

fn open(
    path: &Path,
    name: &str,
    after: Option<&Position>,
    bounds: Bounds,
) -> Result<Reader, SourceError> {
    let opened = Reader::open(path, after, bounds);
    let (reader, begin) = opened.map_err(|error| failed(name, error))?;
    if begin == Begin::Changed {
        let rows = after.map_or(0, |position| position.row);
        tracing::warn!(
            file = name,
            rows,
            "the file has changed since the run has read some of its rows; it is read from its start"
        );
    }
    Ok(reader)
}

type Next = Result<Option<Chunk>, SourceError>;

/// Reads a file to its end, or until nobody takes its chunks.
fn read(mut reader: Reader, name: &str, format: &Arc<FileFormat>, sender: &mpsc::Sender<Next>) {
    loop {
        let next = reader.next_chunk().map_err(|error| failed(name, error));
        let next = next.map(|chunk| {
            chunk.map(|(rows, position)| Chunk {
                units: Units::File(FileRows::new(rows, format)),
                position: position.to_text(),
            })
        });
        let is_over = !matches!(next, Ok(Some(_)));
        if sender.blocking_send(next).is_err() || is_over {
            return;
        }
    }
}

fn failed(name: &str, error: FileError) -> SourceError {
    let kind = match error.may_pass {
        true => Kind::Away,
        false => Kind::Final,
    };
    let failure = Failure::new(kind, error.message);
    // An array beside the file, for example.
    let address = match Path::new(&error.path).file_name() == Path::new(name).file_name() {
        true => name.to_owned(),
        false => error.path,
    };
    SourceError {
        address,
        failure: match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
    }
}

/// The error of a library that has panicked.
fn panicked(name: &str, error: &dyn std::fmt::Display) -> SourceError {
    SourceError {
        address: name.to_owned(),
        failure: Failure::fatal(format!("cannot be read: {error}"))
            .hint("the file is damaged in a way that no reader expects; write it again"),
    }
}

/// The chunks of a file, in order.
#[derive(Debug)]
pub struct Chunks {
    partition: String,
    receiver: mpsc::Receiver<Next>,
}

impl Chunks {
    /// The next chunk. Cancel-safe.
    pub(super) async fn next(&mut self) -> Next {
        let next = self.receiver.recv().await;
        next.unwrap_or_else(|| Err(panicked(&self.partition, &"its panic is on stderr")))
    }
}
