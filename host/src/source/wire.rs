//! The one message that is not generated: a chunk whose rows stay as received.
//!
//! On the wire a message field and a `bytes` field are the same, so this is
//! `forebay.v1.Chunk` with each row as a slice of the received buffer. A row that cannot be
//! decoded then affects only itself, and a dead letter holds exactly what was received.

use bytes::Bytes;

/// `forebay.v1.Chunk`; see `proto/forebay/v1/source.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chunk {
    /// Encoded `forebay.v1.Row` messages.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub rows: Vec<Bytes>,
    /// The position after this chunk, opaque.
    #[prost(string, tag = "2")]
    pub resume_token: String,
    /// Number of the chunk in its stream, from 1 on.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
}
