//! The living plugin directory: versions come and go while a host is at work.
//!
//! Everything is real: the program as a process of its own, gRPC over a socket, components in the
//! sandbox, PostgreSQL. The guest `stamp` writes its version into every row, so that the tables
//! say which version each row met.

mod canary;
mod files;
mod serving;
mod shadow;
mod stage;
mod swaps;
