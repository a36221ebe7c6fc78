//! Files of a server's directory, looked at before they are used: root may run in a folder that
//! another user has prepared, with links and FIFOs where files are expected.
//!
//! A path is opened without following a link and without waiting for a FIFO's other end; then the
//! opened file itself is looked at, which nobody can exchange any more. It must be of the expected
//! kind, and belong to this process's user, to the account that runs the server, or to root.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use nix::libc;

use super::account::Account;
use super::error::Error;

/// What a path has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// Opens a regular file. `NotFound` is an ordinary error.
pub(super) fn open(
    path: &Path,
    account: Account,
    options: &mut OpenOptions,
) -> Result<File, Error> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = options.custom_flags(flags).open(path);
    let file = file.map_err(|error| refused(path, error))?;
    let metadata = file.metadata().map_err(Error::at(path))?;
    judge(path, &metadata, Kind::File, account)?;
    Ok(file)
}

/// Opens a directory, to change it and nothing that took its place.
pub(super) fn directory(path: &Path, account: Account) -> Result<File, Error> {
    let flags = libc::O_NOFOLLOW | libc::O_DIRECTORY;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let directory = directory.map_err(|error| refused(path, error))?;
    let metadata = directory.metadata().map_err(Error::at(path))?;
    judge(path, &metadata, Kind::Directory, account)?;
    Ok(directory)
}

/// Gives a directory of this process to the account.
pub(super) fn give(path: &Path, account: Account) -> Result<(), Error> {
    let directory = directory(path, account)?;
    if account.switch {
        fchown(&directory, Some(account.uid), Some(account.gid)).map_err(Error::at(path))?;
    }
    Ok(())
}

/// Looks at a path as it is, without opening it; false if there is nothing.
pub(super) fn exists(path: &Path, kind: Kind, account: Account) -> Result<bool, Error> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        metadata => {
            judge(path, &metadata.map_err(Error::at(path))?, kind, account)?;
            Ok(true)
        }
    }
}

/// The error of a path that could not be opened.
fn refused(path: &Path, error: io::Error) -> Error {
    let link = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    match error.raw_os_error() {
        Some(libc::ELOOP | libc::ENOTDIR) if link => suspect(path, "a symbolic link"),
        Some(libc::ENXIO) => suspect(path, "a FIFO or a socket"),
        Some(libc::ENOTDIR) => suspect(path, "not a directory"),
        _ => Error::at(path)(error),
    }
}

fn judge(path: &Path, metadata: &Metadata, kind: Kind, account: Account) -> Result<(), Error> {
    let file_type = metadata.file_type();
    let is_right = match kind {
        Kind::File => file_type.is_file(),
        Kind::Directory => file_type.is_dir(),
    };
    if !is_right {
        let is = match kind {
            _ if file_type.is_symlink() => "a symbolic link",
            _ if file_type.is_fifo() || file_type.is_socket() => "a FIFO or a socket",
            Kind::File => "not a regular file",
            Kind::Directory => "not a directory",
        };
        return Err(suspect(path, is));
    }
    if kind == Kind::File && metadata.nlink() > 1 {
        return Err(suspect(path, "a hard link"));
    }
    let (owner, user) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if [user, account.uid, 0].contains(&owner) {
        return Ok(());
    }
    Err(Error::Foreign {
        path: path.to_owned(),
        owner,
        user,
    })
}

fn suspect(path: &Path, is: &'static str) -> Error {
    Error::Suspect {
        path: path.to_owned(),
        is,
    }
}
