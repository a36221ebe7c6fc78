//! A server with a proto of its own: one method, which streams messages or returns pages.
//!
//! A position is what the server's own field said, or the key of the last row. Where a call returns
//! a page, it is that of the next page, or the end. Nothing here knows what is in a row but the
//! key, where that is the position.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::answers::{Answers, Call, Encoded, garbled};
use super::dataset::{Dataset, Format};
use super::error::SourceError;
use super::failure::Failure;
use super::position::{Position, Step};
use super::reflection;
use super::server::Server;
use super::units::{Chunk, Units};
use crate::config;
use crate::message::{self, Found, Plan, PositionFrom, Problem};
use crate::printable::printable;
use crate::row::Schema;

/// Maximum size of a position, in bytes.
const MAX_POSITION_BYTES: usize = 4096;

/// Position after the last page, and what stands before the position of any other.
const END: &str = "end";
const PAGE: &str = "page:";

/// A method of a server with a proto of its own.
#[derive(Debug, Clone)]
pub struct Method {
    server: Server,
    config: config::Method,
    limits: config::Limits,
    compiled: OnceCell<(Arc<Plan>, Schema)>,
}

/// The chunks of a method, in order.
#[derive(Debug)]
pub struct Chunks {
    server: Server,
    plan: Arc<Plan>,
    max_bytes: usize,
    max_chunk_rows: u32,
    answers: Option<Answers>,
    /// A page whose status has not come yet.
    held: Option<Found>,
    /// Position with which the next page is called for; `None` at the end.
    page: Option<String>,
    /// The position after the last chunk.
    after: String,
    position: Position,
    /// Chunks of a message that has several kinds of rows, the last one first.
    waiting: Vec<Chunk>,
}

impl Method {
    pub(super) fn new(
        grpc: &config::Grpc,
        method: &config::Method,
        limits: config::Limits,
    ) -> Self {
        Self {
            server: Server::new(grpc),
            config: method.clone(),
            limits,
            compiled: OnceCell::new(),
        }
    }

    /// Describes the dataset by its descriptors. The server is connected to in any case.
    pub(super) async fn dataset(&self) -> Result<Dataset, SourceError> {
        let described = async {
            self.server.connect().await?;
            self.compiled().await
        };
        match described.await {
            Ok((plan, schema)) => Ok(Dataset {
                schema: schema.clone(),
                kinds: kinds(plan),
                format: Format::Messages(Arc::clone(plan)),
                partitions: vec![String::new()],
                row_count: None,
                continues: self.config.continues,
            }),
            Err(failure) => Err(self.server.failed(failure).await),
        }
    }

    async fn compiled(&self) -> Result<&(Arc<Plan>, Schema), Failure> {
        self.compiled
            .get_or_try_init(async || {
                let pool = message::load(&self.config.descriptors).map_err(one_problem)?;
                let pool = match pool {
                    Some(pool) => pool,
                    None => reflection::descriptors(&self.server).await?,
                };
                let (plan, schema) = message::compile(&pool, &self.config).map_err(problems)?;
                let declared = schema.columns.len() + schema.embeddings.len();
                if declared > self.limits.fields {
                    let most = self.limits.fields;
                    return Err(Failure::fatal(format!(
                        "its rows have {declared} fields and embeddings; `limits.fields` allows {most}"
                    )));
                }
                Ok((Arc::new(plan), schema))
            })
            .await
    }

    /// Begins to read after `position`.
    pub(super) async fn open(
        &self,
        position: &str,
        max_chunk_rows: u32,
    ) -> Result<Chunks, SourceError> {
        let opened = async {
            let (plan, _) = self.compiled().await?;
            let mut chunks = Chunks {
                server: self.server.clone(),
                plan: Arc::clone(plan),
                max_bytes: self.limits.chunk,
                max_chunk_rows,
                answers: None,
                held: None,
                page: None,
                after: position.to_owned(),
                position: Position::new(position),
                waiting: Vec::new(),
            };
            if plan.streams {
                chunks.answers = Some(chunks.call(position).await?);
            } else if position != END {
                let page = position.strip_prefix(PAGE).unwrap_or(position);
                chunks.page = Some(page.to_owned());
            }
            Ok(chunks)
        };
        match opened.await {
            Ok(chunks) => Ok(chunks),
            Err(failure) => Err(self.server.failed(failure).await),
        }
    }
}

/// The kinds of rows that have tables of their own.
fn kinds(plan: &Plan) -> Vec<super::dataset::Kind> {
    let named = plan.kinds.iter().filter(|kind| !kind.name.is_empty());
    let kinds = named.map(|kind| super::dataset::Kind {
        name: kind.name.clone(),
        tables: kind.tables.clone(),
        columns: kind.first_column..kind.first_column + kind.defaults.len(),
        embeddings: kind.first_embedding..kind.first_embedding + kind.embeddings,
    });
    kinds.collect()
}

fn one_problem(problem: Problem) -> Failure {
    problems(vec![problem])
}

fn problems(problems: Vec<Problem>) -> Failure {
    let all: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let hints: Vec<&str> = problems.iter().map(|it| it.hint.as_str()).collect();
    Failure::fatal(all.join("; ")).hint(hints.join("; "))
}

