//! The response to a streaming call, read in place.
//!
//! A message is decoded from the pieces in which it arrived and keeps slices of them; only a row
//! that spans two pieces is copied. tonic's own `Streaming` would first copy every
//! piece into one buffer, which cost a tenth of a run. Format: the gRPC project,
//! "gRPC over HTTP2" (`PROTOCOL-HTTP2.md`).

use std::sync::Arc;

use bytes::buf::Take;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytes_utils::SegmentedBuf;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, StatusCode, Version, header};
use tonic::codegen::{Service, http};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::channel::Peer;
use super::failure::{Failure, Kind, error_chain};

/// Size of the prefix of a message, in bytes: a flag for compression, and the length.
const PREFIX: usize = 5;

/// A status may have details of its own in this header; tonic panics if they are not base64.
const DETAILS: &str = "grpc-status-details-bin";

/// The encoded bytes of one message.
pub(super) type Encoded<'p> = Take<&'p mut SegmentedBuf<Bytes>>;

/// The server's response to one call, message by message.
#[derive(Debug)]
pub(super) struct Answers {
    body: Body,
    /// Received but not yet decoded.
    pieces: SegmentedBuf<Bytes>,
    /// Length of the message that `pieces` begin with, once its prefix has been read.
    length: Option<usize>,
    call: Call,
    ended: bool,
}

/// What is called, and how much it may answer.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Path of the method.
    pub path: Arc<str>,
    /// The server's table in the configuration, for hints.
    pub key: &'static str,
    /// Maximum size of a message of the response, in bytes.
    pub max_bytes: usize,
    /// The key that sets `max_bytes`.
    pub limit: &'static str,
}

