//! The response to a streaming call, read in place.
//!
//! A message is decoded from the pieces in which it arrived and keeps slices of them; only a row
//! that spans two pieces is copied. tonic's own `Streaming` would first copy every
//! piece into one buffer, which cost a tenth of a run. Format: the gRPC project,
//! "gRPC over HTTP2" (`PROTOCOL-HTTP2.md`).

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytes_utils::SegmentedBuf;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, StatusCode, Version, header};
use tonic::codegen::{Service, http};
use tonic::transport::{self, Channel};
use tonic::{Code, Status};

use super::error::error_chain;

/// Size of the prefix of a message, in bytes: a flag for compression, and the length.
const PREFIX: usize = 5;

/// The server's response to one call, message by message.
#[derive(Debug)]
pub(super) struct Answers {
    body: Body,
    /// Received but not yet decoded.
    pieces: SegmentedBuf<Bytes>,
    /// Length of the message that `pieces` begin with, once its prefix has been read.
    length: Option<usize>,
    max_bytes: usize,
    ended: bool,
}

impl Answers {
    /// Sends the request. No message of the response may be larger than `max_bytes`.
    ///
    /// # Errors
    /// If the server is away or refuses the request.
    pub(super) async fn open(
        mut channel: Channel,
        path: &'static str,
        question: &impl Message,
        max_bytes: usize,
    ) -> Result<Self, Status> {
        let mut encoded = BytesMut::with_capacity(PREFIX + question.encoded_len());
        encoded.put_u8(0);
        encoded.put_u32(u32::try_from(question.encoded_len()).unwrap_or(u32::MAX));
        question
            .encode(&mut encoded)
            .map_err(|error| Status::internal(error.to_string()))?;
        let request = http::Request::post(path)
            .version(Version::HTTP_2)
            .header(header::TE, "trailers")
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Body::new(Full::new(encoded.freeze())))
            .map_err(|error| Status::internal(error.to_string()))?;

        let ready = std::future::poll_fn(|context| channel.poll_ready(context));
        ready.await.map_err(unavailable)?;
        let response = channel.call(request).await;
        let response = response.map_err(|error| Status::from_error(error.into()))?;
        // A refusal may come in the headers instead of the trailers.
        let ended = succeeded(response.headers())?;
        if response.status() != StatusCode::OK {
            return Err(without_status(response.status()));
        }
        Ok(Self {
            body: response.into_body(),
            pieces: SegmentedBuf::new(),
            length: None,
            max_bytes,
            ended,
        })
    }

    /// The next message; `None` after the last one. Cancel-safe.
    ///
    /// # Errors
    /// If the server went away, failed, or sent something that is not a message.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(frame) = self.body.frame().await else {
                let message = "the response ended without a status";
                return Err(Status::unavailable(message));
            };
            match frame?.into_data() {
                Ok(piece) => self.pieces.push(piece),
                Err(frame) => {
                    self.ended = match frame.trailers_ref() {
                        Some(trailers) => succeeded(trailers)?,
                        None => false,
                    };
                    if self.ended && (self.length.is_some() || self.pieces.has_remaining()) {
                        let message = "the response ended in the middle of a message";
                        return Err(Status::internal(message));
                    }
                }
            }
        }
    }

    /// The first message among the received pieces, if it is complete.
    fn decode<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let length = match self.length {
            Some(length) => length,
            None if self.pieces.remaining() < PREFIX => return Ok(None),
            None => {
                if self.pieces.get_u8() != 0 {
                    let message = "the response is compressed, which was not requested";
                    return Err(Status::unimplemented(message));
                }
                let length = self.pieces.get_u32() as usize;
                if length > self.max_bytes {
                    let limit = self.max_bytes;
                    return Err(Status::out_of_range(format!(
                        "a message has {length} bytes; `limits.chunk` allows {limit}"
                    )));
                }
                *self.length.insert(length)
            }
        };
        if self.pieces.remaining() < length {
            return Ok(None);
        }
        self.length = None;
        let message = M::decode((&mut self.pieces).take(length));
        message
            .map(Some)
            .map_err(|error| Status::internal(format!("cannot decode a response: {error}")))
    }
}

/// True if these headers or trailers end the call with success, false if they do not end it.
fn succeeded(headers: &HeaderMap) -> Result<bool, Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        status => Ok(status.is_some()),
    }
}

/// The transport cannot reach the server.
fn unavailable(error: transport::Error) -> Status {
    let mut status = Status::unavailable(error_chain(&error));
    status.set_source(Arc::new(error));
    status
}

