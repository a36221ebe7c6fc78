//! The one message that is not generated: a chunk whose rows stay as received.
//!
//! On the wire a message field and a `bytes` field are the same, so this is
//! `forebay.v1.Chunk` with each row as a slice of the received buffer. A row that cannot be
//! decoded then affects only itself, and a dead letter holds exactly what was received.

use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::encoding::{string, uint64};

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

/// A response that has no usable chunk.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The bytes are no message.
    Garbled(String),
    /// The chunk has more rows than were asked for.
    TooManyRows,
    /// The response has no chunk.
    Empty,
}

impl From<DecodeError> for Unusable {
    fn from(error: DecodeError) -> Self {
        Self::Garbled(error.to_string())
    }
}

/// The chunk of an encoded `forebay.v1.StreamChunksResponse`. Stops at the first row beyond
/// `max_rows`: a row of two bytes takes sixteen times as much here as on the wire.
pub(super) fn chunk(mut response: impl Buf, max_rows: usize) -> Result<Chunk, Unusable> {
    let mut chunk = None;
    while response.has_remaining() {
        let (tag, wire_type) = decode_key(&mut response)?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => {
                let length = length(&mut response)?;
                let into = chunk.get_or_insert_with(Chunk::default);
                merge(into, (&mut response).take(length), max_rows)?;
            }
            (1, _) => return Err(wrong_type("a chunk")),
            _ => skip_field(wire_type, tag, &mut response, DecodeContext::default())?,
        }
    }
    chunk.ok_or(Unusable::Empty)
}

fn merge(chunk: &mut Chunk, mut bytes: impl Buf, max_rows: usize) -> Result<(), Unusable> {
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        let context = DecodeContext::default();
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) if chunk.rows.len() >= max_rows => {
                return Err(Unusable::TooManyRows);
            }
            (1, WireType::LengthDelimited) => {
                let length = length(&mut bytes)?;
                chunk.rows.push(bytes.copy_to_bytes(length));
            }
            (1, _) => return Err(wrong_type("a row")),
            (2, _) => string::merge(wire_type, &mut chunk.resume_token, &mut bytes, context)?,
            (3, _) => uint64::merge(wire_type, &mut chunk.sequence, &mut bytes, context)?,
            _ => skip_field(wire_type, tag, &mut bytes, context)?,
        }
    }
    Ok(())
}

/// The length of what follows, all of which is there.
fn length(bytes: &mut impl Buf) -> Result<usize, Unusable> {
    let length = usize::try_from(decode_varint(bytes)?).unwrap_or(usize::MAX);
    if length > bytes.remaining() {
        return Err(Unusable::Garbled("a length is beyond the end".into()));
    }
    Ok(length)
}

fn wrong_type(what: &str) -> Unusable {
    Unusable::Garbled(format!("{what} has the wrong wire type"))
}
