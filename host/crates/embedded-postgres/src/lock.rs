//! File locks that end with their process. They are advisory and local, which is enough: only
//! Forebay uses them.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::error::Error;

/// Interval of attempts to take a held lock. A blocking wait could not be interrupted by Ctrl-C.
const POLL: Duration = Duration::from_millis(20);

/// Takes the lock exclusively, waiting for at most `limit`.
pub(super) async fn exclusive(path: &Path, limit: Duration) -> Result<File, Error> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        if let Some(file) = try_exclusive(path)? {
            return Ok(file);
        }
        if begin.elapsed() >= limit {
            return Err(Error::Busy {
                path: path.to_owned(),
                seconds: limit.as_secs(),
            });
        }
        if !told && begin.elapsed() >= Duration::from_secs(1) {
            tracing::info!(lock = %path.display(), "waiting for another process");
            told = true;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Takes the lock exclusively if it is free.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<File>, Error> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::at(path)(error)),
    }
}

/// Takes the lock shared; waits while a process holds it exclusively.
pub(super) fn shared(path: &Path) -> Result<File, Error> {
    let file = open(path)?;
    file.lock_shared().map_err(Error::at(path))?;
    Ok(file)
}

/// Opens an existing lock file for reading, since it may belong to root and a lock needs no more.
fn open(path: &Path) -> Result<File, Error> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(Error::at(path)),
    }
    match File::options().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::open(path).map_err(Error::at(path))
        }
        other => other.map_err(Error::at(path)),
    }
}
