//! Paths of a server's files: data directories by major version, socket, log, locks.
//!
//! They are in `postgres` in the host's directory. For root they are below `/var/lib/forebay` if
//! the account that runs the server cannot enter the host's directory.

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::Error;
use super::guarded::Kind;
use super::{guarded, lock};

/// Part of the socket's name; the server does not listen on the network.
pub(super) const PORT: u16 = 5432;
/// User and database have the same name.
pub(super) const NAME: &str = "forebay";
/// Maximum length of the socket's path. Linux allows 107 bytes, macOS 103.
const SOCKET_BYTES: usize = 100;
/// Directory of root's servers if only root can enter the host's directory.
const ROOT_STATE: &str = "/var/lib/forebay";

/// Bytes that stay as they are in the URL's query: unreserved characters and `/`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The files of one server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    directory: PathBuf,
    socket: PathBuf,
    pub(super) account: Account,
}

impl Place {
    /// Locates the server of a host's directory. Creates nothing.
    pub(super) fn locate(directory: &Path) -> Result<Self, Error> {
        let directory = resolve(directory)?;
        let near = directory.join("postgres");
        let account = Account::choose(None);
        if !account.switch {
            let owner = fs::symlink_metadata(&near)
                .map(|metadata| metadata.uid())
                .unwrap_or(account.uid);
            if owner != account.uid {
                return Err(Error::Foreign {
                    path: near,
                    owner,
                    user: account.uid,
                });
            }
            return Self::at(near, account).checked();
        }
        let far = Path::new(ROOT_STATE)
            .join(digest(&directory))
            .join("postgres");
        for candidate in [&near, &far] {
            if let Some(owner) = data_owner(candidate)? {
                return Self::at(candidate.clone(), Account::choose(Some(owner))).checked();
            }
        }
        let existing = directory.ancestors().find(|ancestor| ancestor.exists());
        if existing.is_some_and(|existing| account.can_enter(existing)) {
            return Self::at(near, account).checked();
        }
        Self::at(far, account).checked()
    }

    fn at(directory: PathBuf, account: Account) -> Self {
        let near = directory.join("socket");
        let file = near.join(format!(".s.PGSQL.{PORT}"));
        // A URL holds only texts.
        let socket = if file.as_os_str().len() <= SOCKET_BYTES && file.to_str().is_some() {
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

    /// Looks at everything that is there already: nothing is used that leads elsewhere, or that
    /// somebody else has put there.
    fn checked(self) -> Result<Self, Error> {
        let account = self.account;
        if !guarded::exists(&self.directory, Kind::Directory, account)? {
            return Ok(self);
        }
        for file in [
            self.log(),
            self.start_lock(),
            self.users_lock(),
            self.keep_marker(),
        ] {
            guarded::exists(&file, Kind::File, account)?;
        }
        for major in self.majors()? {
            let data = self.data(major);
            guarded::exists(&data, Kind::Directory, account)?;
            guarded::exists(&data.join("postmaster.pid"), Kind::File, account)?;
        }
        Ok(self)
    }

    /// Takes the lock under which the server is started and stopped.
    pub(super) async fn lock_start(&self, limit: Duration) -> Result<File, Error> {
        lock::exclusive(&self.start_lock(), self.account, limit).await
    }

    /// Creates the directory.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        if self.directory.starts_with(ROOT_STATE) {
            tracing::info!(
                data = %self.directory.display(),
                "the server's files are outside the host's directory: it runs as uid {}, which cannot enter that",
                self.account.uid
            );
        }
        create_public(&self.directory)?;
        // Root keeps its directory, so that the account cannot replace names in it.
        let mode = if self.account.switch { 0o711 } else { 0o700 };
        let directory = guarded::directory(&self.directory, self.account)?;
        let metadata = directory.metadata().map_err(Error::at(&self.directory))?;
        if metadata.uid() == nix::unistd::geteuid().as_raw() {
            directory
                .set_permissions(Permissions::from_mode(mode))
                .map_err(Error::at(&self.directory))?;
        }
        Ok(())
    }

    /// Creates the socket's directory, and refuses one of another user.
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
        guarded::give(&self.socket, self.account)
    }

    /// Removes the socket's directory, which may be outside the host's directory.
    pub(super) fn remove_socket(&self) {
        // A server that has ended may not have unlinked its files yet: they are removed as well.
        if let Err(error) = fs::remove_dir_all(&self.socket) {
            tracing::debug!(path = %self.socket.display(), %error, "cannot remove");
        }
    }

    /// True if a server was ever prepared here.
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

    /// The data directory of a major version; other versions cannot read it.
    pub(super) fn data(&self, major: u32) -> PathBuf {
        self.directory.join(major.to_string())
    }

    /// Major versions that have a data directory, ascending.
    pub(super) fn majors(&self) -> Result<Vec<u32>, Error> {
        majors(&self.directory)
    }

    /// True if the server keeps running when no process uses it.
    pub(super) fn kept(&self) -> bool {
        self.keep_marker().exists()
    }

    pub(super) fn set_kept(&self) -> Result<(), Error> {
        let marker = self.keep_marker();
        let mut options = File::options();
        options.write(true).create(true);
        guarded::open(&marker, self.account, &mut options).map(drop)
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

    /// The connection URL in a form that sqlx and libpq both read. Sets everything that an
    /// environment variable could otherwise change.
    pub(super) fn url(&self) -> String {
        let host = percent_encode(self.socket.as_os_str().as_bytes(), ENCODED);
        format!("postgres:///{NAME}?host={host}&port={PORT}&user={NAME}&sslmode=disable")
    }
}

/// Creates a directory and its missing parents, all readable: the server's account has to enter
/// them.
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

/// Removes directories with this prefix, which killed processes have left. The caller holds the
/// lock under which they are created.
pub(super) fn remove_unfinished(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove");
        }
    }
}

/// A canonical name of a directory, for hashes and comparisons.
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
    // A link would have the server run as the owner of what it leads to.
    let metadata = fs::symlink_metadata(&data).map_err(Error::at(&data))?;
    Ok(Some((metadata.uid(), metadata.gid())))
}

/// Twelve hexadecimal digits of a path's SHA-256.
fn digest(path: &Path) -> String {
    let mut digits = hex::encode(Sha256::digest(path.as_os_str().as_bytes()));
    digits.truncate(12);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_hold_any_path() {
        let place = Place {
            directory: PathBuf::new(),
            socket: PathBuf::from("/home/a b-c_d.e~/ü&?%"),
            account: Account::choose(None),
        };
        assert_eq!(
            place.url(),
            "postgres:///forebay?host=/home/a%20b-c_d.e~/%C3%BC%26%3F%25&port=5432&user=forebay&sslmode=disable"
        );
    }
}
