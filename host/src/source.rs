//! The source: an embedding server that streams the chunks after a position over gRPC.
//!
//! Received buffers are shared, not copied, all the way to the tables. Back pressure is gRPC's
//! own: a chunk that is not taken from the stream is not requested.

mod answers;
mod call;
mod channel;
mod client;
mod dataset;
mod error;
mod failure;
mod position;
mod probe;
pub mod wire;

pub use self::call::call;
pub use self::channel::Peer;
pub use self::client::{Chunks, Source};
pub use self::dataset::Dataset;
pub use self::error::SourceError;
pub use self::failure::{Failure, Kind};
