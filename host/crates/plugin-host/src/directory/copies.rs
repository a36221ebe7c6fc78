//! Copies of plugin versions, kept by digest, so that there is a version to go back to even after a
//! restart. The ledger knows which of them was good.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use super::super::component::Plugin;
use super::super::engine::Engine;
use super::super::file;
use crate::row::PluginId;

/// Number of copies per plugin that are kept however old they are: those used last.
const MIN_COPIES: usize = 16;

/// Time since its last use after which a copy beyond [`MIN_COPIES`] is removed.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// A directory with a subdirectory of copies for each plugin name.
pub(super) struct Copies {
    path: PathBuf,
}

impl Copies {
    /// Copies below this path, which is created when it is needed.
    pub(super) fn at(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path }
    }

    /// Keeps a copy of a plugin's file, or marks an existing copy as used. Logs a warning if that
    /// fails.
    pub(super) fn keep(&self, plugin: &Plugin) {
        if let Err(error) = self.try_keep(plugin) {
            let (plugin, kept) = (&plugin.id().name, self.path.display());
            tracing::warn!(plugin, %kept, %error, "cannot keep a copy of the plugin to go back to");
        }
    }

    fn try_keep(&self, plugin: &Plugin) -> io::Result<()> {
        let PluginId { name, digest, .. } = &**plugin.id();
        let copies = self.of(name);
        let target = copies.join(format!("{digest}.wasm"));
        if let Ok(copy) = fs::File::options().append(true).open(&target)
            && copy.metadata()?.len() == plugin.size() as u64
        {
            return copy.set_modified(SystemTime::now());
        }
        fs::create_dir_all(&copies)?;
        let bytes = file::read(plugin.path()).map_err(io::Error::other)?;
        if file::digest(&bytes) != *digest {
            return Err(io::Error::other("the file has changed since it was loaded"));
        }
        let mut copy = tempfile::NamedTempFile::new_in(&copies)?;
        copy.write_all(&bytes)?;
        copy.persist(target)?;
        prune(&copies)
    }

    /// Loads the copy of a version; `None` if there is no usable one.
    pub(super) fn load(
        &self,
        engine: &Arc<Engine>,
        name: &str,
        digest: &str,
    ) -> Option<Arc<Plugin>> {
        let path = self.of(name).join(format!("{digest}.wasm"));
        if !path.exists() {
            return None;
        }
        match engine.load(&path) {
            Ok(plugin) if plugin.id().digest == digest && plugin.id().name == name => Some(plugin),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the kept copy of a plugin cannot be used");
                None
            }
        }
    }

    /// True if there is a copy of any version of a plugin.
    pub(super) fn has(&self, name: &str) -> bool {
        file::wasm_files(&self.of(name)).is_ok_and(|copies| !copies.is_empty())
    }

    fn of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Removes old copies, if there are many.
fn prune(copies: &Path) -> io::Result<()> {
    let mut used = Vec::new();
    for path in file::wasm_files(copies)? {
        used.push((fs::metadata(&path)?.modified()?, path));
    }
    used.sort();
    let is_old = |used: &SystemTime| used.elapsed().is_ok_and(|age| age > MAX_AGE);
    let beyond = used.iter().rev().skip(MIN_COPIES);
    for (_, path) in beyond.filter(|(used, _)| is_old(used)) {
        fs::remove_file(path)?;
    }
    Ok(())
}
