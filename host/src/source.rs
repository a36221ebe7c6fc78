//! The source of a pipeline: a transport, which yields chunks of undecoded rows, and knows what a
//! position is.
//!
//! Received buffers are shared, not copied, all the way to the tables. Back pressure is gRPC's
//! own: a chunk that is not taken from the stream is not requested.

mod answers;
mod call;
mod channel;
mod dataset;
mod error;
mod failure;
mod file_rows;
mod files;
mod method;
mod native;
mod position;
mod probe;
mod reflection;
mod server;
mod transport;
mod units;
pub mod wire;

pub use self::call::call;
pub use self::channel::Peer;
pub use self::dataset::{Dataset, FileFormat, Format, Kind as RowKind};
pub use self::error::SourceError;
pub use self::failure::{Failure, Kind};
pub use self::file_rows::FileRows;
pub use self::transport::{Chunks, Source};
pub use self::units::{Chunk, Units};
