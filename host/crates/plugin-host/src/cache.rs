//! Compiled plugins, kept between runs.
//!
//! An artefact is machine code that is executed as it is, so the directory must be trusted: it is
//! created with mode 0700, and refused if another user owns it or can write to it. A checksum
//! detects damage; a damaged artefact is compiled again. Files are replaced atomically, and at most
//! 64 are kept. A failure of the cache costs a compilation, never a plugin.

use std::fs::{DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use wasmtime::Engine;
use wasmtime::component::Component;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::file;
use super::limits::MAX_FILE;

/// First bytes of a file. The checksum and the artefact follow.
const MAGIC: [u8; 8] = *b"forebay1";

/// Maximum number of artefacts; the most recently written are kept.
const MAX_ARTEFACTS: usize = 64;

/// Maximum bytes of a file. A compiled plugin is up to five times as large as its component.
const MAX_SIZE: u64 = 16 * MAX_FILE;

/// File extension of artefacts.
const EXTENSION: &str = "cwasm";

/// A directory of compiled plugins.
pub(super) struct Cache {
    directory: PathBuf,
    /// Hash of the compiler's version and settings: an engine only finds artefacts compiled for it.
    engine: u64,
}

impl Cache {
    /// Opens the directory, and creates it if necessary. Returns `None` and logs a warning if it is
    /// unavailable or cannot be trusted.
    pub(super) fn open(directory: PathBuf, engine: &Engine) -> Option<Self> {
        if let Err(reason) = prepare(&directory) {
            tracing::warn!(directory = %directory.display(), %reason, "compiled plugins are not cached");
            return None;
        }
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Some(Self {
            directory,
            engine: hasher.finish(),
        })
    }

    /// Returns the compiled form of the component with this digest, if an intact one is cached.
    pub(super) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        let file = match read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a cached plugin");
                return None;
            }
        };
        let component = checked(&file).and_then(|artefact| deserialize(engine, artefact));
        if component.is_none() {
            tracing::warn!(path = %path.display(), "a cached plugin is damaged and will be compiled again");
        }
        component
    }

    /// Stores the compiled form of the component with this digest.
    pub(super) fn put(&self, component: &Component, digest: &str) {
        if let Err(error) = self.try_put(component, digest) {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "cannot cache a compiled plugin");
        }
    }

    /// Directory of the artefacts.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn try_put(&self, component: &Component, digest: &str) -> anyhow::Result<()> {
        let artefact = component.serialize()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&MAGIC)?;
        file.write_all(&xxh3_128(&artefact).to_le_bytes())?;
        file.write_all(&artefact)?;
        file.persist(self.path(digest))?;
        self.prune()?;
        Ok(())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.directory
            .join(format!("{digest}-{:016x}.{EXTENSION}", self.engine))
    }

    fn prune(&self) -> io::Result<()> {
        let mut artefacts = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            // Another process may have removed it.
            if path.extension().is_some_and(|it| it == EXTENSION)
                && let Ok(metadata) = entry.metadata()
            {
                let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                artefacts.push((written, path));
            }
        }
        artefacts.sort();
        for (_, path) in artefacts.iter().rev().skip(MAX_ARTEFACTS) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Creates the directory, and checks that no other user can have written to it.
fn prepare(directory: &Path) -> Result<(), String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .and_then(|()| File::open(directory)?.metadata())
        .map_err(|error| error.to_string())
        .and_then(|metadata| {
            if metadata.uid() != nix::unistd::geteuid().as_raw() {
                return Err(format!("it belongs to user {}", metadata.uid()));
            }
            if metadata.mode() & 0o022 != 0 {
                return Err("other users can write to it; run `chmod go-w` on it".to_owned());
            }
            Ok(())
        })
}

/// Reads a regular file; a device or a pipe might never end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (file, metadata) = file::open(path)?;
    if !metadata.is_file() || metadata.len() > MAX_SIZE {
        return Err(io::Error::other(
            "it is not an artefact: not a regular file, or too large",
        ));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the artefact in a file, if its checksum matches.
fn checked(file: &[u8]) -> Option<&[u8]> {
    let (checksum, artefact) = file.strip_prefix(&MAGIC)?.split_first_chunk::<16>()?;
    (xxh3_128(artefact).to_le_bytes() == *checksum).then_some(artefact)
}

#[expect(
    unsafe_code,
    reason = "the only place: running code that was compiled before is the purpose"
)]
fn deserialize(engine: &Engine, artefact: &[u8]) -> Option<Component> {
    // SAFETY: the bytes must be the output of `Component::serialize`. They come from a file in a
    // directory that only this user can write to (`prepare`), under a name that only `put` assigns,
    // and their checksum matches (`checked`). Artefacts for another version or other settings of
    // the engine have other names, and `deserialize` itself refuses them.
    unsafe { Component::deserialize(engine, artefact) }.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_directory_must_be_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        prepare(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);

        fs::set_permissions(&directory, fs::Permissions::from_mode(0o720)).unwrap();
        assert!(
            prepare(&directory)
                .unwrap_err()
                .contains("other users can write")
        );

        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(prepare(&file).is_err());
    }

    #[test]
    fn only_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "artefact").unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        let huge = File::create(at("huge")).unwrap();
        huge.set_len(MAX_SIZE + 1).unwrap();
        assert_eq!(read(&at("file")).unwrap(), b"artefact");
        for name in ["pipe", "endless", "huge", "none"] {
            assert!(read(&at(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn damage_is_found() {
        let mut file = MAGIC.to_vec();
        file.extend(xxh3_128(b"artefact").to_le_bytes());
        file.extend(b"artefact");
        assert_eq!(checked(&file), Some(b"artefact".as_slice()));
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(checked(&damaged), None, "byte {at}");
            assert_eq!(checked(&file[..at]), None, "cut at {at}");
        }
    }
}
