//! The PostgreSQL + pgvector that Forebay runs itself if no database is configured.
//!
//! The server is as durable as any other (`fsync` and the like are not relaxed), needs no manual
//! installation, and ends with the last process that uses it. A directory has one server, which
//! is reachable only through a Unix socket in a directory that only its owner may enter. So it
//! needs no password: a user who can open the socket can also read the data files.
//!
//! Two file locks, which end with their process, decide which process may start and stop the
//! server. Every user of the server holds `users.lock` shared; the server is started and stopped
//! under `start.lock`. A host that is killed leaves its server running; the next host adopts it
//! and stops it at its end.
//!
//! PostgreSQL refuses to run as root, so root runs it as the owner of the data directory: uid
//! 65534 unless the directory was created by another user.

mod account;
mod error;
mod guarded;
mod installation;
mod lease;
mod lock;
mod place;
mod server;
mod settings;
mod wheel;

pub use error::Error;
pub use lease::{Embedded, Status, Stopped, keep, psql_path, shut_down, start, status};
pub use settings::Settings;