impl Chunks {
    /// The next chunk that moves the position. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        if let Some(chunk) = self.waiting.pop() {
            return Ok(Some(chunk));
        }
        let server = self.server.clone();
        match server.within("a chunk", self.moving()).await {
            Ok(chunk) => Ok(chunk),
            Err(failure) => Err(server.failed(failure).await),
        }
    }

    async fn call(&mut self, position: &str) -> Result<Answers, Failure> {
        let request = self.plan.request.encode(position, self.max_chunk_rows);
        let request = request.map_err(|error| {
            let error = Failure::fatal(format!("cannot be asked to go on: {error}"));
            error.hint("`forebay checkpoint reset` makes the next run start from the beginning")
        })?;
        let call = Call {
            path: self.plan.path.as_str().into(),
            key: self.server.key(),
            max_bytes: self.max_bytes,
            limit: "limits.chunk",
        };
        self.server.call(call, request).await
    }

    async fn moving(&mut self) -> Result<Option<Chunk>, Failure> {
        loop {
            let found = match self.message().await? {
                Some(found) => found,
                None => return Ok(None),
            };
            let rows: usize = found.rows.iter().map(Vec::len).sum();
            let after = self.after(&found)?;
            match self.position.step(&after) {
                Step::Forward => {}
                // A sign of life, and no progress.
                Step::Still if rows == 0 => continue,
                // Rows without a key do not move a position that is the key of the last row.
                Step::Still if self.is_keyless(&found) => {}
                Step::Still => return Err(standing(rows, &after, "as the message before")),
                Step::Back(ago) => {
                    let when = format!("as the message {ago} before");
                    return Err(standing(rows, &after, &when));
                }
            }
            self.split(found, after);
            if let Some(chunk) = self.waiting.pop() {
                return Ok(Some(chunk));
            }
        }
    }

    /// The next message, of the stream or of the next call.
    async fn message(&mut self) -> Result<Option<Found>, Failure> {
        if !self.plan.streams && self.answers.is_none() {
            let Some(page) = self.page.clone() else {
                return Ok(None);
            };
            self.answers = Some(self.call(&page).await?);
        }
        let (plan, kinds) = (Arc::clone(&self.plan), self.plan.kinds.len());
        let scan = |encoded: Encoded<'_>| {
            let found = plan.response.scan(encoded, kinds);
            found.map_err(|error| garbled(format!("cannot decode a response: {}", error.0)))
        };
        let Some(answers) = &mut self.answers else {
            return Ok(None);
        };
        if plan.streams {
            return answers.next(scan).await;
        }
        if self.held.is_none() {
            self.held = answers.next(scan).await?;
        }
        // Only the status after it says that the page is one.
        if answers.next(scan).await?.is_some() {
            return Err(garbled("two responses to one call"));
        }
        self.answers = None;
        let Some(found) = self.held.take() else {
            return Err(garbled("no response"));
        };
        let next = self.next_page(&found);
        self.page = next;
        Ok(Some(found))
    }

    /// What the next page is called for with; `None` at the end.
    fn next_page(&self, found: &Found) -> Option<String> {
        match self.plan.response.position {
            PositionFrom::Field => Some(found.position.clone()).filter(|it| !it.is_empty()),
            PositionFrom::LastKey => self.last_key(found),
        }
    }

    fn last_key(&self, found: &Found) -> Option<String> {
        let (kind, rows) = (self.plan.kinds.first()?, found.rows.first()?);
        rows.iter().rev().find_map(|row| kind.key_of(row))
    }

    fn is_keyless(&self, found: &Found) -> bool {
        self.plan.response.position == PositionFrom::LastKey && self.last_key(found).is_none()
    }

    /// The position after a message.
    fn after(&self, found: &Found) -> Result<String, Failure> {
        let after = match (self.plan.streams, self.plan.response.position) {
            (true, PositionFrom::Field) => found.position.clone(),
            (true, PositionFrom::LastKey) => {
                self.last_key(found).unwrap_or_else(|| self.after.clone())
            }
            (false, PositionFrom::Field) => match &self.page {
                Some(page) => format!("{PAGE}{page}"),
                None => END.to_owned(),
            },
            // What comes after the last key may be there in the next run.
            (false, PositionFrom::LastKey) => match &self.page {
                Some(page) => format!("{PAGE}{page}"),
                None => self.after.clone(),
            },
        };
        if after.len() > MAX_POSITION_BYTES {
            return Err(Failure::fatal("sent a position that is larger than 4 KiB"));
        }
        if after.is_empty() && found.rows.iter().any(|rows| !rows.is_empty()) {
            // Where nothing can be gone on after, the next attempt begins where this one did.
            return match self.plan.response.position {
                PositionFrom::LastKey => Ok(after),
                PositionFrom::Field => Err(Failure::fatal("sent rows without a position")
                    .hint("each message has to have the field that `source.position.field` names")),
            };
        }
        Ok(after)
    }

    /// Makes chunks of a message: one for each kind of which it has rows. Only the last of them moves
    /// the position, so that none of them is passed over.
    fn split(&mut self, found: Found, after: String) {
        let several = self.plan.kinds.iter().any(|kind| !kind.name.is_empty());
        let units = |kind: usize, rows: Vec<Bytes>| match several {
            true => Units::OfKind(kind, rows),
            false => Units::Messages(rows),
        };
        let rows = found.rows.into_iter().enumerate();
        let mut chunks: Vec<Chunk> = rows
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(kind, rows)| Chunk {
                units: units(kind, rows),
                position: self.after.clone(),
            })
            .collect();
        if chunks.is_empty() {
            chunks.push(Chunk {
                units: units(0, Vec::new()),
                position: String::new(),
            });
        }
        if let Some(last) = chunks.last_mut() {
            last.position.clone_from(&after);
        }
        chunks.reverse();
        self.waiting = chunks;
        self.after = after;
    }
}

/// The position of a message does not move.
fn standing(rows: usize, position: &str, when: &str) -> Failure {
    let position = printable(position);
    Failure::fatal(format!(
        "sent {rows} rows with the same position {when}, `{position}`: its position does not move"
    ))
    .hint("the position has to stand for what comes after the last row of its message, and the server has to go on after it: see `source.position`")
}
