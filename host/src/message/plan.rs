//! What the fields of a method's messages mean, by their numbers.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use prost_reflect::MessageDescriptor;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::json::JsonField;
use super::request::Request;
use super::response::{Response, key_of};
use super::scalar::Scalar;
use crate::row::Value;

/// A method, and what its messages mean.
#[derive(Debug)]
pub struct Plan {
    /// Path of the method, `/package.Service/Method`.
    pub path: String,
    /// True if it streams messages, false if a call returns one page.
    pub streams: bool,
    /// How its request is made.
    pub request: Request,
    /// Where rows and position are in a response.
    pub response: Response,
    /// The kinds of rows; at least one.
    pub kinds: Vec<Kind>,
}

/// How rows of a kind are encoded, for whoever meets one later.
#[derive(Debug)]
pub struct Encoding {
    /// Of all of it.
    pub digest: Uuid,
    /// Full name of the message.
    pub message: String,
    /// Name of the kind; empty if there is only one.
    pub kind: String,
    /// A `google.protobuf.FileDescriptorSet`.
    pub descriptors: Vec<u8>,
}

impl Encoding {
    pub(super) fn of(message: &MessageDescriptor, kind: &str) -> Self {
        let descriptors = message.parent_pool().encode_to_vec();
        let (message, kind) = (message.full_name().to_owned(), kind.to_owned());
        let mut hasher = Xxh3::new();
        for part in [message.as_bytes(), kind.as_bytes(), descriptors.as_slice()] {
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part);
        }
        Self {
            digest: Uuid::from_u128(hasher.digest128()),
            message,
            kind,
            descriptors,
        }
    }
}

/// The meaning of one kind of rows.
#[derive(Debug)]
pub struct Kind {
    /// Its name in the configuration; empty if there is only one.
    pub name: String,
    /// Tables that take the rows; empty for all of the pipeline.
    pub tables: Vec<String>,
    /// The message that is a row.
    pub message: MessageDescriptor,
    /// Its fields.
    pub node: Node,
    /// The fields that make the key together, as they are where they are not encoded.
    pub key_defaults: Vec<ByteString>,
    /// Where the first part of the key is: fields by number, and its encoding.
    pub key_path: (Vec<u32>, Option<Scalar>),
    /// The columns of a row before its first field is read.
    pub defaults: Vec<Value>,
    /// Index of the first of its columns in the schema; there are as many as `defaults`.
    pub first_column: usize,
    /// Index of the first of its embeddings in the schema.
    pub first_embedding: usize,
    /// Number of its embeddings.
    pub embeddings: usize,
    /// What a dead letter says of its encoding.
    pub encoding: Arc<Encoding>,
    /// Fields that become JSON.
    pub json: Vec<JsonField>,
    /// Names of its columns and embeddings with the numbers of their fields, for people.
    pub numbers: Vec<(String, Vec<u32>)>,
}

/// The known fields of a message, by number.
#[derive(Debug, Default)]
pub struct Node {
    /// Those with small numbers.
    low: Vec<Option<Member>>,
    high: HashMap<u32, Member>,
    /// Columns that are set when the message is there, unless they have a value.
    pub defaults: Vec<(usize, Value)>,
}

/// Number up to which fields are found by index.
const LOW: u32 = 64;

/// A field of a row, or of a message within it.
#[derive(Debug, Default)]
pub struct Member {
    /// The part of the key that it is.
    pub key: Option<(usize, Scalar)>,
    /// How it marks a row as deleted.
    pub mark: Option<(Mark, Scalar)>,
    /// The field that becomes JSON of this index, of which it is a member.
    pub json: Option<usize>,
    /// What else it feeds.
    pub target: Target,
    /// Targets of the other fields of its `oneof`, which are empty once it is there.
    pub clears: Vec<Cleared>,
}

/// A target that another field of a `oneof` empties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// A column.
    Column(usize),
    /// An embedding.
    Embedding(usize),
    /// The index of a field that becomes JSON.
    Json(usize),
}

/// How a field marks a row as deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// By being true.
    True,
    /// By this text, or name of an enum's value.
    Equals(String),
}

/// Width of the elements of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// `repeated float`.
    Float,
    /// `repeated double`, which is narrowed.
    Double,
    /// `bytes` of little-endian f32.
    Bytes,
}

/// What a field feeds.
#[derive(Debug, Default)]
pub enum Target {
    /// Nothing.
    #[default]
    None,
    /// A column, with a single value.
    Value(usize, Scalar),
    /// A column, with a list of texts to which each of its values adds one.
    Texts(usize, Scalar),
    /// An embedding.
    Vector(usize, Width),
    /// What the fields of its message feed.
    Message(Box<Node>),
    /// What the fields of each of its messages feed: lists of texts. Named are the columns that get one
    /// text of each message, and whether they get an empty one of a message that has none.
    Messages(Box<Node>, Vec<(usize, bool)>),
}

impl Kind {
    /// The key of an encoded row as a position, if it can be read.
    #[must_use]
    pub fn key_of(&self, row: &Bytes) -> Option<String> {
        let (path, scalar) = &self.key_path;
        key_of(path, scalar.as_ref()?, row)
    }
}

impl Node {
    /// The field of this number, if it is known.
    #[inline]
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Member> {
        if number < LOW {
            return self.low.get(number as usize)?.as_ref();
        }
        self.high.get(&number)
    }

    /// The field of this number, made if it is not known.
    pub(super) fn at(&mut self, number: u32) -> &mut Member {
        if number >= LOW {
            return self.high.entry(number).or_default();
        }
        let index = number as usize;
        if self.low.len() <= index {
            self.low.resize_with(index + 1, || None);
        }
        match self.low.get_mut(index) {
            Some(member) => member.get_or_insert_default(),
            // Not reached: the place has just been made.
            None => self.high.entry(number).or_default(),
        }
    }

    /// All fields.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.low.iter().flatten().chain(self.high.values())
    }
}

impl Member {
    /// All targets of the field and of those within it.
    pub(super) fn targets(&self, into: &mut Vec<Cleared>) {
        into.extend(self.json.map(Cleared::Json));
        match &self.target {
            Target::None => {}
            Target::Value(column, _) | Target::Texts(column, _) => {
                into.push(Cleared::Column(*column));
            }
            Target::Vector(index, _) => into.push(Cleared::Embedding(*index)),
            Target::Message(node) | Target::Messages(node, _) => {
                for member in node.members() {
                    member.targets(into);
                }
            }
        }
    }
}
