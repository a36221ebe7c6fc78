//! Reading plugin files: regular files of bounded size, and their digests.

use std::fs::{File, Metadata};
use std::io;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use super::limits::MAX_FILE;

/// Error from reading a plugin file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("cannot be read: it is not a file")]
    NotRegular,
    #[error("larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
}

impl FileError {
    /// Suggested remedy.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "check the path and its permissions",
            Self::NotRegular => "pass the path of a `.wasm` file",
            Self::TooLarge => "build it in release mode and strip it",
        }
    }
}

/// An open plugin file: a regular one, since reading a pipe could block the host for ever.
pub(super) struct PluginFile {
    file: File,
    size: u64,
}

impl PluginFile {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened or is not a regular file.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let (file, metadata) = open(path)?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular);
        }
        let size = metadata.len();
        Ok(Self { file, size })
    }

    /// Bytes of the file when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or has more than [`MAX_FILE`] bytes.
    pub(super) fn read(self) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        if self.size <= MAX_FILE {
            self.file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        }
        // The file may have grown since it was opened.
        if self.size.max(bytes.len() as u64) > MAX_FILE {
            return Err(FileError::TooLarge);
        }
        Ok(bytes)
    }
}

/// Reads a plugin file.
///
/// # Errors
/// When it cannot be read, is not a regular file, or has more than [`MAX_FILE`] bytes.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    PluginFile::open(path)?.read()
}

/// Opens any kind of file without blocking: opening a pipe would wait for its writer.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let nonblocking = OFlag::O_NONBLOCK.bits();
    let file = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// The `*.wasm` paths in a directory, sorted.
pub(super) fn wasm_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// SHA-256 of some bytes, in lower-case hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