/// The status of an HTTP response without a gRPC status. Mapping: the gRPC project, "HTTP to gRPC
/// Status Code Mapping" (`http-grpc-status-mapping.md`).
fn without_status(status: StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(
        code,
        format!("the server responded with HTTP status {status}"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use http_body_util::StreamBody;

    use super::*;
    use crate::proto::StreamChunksResponse;
    use crate::source::wire::Chunk;

    type Frame = hyper::body::Frame<Bytes>;

    fn answer(sequence: u64, rows: &[&'static [u8]]) -> StreamChunksResponse {
        let rows = rows.iter().map(|row| Bytes::from_static(row)).collect();
        StreamChunksResponse {
            chunk: Some(Chunk {
                rows,
                resume_token: format!("after {sequence}"),
                sequence,
            }),
        }
    }

    fn encoded(answers: &[StreamChunksResponse]) -> Bytes {
        let mut bytes = BytesMut::new();
        for answer in answers {
            bytes.put_u8(0);
            bytes.put_u32(u32::try_from(answer.encoded_len()).unwrap());
            answer.encode(&mut bytes).unwrap();
        }
        bytes.freeze()
    }

    fn trailers(status: Status) -> Frame {
        Frame::trailers(status.into_http::<Body>().headers().clone())
    }

    fn well() -> Frame {
        trailers(Status::ok(""))
    }

    async fn read(frames: Vec<Frame>) -> (Vec<StreamChunksResponse>, Result<(), Status>) {
        let frames = frames.into_iter().map(Ok::<_, Infallible>);
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut answers = Answers {
            body: Body::new(body),
            pieces: SegmentedBuf::new(),
            length: None,
            max_bytes: 1_000,
            ended: false,
        };
        let mut read = Vec::new();
        loop {
            match answers.next().await {
                Ok(Some(answer)) => read.push(answer),
                Ok(None) => return (read, Ok(())),
                Err(status) => return (read, Err(status)),
            }
        }
    }

    async fn fails(frames: Vec<Frame>) -> (Code, String) {
        let status = read(frames).await.1.unwrap_err();
        (status.code(), status.message().to_owned())
    }

    #[tokio::test]
    async fn messages_come_in_any_pieces() {
        let sent = [
            answer(1, &[b"one", b"", b"three"]),
            answer(2, &[]),
            answer(3, &[&[7; 300]]),
        ];
        let bytes = encoded(&sent);
        for size in 1..=bytes.len() {
            let pieces = bytes.chunks(size).map(Bytes::copy_from_slice);
            let frames = pieces.map(Frame::data).chain([well()]).collect();
            let (read, ended) = read(frames).await;
            assert_eq!(
                (read.as_slice(), ended.is_ok()),
                (&sent[..], true),
                "{size}"
            );
        }
    }

    #[tokio::test]
    async fn rows_within_a_piece_are_slices_of_it() {
        let bytes = encoded(&[answer(1, &[b"one"])]);
        let (read, _) = read(vec![Frame::data(bytes.clone()), well()]).await;
        let chunk = read.into_iter().next().and_then(|answer| answer.chunk);
        let row = chunk.unwrap().rows.remove(0);
        assert!(bytes.as_ptr_range().contains(&row.as_ptr()));
    }

    #[tokio::test]
    async fn a_response_without_a_status_is_cut_off() {
        let bytes = encoded(&[answer(1, &[b"one"])]);
        // Within a message, and right after its prefix.
        let cut = [bytes.len() - 1, PREFIX].map(|length| Frame::data(bytes.slice(..length)));
        let whole = Frame::data(bytes);
        assert_eq!(
            fails(vec![whole]).await,
            (
                Code::Unavailable,
                "the response ended without a status".into()
            )
        );
        for cut in cut {
            assert_eq!(
                fails(vec![cut, well()]).await,
                (
                    Code::Internal,
                    "the response ended in the middle of a message".into()
                )
            );
        }
        let status = Status::not_found("no such dataset");
        assert_eq!(
            fails(vec![trailers(status)]).await,
            (Code::NotFound, "no such dataset".into())
        );
    }

    #[tokio::test]
    async fn invalid_messages_are_refused() {
        let prefixed = |flag: u8, length: u32, rest: &[u8]| {
            let bytes = [&[flag][..], &length.to_be_bytes(), rest].concat();
            vec![Frame::data(bytes.into()), well()]
        };
        assert_eq!(
            fails(prefixed(1, 2, b"xx")).await,
            (
                Code::Unimplemented,
                "the response is compressed, which was not requested".into()
            )
        );
        assert_eq!(
            fails(prefixed(0, 1_001, b"")).await,
            (
                Code::OutOfRange,
                "a message has 1001 bytes; `limits.chunk` allows 1000".into()
            )
        );
        let (code, message) = fails(prefixed(0, 2, &[0xff, 0xff])).await;
        assert_eq!(code, Code::Internal);
        assert!(
            message.starts_with("cannot decode a response: "),
            "{message}"
        );
    }

    #[test]
    fn a_server_without_grpc_is_reported_with_its_http_status() {
        let told = |status| without_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(told(503).code(), Code::Unavailable);
        assert_eq!(told(404).code(), Code::Unimplemented);
        assert_eq!(told(418).code(), Code::Unknown);
        assert_eq!(
            told(503).message(),
            "the server responded with HTTP status 503 Service Unavailable"
        );
    }
}
