//! `--report PATH`: a regular file is replaced as a whole; a device, a FIFO and a link are written
//! to, and stay what they are.
//!
//! The path is checked before the run begins, so that a run is not in vain. Nothing that is not
//! there waits for ever: a FIFO that nobody reads is an error after [`READER`].

use std::fs;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::unistd::{AccessFlags, access};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

use super::exit::UsageError;
use crate::report::Report;

/// Maximum wait for a process that reads a FIFO, and for it to take the report.
const READER: Duration = Duration::from_secs(5);
/// Interval of looking for one.
const POLL: Duration = Duration::from_millis(20);

/// Where the report goes.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Replaced by a new file.
    Regular,
    /// Opened and written.
    Opened,
    /// Opened once somebody reads it.
    Fifo,
    /// What this process writes its results to.
    Stdout,
}

impl ReportFile {
    /// Checks that the report can be written there, as far as that can be known.
    ///
    /// # Errors
    /// A usage error that says what is wrong with the path.
    pub(super) fn check(path: &Path) -> Result<Self, UsageError> {
        let kind = kind(path).map_err(|error| {
            UsageError(format!(
                "cannot write the report to {}: {error}",
                path.display()
            ))
        })?;
        let path = path.to_owned();
        Ok(Self { path, kind })
    }

    /// Writes reports as JSON: an object, or an array for several.
    pub(super) async fn write(&self, reports: &[Report]) -> anyhow::Result<()> {
        let mut text = match reports {
            [report] => serde_json::to_string_pretty(report)?,
            reports => serde_json::to_string_pretty(reports)?,
        };
        text.push('\n');
        let written = match self.kind {
            Kind::Regular => replace(&self.path, &text),
            Kind::Opened => open(&self.path).and_then(|mut file| file.write_all(text.as_bytes())),
            Kind::Fifo => give(&self.path, &text).await,
            Kind::Stdout => io::stdout().write_all(text.as_bytes()),
        };
        written.with_context(|| format!("cannot write the report to {}", self.path.display()))
    }
}

fn kind(path: &Path) -> io::Result<Kind> {
    let itself = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return probe(path).map(|()| Kind::Regular);
        }
        itself => itself?,
    };
    let target = match fs::metadata(path) {
        // A link to a file that is still to be made.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            probe(&path.parent().unwrap_or(path).join(fs::read_link(path)?))?;
            return Ok(Kind::Opened);
        }
        target => target?,
    };
    let file_type = target.file_type();
    if file_type.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if is_stdout(&target) {
        return Ok(Kind::Stdout);
    }
    if file_type.is_socket() {
        return Err(io::Error::other("it is a socket"));
    }
    if itself.is_file() {
        return probe(path).map(|()| Kind::Regular);
    }
    access(path, AccessFlags::W_OK)?;
    Ok(if file_type.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Opened
    })
}

fn is_stdout(target: &Metadata) -> bool {
    let own = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let own = own.and_then(|file| file.metadata());
    own.is_ok_and(|own| (own.dev(), own.ino()) == (target.dev(), target.ino()))
}

/// The directory of a file.
fn directory(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Checks that a file can be made; it is removed again.
fn probe(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(ErrorKind::IsADirectory.into());
    }
    tempfile::tempfile_in(directory(path))
        .map(drop)
        // The name of the temporary file is of no interest.
        .map_err(|error| {
            error
                .raw_os_error()
                .map_or(error, io::Error::from_raw_os_error)
        })
}

/// Replaces a file as a whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        // As files usually are; a temporary file is private.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory(path))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Opens what is behind a link, or a device.
fn open(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}

/// Gives the text to the process that reads a FIFO.
async fn give(path: &Path, text: &str) -> io::Result<()> {
    let end = Instant::now() + READER;
    let mut sender = loop {
        match pipe::OpenOptions::new().open_sender(path) {
            // Nobody reads it yet.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
                if Instant::now() > end {
                    return Err(io::Error::other("no process reads this FIFO"));
                }
                sleep(POLL).await;
            }
            sender => break sender?,
        }
    };
    match timeout(READER, sender.write_all(text.as_bytes())).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::other(
            "the process that reads this FIFO does not take it",
        )),
    }
}
