//! Source and target of the demo and the tests: a generated dataset of job postings, an embedding
//! server that serves it, and an API server with a cache.
//!
//! Each row is a function of its number. So the dataset can have any size, takes no memory, and
//! defines the expected results of a pipeline. `examples/embedding-server` generates the same rows
//! in Python, byte for byte.

pub mod api_server;
pub mod dataset;
pub mod embedding_server;
pub mod running;
