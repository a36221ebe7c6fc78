//! Settings of the embedded server.

use std::net::IpAddr;
use std::path::PathBuf;

/// Location of the embedded server, and the source of its programs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's own directory, usually `.forebay` beside the configuration. The server lives in
    /// `postgres` below it.
    pub directory: PathBuf,
    /// An installation of PostgreSQL with pgvector to use instead of searching for one: a directory
    /// with `bin/postgres`.
    pub pg_dir: Option<PathBuf>,
    /// Directory of a fetched installation; `None` is the platform's cache directory, or
    /// `/var/cache` for root.
    pub cache_directory: Option<PathBuf>,
    /// A loopback address on which a newly started server also listens, for all users of the
    /// machine: for benchmarks and tests. `None` is the Unix socket only.
    pub listen: Option<IpAddr>,
}
