//! Where a server's files are: data directories by major version, socket, log, locks.
//!
//! The place is `postgres` in the host's directory. For root it is in `/var/lib/forebay` instead
//! when the account that runs the server could not get to the host's directory.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::Error;

/// The port is only the socket's name here: nothing listens on the network.
pub(super) const PORT: u16 = 5432;
/// User and database have the same name.
pub(super) const NAME: &str = "forebay";
/// A socket's address holds 107 bytes on Linux and 103 on macOS.
const SOCKET_BYTES: usize = 100;
/// Where root's servers live when nobody but root gets to the host's directory.
const ROOT_STATE: &str = "/var/lib/forebay";

/// The files of one server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    directory: PathBuf,
    socket: PathBuf,
    pub(super) account: Account,
}

impl Place {
    /// Decides where the server of a host's directory lives. Makes nothing.
    pub(super) fn locate(directory: &Path) -> Result<Self, Error> {
        let directory = resolve(directory)?;
        let near = directory.join("postgres");
        let account = Account::choose(None);
        if !account.switch {
            let owner = fs::metadata(&near)
                .map(|metadata| metadata.uid())
                .unwrap_or(account.uid);
            if owner != account.uid {
                return Err(Error::Foreign {
                    path: near,
                    owner,
                    user: account.uid,
                });
            }
            return Ok(Self::at(near, account));
        }
        let far = Path::new(ROOT_STATE)
            .join(digest(&directory))
            .join("postgres");
        for candidate in [&near, &far] {
            if let Some(owner) = data_owner(candidate)? {
                return Ok(Self::at(candidate.clone(), Account::choose(Some(owner))));
            }
        }
        let existing = directory.ancestors().find(|ancestor| ancestor.exists());
        if existing.is_some_and(|existing| account.can_enter(existing)) {
            return Ok(Self::at(near, account));
        }
        Ok(Self::at(far, account))
    }

    fn at(directory: PathBuf, account: Account) -> Self {
        let near = directory.join("socket");
        let file = near.join(format!(".s.PGSQL.{PORT}"));
        let socket = if file.as_os_str().len() <= SOCKET_BYTES {
            near
        } else {
            PathBuf::from(format!(
                "/tmp/forebay-{}-{}",
                account.uid,
                digest(&directory)
            ))
        };
        Self {
            directory,
            socket,
            account,
        }
    }

    /// Makes the directory.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        if self.directory.starts_with(ROOT_STATE) {
            tracing::info!(
                data = %self.directory.display(),
                "the server's files are kept apart: it runs as uid {}, which cannot enter the host's directory",
                self.account.uid
            );
        }
        create_public(&self.directory)?;
        // Root's stays root's, so that the account cannot play with names in it.
        let mode = if self.account.switch { 0o711 } else { 0o700 };
        let metadata = fs::metadata(&self.directory).map_err(Error::at(&self.directory))?;
        if metadata.uid() == nix::unistd::geteuid().as_raw() {
            fs::set_permissions(&self.directory, Permissions::from_mode(mode))
                .map_err(Error::at(&self.directory))?;
        }
        Ok(())
    }

    /// Makes the socket's directory, and refuses one that somebody else made.
    pub(super) fn prepare_socket(&self) -> Result<(), Error> {
        match DirBuilder::new().mode(0o700).create(&self.socket) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::at(&self.socket)(error));
            }
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.socket).map_err(Error::at(&self.socket))?;
        let user = nix::unistd::geteuid().as_raw();
        let ours = metadata.uid() == self.account.uid || metadata.uid() == user;
        if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
            return Err(Error::Foreign {
                path: self.socket.clone(),
                owner: metadata.uid(),
                user,
            });
        }
        self.account.own(&self.socket)
    }

    /// Leaves nothing outside the host's directory when the server is gone.
    pub(super) fn remove_socket(&self) {
        // A server that has ended may still be about to unlink its files: they go as well.
        if let Err(error) = fs::remove_dir_all(&self.socket) {
            tracing::debug!(path = %self.socket.display(), %error, "cannot remove");
        }
    }

    /// Whether a server was ever prepared here.
    pub(super) fn exists(&self) -> bool {
        self.directory.exists()
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn socket_file(&self) -> PathBuf {
        self.socket.join(format!(".s.PGSQL.{PORT}"))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    pub(super) fn start_lock(&self) -> PathBuf {
        self.directory.join("start.lock")
    }

    pub(super) fn users_lock(&self) -> PathBuf {
        self.directory.join("users.lock")
    }

    /// The data directory of a major version: another one cannot read it.
    pub(super) fn data(&self, major: u32) -> PathBuf {
        self.directory.join(major.to_string())
    }

    /// Major versions that have a data directory, ascending.
    pub(super) fn majors(&self) -> Result<Vec<u32>, Error> {
        majors(&self.directory)
    }

    /// Whether the server runs on when nobody uses it.
    pub(super) fn kept(&self) -> bool {
        self.keep_marker().exists()
    }

    pub(super) fn set_kept(&self) -> Result<(), Error> {
        let marker = self.keep_marker();
        File::create(&marker).map(drop).map_err(Error::at(&marker))
    }

    pub(super) fn clear_kept(&self) -> Result<(), Error> {
        let marker = self.keep_marker();
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at(&marker)(error)),
            _ => Ok(()),
        }
    }

    fn keep_marker(&self) -> PathBuf {
        self.directory.join("keep")
    }

    /// In the form that sqlx and libpq both read. Says everything that an environment variable
    /// could otherwise change.
    pub(super) fn url(&self) -> String {
        let host = percent_encode(self.socket.as_os_str());
        format!("postgres:///{NAME}?host={host}&port={PORT}&user={NAME}&sslmode=disable")
    }
}

/// Makes a directory and those above it, each open to all: the server's account has to pass.
pub(super) fn create_public(directory: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.exists())
        .collect();
    for path in missing.into_iter().rev() {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other.map_err(Error::at(path))?,
        }
        fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(Error::at(path))?;
    }
    Ok(())
}

/// Removes what killed processes left of attempts whose names begin so. The caller holds the lock
/// under which they are made.
pub(super) fn remove_unfinished(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove");
        }
    }
}

/// One name for one directory, however it was written: it decides over hashes and comparisons.
fn resolve(directory: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(directory).map_err(Error::at(directory))?;
    for existing in absolute.ancestors() {
        if let Ok(real) = existing.canonicalize() {
            let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
            return Ok(real.components().chain(rest.components()).collect());
        }
    }
    Ok(absolute)
}

fn majors(directory: &Path) -> Result<Vec<u32>, Error> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::at(directory))?,
    };
    let mut majors = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::at(directory))?;
        let major: Option<u32> = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        majors.extend(major.filter(|_| entry.path().join("PG_VERSION").exists()));
    }
    majors.sort_unstable();
    Ok(majors)
}

fn data_owner(directory: &Path) -> Result<Option<(u32, u32)>, Error> {
    let Some(major) = majors(directory)?.pop() else {
        return Ok(None);
    };
    let data = directory.join(major.to_string());
    let metadata = fs::metadata(&data).map_err(Error::at(&data))?;
    Ok(Some((metadata.uid(), metadata.gid())))
}

/// Twelve hexadecimal digits of a path's SHA-256.
fn digest(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn percent_encode(text: &OsStr) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
