//! File locks that end with their process. They are advisory and local, which is enough: only
//! Forebay uses them.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::account::Account;
use super::error::Error;
use super::guarded;

/// Interval of attempts to take a held lock. A blocking wait could not be interrupted by Ctrl-C.
const POLL: Duration = Duration::from_millis(20);

/// Takes the lock exclusively, waiting for at most `limit`.
pub(super) async fn exclusive(
    path: &Path,
    account: Account,
    limit: Duration,
) -> Result<File, Error> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        if let Some(file) = try_exclusive(path, account)? {
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
pub(super) fn try_exclusive(path: &Path, account: Account) -> Result<Option<File>, Error> {
    let file = open(path, account)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::at(path)(error)),
    }
}

/// Takes the lock shared; waits while a process holds it exclusively.
pub(super) fn shared(path: &Path, account: Account) -> Result<File, Error> {
    let file = open(path, account)?;
    file.lock_shared().map_err(Error::at(path))?;
    Ok(file)
}

/// Opens an existing lock file for reading, since it may belong to root and a lock needs no more.
fn open(path: &Path, account: Account) -> Result<File, Error> {
    let read = || guarded::open(path, account, File::options().read(true));
    match read() {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let new = guarded::open(path, account, File::options().write(true).create_new(true));
    match new {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => read(),
        other => other,
    }
}
