//! What the demo and the tests stream from and to: a dataset of job postings that is made on
//! the fly, an embedding server that serves it, and an API server that has a cache.
//!
//! The dataset is a function of its row number, so it can be of any size and takes no memory,
//! and says by itself what a pipeline must make of it. `examples/embedding-server` makes the
//! same rows in Python, byte for byte.

pub mod api_server;
pub mod dataset;
pub mod embedding_server;
pub mod running;