impl Answers {
    /// Sends an encoded request.
    ///
    /// # Errors
    /// If the server is away, refuses the request, or is not one of gRPC.
    pub(super) async fn open(
        peer: &Peer,
        mut channel: Channel,
        call: Call,
        question: Bytes,
    ) -> Result<Self, Failure> {
        let mut encoded = BytesMut::with_capacity(PREFIX + question.len());
        encoded.put_u8(0);
        encoded.put_u32(u32::try_from(question.len()).unwrap_or(u32::MAX));
        encoded.put(question);
        let mut request = http::Request::post(&*call.path)
            .version(Version::HTTP_2)
            .header(header::TE, "trailers")
            .header(header::CONTENT_TYPE, "application/grpc");
        if let Some(authorization) = peer.authorization()? {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let body = Body::new(Full::new(encoded.freeze()));
        let request = request.body(body).map_err(broken)?;

        let response = async {
            std::future::poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        };
        let response = match response.await {
            Ok(response) => response,
            Err(error) => return Err(peer.unconnected(&error).await),
        };
        let headers = response.headers();
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.map(|it| String::from_utf8_lossy(it.as_bytes()));
        let content_type = content_type.unwrap_or_default();
        // A refusal may come in the headers instead of the trailers.
        let ended = call.succeeded(headers)?;
        if response.status() != StatusCode::OK || !content_type.starts_with("application/grpc") {
            return Err(Failure::of_http(response.status(), &content_type, call.key));
        }
        Ok(Self {
            body: response.into_body(),
            pieces: SegmentedBuf::new(),
            length: None,
            call,
            ended,
        })
    }

    /// The next message as `decode` makes it; `None` after the last one. Cancel-safe.
    ///
    /// # Errors
    /// If the server went away, failed, or sent something that is not a message.
    pub(super) async fn next<M>(
        &mut self,
        decode: impl Fn(Encoded<'_>) -> Result<M, Failure>,
    ) -> Result<Option<M>, Failure> {
        loop {
            if let Some(length) = self.complete()? {
                self.length = None;
                return decode((&mut self.pieces).take(length)).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            let Some(frame) = self.body.frame().await else {
                return Err(Failure::away("the response ended without a status"));
            };
            let frame = frame.map_err(|status| Failure::away(error_chain(&status)))?;
            match frame.into_data() {
                Ok(piece) => self.pieces.push(piece),
                Err(frame) => {
                    self.ended = match frame.trailers_ref() {
                        Some(trailers) => self.call.succeeded(trailers)?,
                        None => false,
                    };
                    if self.ended && (self.length.is_some() || self.pieces.has_remaining()) {
                        return Err(garbled("the response ended in the middle of a message"));
                    }
                }
            }
        }
    }

    /// Length of the first message among the received pieces, if all of it is there.
    fn complete(&mut self) -> Result<Option<usize>, Failure> {
        let length = match self.length {
            Some(length) => length,
            None if self.pieces.remaining() < PREFIX => return Ok(None),
            None => {
                if self.pieces.get_u8() != 0 {
                    return Err(Failure::fatal(
                        "the response is compressed, which was not requested",
                    ));
                }
                let length = self.pieces.get_u32() as usize;
                let Call {
                    max_bytes, limit, ..
                } = &self.call;
                if length > *max_bytes {
                    return Err(Failure::fatal(format!(
                        "a message has {length} bytes; `{limit}` allows {max_bytes}"
                    )));
                }
                *self.length.insert(length)
            }
        };
        Ok((self.pieces.remaining() >= length).then_some(length))
    }
}

impl Call {
    /// True if these headers or trailers end the call with success, false if they do not end it.
    fn succeeded(&self, headers: &HeaderMap) -> Result<bool, Failure> {
        let status = if headers.contains_key(DETAILS) {
            let mut headers = headers.clone();
            headers.remove(DETAILS);
            Status::from_header_map(&headers)
        } else {
            Status::from_header_map(headers)
        };
        match status {
            Some(status) if status.code() != Code::Ok => {
                Err(Failure::of_status(&status, self.key, &self.path))
            }
            status => Ok(status.is_some()),
        }
    }
}

/// A message as prost decodes it.
pub(super) fn message<M: Message + Default>(encoded: Encoded<'_>) -> Result<M, Failure> {
    M::decode(encoded).map_err(|error| garbled(format!("cannot decode a response: {error}")))
}

/// Bytes that are no message: a defect of the server, or of what lies between.
pub(super) fn garbled(message: impl AsRef<str>) -> Failure {
    Failure::new(Kind::Failing, message)
}

/// A request that cannot be made.
fn broken(error: impl std::error::Error) -> Failure {
    Failure::fatal(error_chain(&error))
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

    fn call() -> Call {
        Call {
            path: "/forebay.v1.EmbeddingSourceService/StreamChunks".into(),
            key: "source",
            max_bytes: 1_000,
            limit: "limits.chunk",
        }
    }

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

    async fn read(frames: Vec<Frame>) -> (Vec<StreamChunksResponse>, Result<(), Failure>) {
        let frames = frames.into_iter().map(Ok::<_, Infallible>);
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut answers = Answers {
            body: Body::new(body),
            pieces: SegmentedBuf::new(),
            length: None,
            call: call(),
            ended: false,
        };
        let mut read = Vec::new();
        loop {
            match answers.next(message).await {
                Ok(Some(answer)) => read.push(answer),
                Ok(None) => return (read, Ok(())),
                Err(failure) => return (read, Err(failure)),
            }
        }
    }

    async fn fails(frames: Vec<Frame>) -> (Kind, String) {
        let failure = read(frames).await.1.unwrap_err();
        (failure.kind, failure.to_string())
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
            (Kind::Away, "the response ended without a status".into())
        );
        for cut in cut {
            assert_eq!(
                fails(vec![cut, well()]).await,
                (
                    Kind::Failing,
                    "the response ended in the middle of a message".into()
                )
            );
        }
        let status = Status::not_found("no such dataset");
        assert_eq!(
            fails(vec![trailers(status)]).await,
            (Kind::Final, "NOT_FOUND: no such dataset".into())
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
                Kind::Final,
                "the response is compressed, which was not requested".into()
            )
        );
        assert_eq!(
            fails(prefixed(0, 1_001, b"")).await,
            (
                Kind::Final,
                "a message has 1001 bytes; `limits.chunk` allows 1000".into()
            )
        );
        let (kind, message) = fails(prefixed(0, 2, &[0xff, 0xff])).await;
        assert_eq!(kind, Kind::Failing);
        assert!(
            message.starts_with("cannot decode a response: "),
            "{message}"
        );
    }

    #[tokio::test]
    async fn f4_a_status_with_broken_details_is_a_status() {
        let mut headers = Status::unknown("out of paper")
            .into_http::<Body>()
            .headers()
            .clone();
        headers.insert(DETAILS, http::HeaderValue::from_static("not base64!"));
        assert_eq!(
            fails(vec![Frame::trailers(headers)]).await,
            (Kind::Failing, "UNKNOWN: out of paper".into())
        );
    }

    #[test]
    fn a_server_without_grpc_is_reported_with_its_http_status() {
        let told = |status| {
            let status = StatusCode::from_u16(status).unwrap();
            Failure::of_http(status, "text/html", "source")
        };
        let kinds = [503, 500, 404, 418, 200].map(|status| told(status).kind);
        use Kind::{Away, Failing, Final};
        assert_eq!(kinds, [Away, Failing, Final, Final, Final]);
        insta::assert_snapshot!(told(200), @"
        the server responded with HTTP status 200 OK and text/html, which is not gRPC
          hint: `source.grpc` seems to be the address of a web server or a proxy; name that of the gRPC server
        ");
    }
}
