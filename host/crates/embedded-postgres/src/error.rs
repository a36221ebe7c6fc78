//! Errors of the embedded server, with what to do about them. All are permanent: operations that
//! waiting or retrying can help have already been retried.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the embedded server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot run {program}")]
    Program {
        /// Its name or path.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// There is no packaged server for this machine.
    #[error(
        "PostgreSQL with pgvector is not installed, and no package exists for {platform}: set \
         DATABASE_URL, or install both and set their directory with --pg-dir"
    )]
    Unsupported {
        /// Operating system and architecture.
        platform: String,
    },
    /// The package could not be fetched.
    #[error(
        "PostgreSQL with pgvector is not installed, and cannot be fetched: {detail}; set \
         DATABASE_URL, or install PostgreSQL with pgvector (and set --pg-dir if it is not found), \
         or make `python3 -m pip` work and try again"
    )]
    Fetch {
        /// Output of the package installer.
        detail: String,
    },
    /// The package does not have the pinned digest.
    #[error(
        "the PostgreSQL package has sha256 {found} instead of {expected}: it is not the one that \
         this release was checked with, and was not unpacked"
    )]
    Tampered {
        /// The pinned digest.
        expected: String,
        /// The digest of the fetched archive.
        found: String,
    },
    /// The package is not a readable archive.
    #[error("cannot unpack the PostgreSQL package")]
    Archive(#[from] zip::result::ZipError),
    /// A named installation cannot be used.
    #[error(
        "{} is not a usable installation of PostgreSQL with pgvector: {problem}",
        directory.display()
    )]
    Installation {
        /// The directory, from `--pg-dir` or the cache.
        directory: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The data was created by another major version.
    #[error(
        "the data in {} was created by PostgreSQL {data}, but {found}: set an installation of \
         PostgreSQL {data} with --pg-dir, or move the directory away to start with an empty \
         database",
        place.display()
    )]
    Version {
        /// The directory that holds the data directories.
        place: PathBuf,
        /// Major version of the data.
        data: u32,
        /// The installation that was found instead.
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
    /// A file of the server is not what it should be: another user may have prepared it.
    #[error(
        "{} is {is}, and is not used: it may lead to the files of others; remove it, or choose \
         another directory",
        path.display()
    )]
    Suspect {
        /// The path.
        path: PathBuf,
        /// What it is.
        is: &'static str,
    },
    /// The data directory could not be created; nothing of it remains.
    #[error("cannot create a data directory: {detail}")]
    Initialise {
        /// Output of initdb.
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
    #[error("PostgreSQL (pid {pid}) did not stop within {seconds} s; its log is {}", log.display())]
    Stop {
        /// Process id of the postmaster.
        pid: i32,
        /// Seconds waited.
        seconds: u64,
        /// The whole log.
        log: PathBuf,
    },
    /// Another process holds a lock.
    #[error("another process has held {} for {seconds} s: end it and try again", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Seconds waited.
        seconds: u64,
    },
    /// The server runs, but a connection or statement failed.
    #[error("the embedded PostgreSQL does not respond as expected")]
    Connect(#[from] sqlx::Error),
}

impl Error {
    /// Adds the path to an I/O error.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// The last lines of a program's output, at most 600 bytes, for a message.
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
