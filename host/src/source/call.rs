//! A call with one answer, of a server that is no source.

use std::time::Duration;

use prost::Message;
use tokio::time::timeout;

use super::answers::{Answers, Call, garbled, message};
use super::channel::Peer;
use super::failure::Failure;

/// Maximum size of the answer, in bytes; what gRPC allows by default.
const MAX_BYTES: usize = 4 << 20;

/// Calls the method at `path`, over a connection of its own. Waits at most `most`.
///
/// # Errors
/// If the server is away, refuses the request, or is not one of gRPC.
pub async fn call<M: Message + Default>(
    peer: &Peer,
    path: &'static str,
    request: &impl Message,
    most: Duration,
) -> Result<M, Failure> {
    let call = Call {
        path: path.into(),
        key: peer.key,
        max_bytes: MAX_BYTES,
        limit: "the size of an answer",
    };
    let answer = async {
        let channel = peer.connect().await?;
        let request = request.encode_to_vec().into();
        let mut answers = Answers::open(peer, channel, call, request).await?;
        answers
            .next(message)
            .await?
            .ok_or_else(|| garbled("no response"))
    };
    let answered = timeout(most, answer).await.unwrap_or_else(|_| {
        let most = humantime::format_duration(most);
        Err(Failure::away(format!("no answer within {most}")))
    });
    answered.map_err(|failure| peer.without_token(failure))
}
