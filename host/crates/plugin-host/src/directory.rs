//! The plugin directory, as it changes.
//!
//! A file is taken for finished when two looks in a row find it the same; whoever writes slowly
//! is waited for, and a file that is renamed into place is found whole. What is in the directory
//! at the start is taken as it is. Looking is done by polling: it costs a few system calls, and
//! works on every file system and through symbolic links.
//!
//! Of each version that is taken up a copy is kept in a directory of the host's own, under its
//! digest, so that there is something to go back to after a restart as well. Which of them was good
//! is for the ledger to say.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use super::component::Plugin;
use super::engine::Engine;
use super::limits::MAX_MESSAGE;
use super::load::{LoadError, bytes_and_digest, digest_of, wasm_files};
use super::sanitize::line;
use crate::row::PluginId;

/// Copies of a plugin's versions that are kept in any case, the last used.
const KEPT: usize = 16;

/// For how long a copy is kept that was used before those.
const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

/// What has happened to a file of the directory.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is a plugin, and was none or another one before.
    Loaded(Arc<Plugin>),
    /// It was replaced by what is no plugin, or none that may be used.
    Refused(Refused),
    /// It has gone, and this plugin with it.
    Removed(Arc<Plugin>),
}

/// A file that is not used.
#[derive(Clone, Debug)]
pub struct Refused {
    /// As the plugin is called, if that is known; else as the file is.
    pub name: String,
    /// SHA-256 of the file, in lower-case hexadecimal; empty if it cannot be read.
    pub digest: String,
    /// Why.
    pub error: LoadError,
}

/// What a plugin has to pass besides being one.
pub type Examination = dyn Fn(&Arc<Plugin>) -> Result<(), Failing> + Send + Sync;

/// Why a plugin does not pass.
#[derive(Clone, Debug)]
pub struct Failing {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
    /// Files that this depends on besides its own: when one of them changes it may pass.
    pub files: Vec<PathBuf>,
}

/// The plugins of a directory.
pub struct Directory {
    engine: Arc<Engine>,
    path: PathBuf,
    kept: PathBuf,
    examine: Box<Examination>,
    files: Mutex<BTreeMap<PathBuf, File>>,
    /// It could not be read the last time.
    unreadable: AtomicBool,
}

/// Enough of a file's state to see that it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

struct File {
    stamp: Option<Stamp>,
    /// Whether this stamp was looked at.
    settled: bool,
    /// The last good one that was in this file.
    plugin: Option<Arc<Plugin>>,
    refused: Option<Refused>,
    /// Other files for which it is refused.
    others: Vec<(PathBuf, Option<Stamp>)>,
}

impl Directory {
    /// Loads what is in `path`. Copies of plugins that are taken up are kept in `kept`, which is
    /// made when it is needed. `examine` is asked about every plugin before
    /// it counts.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read. What is wrong with a file is in [`Self::refused`].
    pub fn open(
        engine: Arc<Engine>,
        path: &Path,
        kept: &Path,
        examine: Box<Examination>,
    ) -> Result<Self, LoadError> {
        let directory = Self {
            engine,
            path: path.to_owned(),
            kept: kept.to_owned(),
            examine,
            files: Mutex::default(),
            unreadable: AtomicBool::new(false),
        };
        let found = files_in(path).map_err(|error| LoadError {
            path: path.to_owned(),
            what: format!("cannot read the plugin directory: {error}"),
            hint: "check `directory` under `[plugins]`".to_owned(),
        })?;
        for path in found {
            let mut file = File::new(Stamp::of(&path));
            directory.look_into(&path, &mut file);
            directory.files().insert(path, file);
        }
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its plugins may use.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The last good plugin of each file, in the order of their names.
    #[must_use]
    pub fn plugins(&self) -> Vec<Arc<Plugin>> {
        let files = self.files();
        let mut plugins: Vec<_> = files
            .values()
            .filter_map(|file| file.plugin.clone())
            .collect();
        plugins.sort_by(|a, b| a.id().name.cmp(&b.id().name));
        plugins
    }

    /// Files that are not used, and why.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        let files = self.files();
        files
            .values()
            .filter_map(|file| file.refused.clone())
            .collect()
    }

    /// Looks at the directory. Blocks for as long as loading takes what is new in it.
    pub fn look(&self) -> Vec<Change> {
        let found = match files_in(&self.path) {
            Ok(found) => found,
            Err(error) => {
                // Whatever is the matter, the plugins in use are in memory.
                if !self.unreadable.swap(true, Ordering::Relaxed) {
                    let directory = self.path.display();
                    tracing::warn!(%directory, %error, "cannot read the plugin directory");
                }
                return Vec::new();
            }
        };
        self.unreadable.store(false, Ordering::Relaxed);
        let mut changes = self.take_removed(&found);
        for path in found {
            changes.extend(self.look_at(&path));
        }
        changes
    }

    fn take_removed(&self, found: &[PathBuf]) -> Vec<Change> {
        let mut files = self.files();
        let gone: Vec<PathBuf> = files
            .keys()
            .filter(|path| !found.contains(path))
            .cloned()
            .collect();
        let gone = gone
            .into_iter()
            .filter_map(|path| files.remove(&path)?.plugin);
        gone.map(Change::Removed).collect()
    }

    fn look_at(&self, path: &Path) -> Vec<Change> {
        let stamp = Stamp::of(path);
        let mut file = {
            let mut files = self.files();
            let Some(file) = files.get_mut(path) else {
                files.insert(path.to_owned(), File::new(stamp));
                return Vec::new();
            };
            if file.has_changed(stamp) {
                file.settled = false;
                return Vec::new();
            }
            if file.settled {
                return Vec::new();
            }
            File {
                plugin: file.plugin.clone(),
                ..File::new(stamp)
            }
        };
        let before = file.plugin.clone();
        self.look_into(path, &mut file);
        if Stamp::of(path) != stamp {
            // It was written to while it was read: next time.
            return Vec::new();
        }
        let change = file.change(before);
        self.files().insert(path.to_owned(), file);
        change
    }

    /// Loads and examines what is in the file now.
    fn look_into(&self, path: &Path, file: &mut File) {
        file.settled = true;
        file.others.clear();
        let loaded = self.engine.load(path).and_then(|plugin| {
            let passed = self.check_name(path, &plugin.id().name);
            match passed.and_then(|()| (self.examine)(&plugin)) {
                Ok(()) => Ok(plugin),
                Err(Failing { what, hint, files }) => {
                    let stamped = |path: PathBuf| (path.clone(), Stamp::of(&path));
                    file.others = files.into_iter().map(stamped).collect();
                    let path = path.to_owned();
                    // Words of the guest's are among it.
                    let what = line(what, MAX_MESSAGE);
                    Err(LoadError { path, what, hint })
                }
            }
        });
        match loaded {
            Ok(plugin) => {
                file.plugin = Some(plugin);
                file.refused = None;
            }
            Err(error) => {
                let name = match &file.plugin {
                    Some(plugin) => plugin.id().name.clone(),
                    None => stem(path),
                };
                let digest = digest_of(path).unwrap_or_default();
                file.refused = Some(Refused {
                    name,
                    digest,
                    error,
                });
            }
        }
    }

    fn check_name(&self, path: &Path, name: &str) -> Result<(), Failing> {
        let files = self.files();
        let other = files.iter().find(|(other, file)| {
            *other != path && file.plugin.as_ref().is_some_and(|it| it.id().name == name)
        });
        match other {
            None => Ok(()),
            Some((other, _)) => Err(Failing {
                what: format!("{} is named {name} as well", other.display()),
                hint: "names are unique in a directory: rename or remove one".to_owned(),
                files: vec![other.clone()],
            }),
        }
    }

    /// Keeps a copy of a plugin that is taken up, beside those of other versions: while its file
    /// is still what was loaded. Where that cannot be done a warning says so: there may be nothing
    /// to go back to after a restart.
    pub fn keep(&self, plugin: &Plugin) {
        if let Err(error) = self.try_keep(plugin) {
            let (plugin, kept) = (&plugin.id().name, self.kept.display());
            tracing::warn!(plugin, %kept, %error, "cannot keep a copy of the plugin to go back to");
        }
    }

    fn try_keep(&self, plugin: &Plugin) -> io::Result<()> {
        let PluginId { name, digest, .. } = &**plugin.id();
        let copies = self.copies_of(name);
        let target = copies.join(format!("{digest}.wasm"));
        if let Ok(copy) = fs::File::options().append(true).open(&target)
            && copy.metadata()?.len() == plugin.size() as u64
        {
            // It was used: others go before it.
            return copy.set_modified(SystemTime::now());
        }
        fs::create_dir_all(&copies)?;
        let (bytes, found) = bytes_and_digest(plugin.path())?;
        if found != *digest {
            return Err(io::Error::other("the file has changed since it was loaded"));
        }
        let mut copy = tempfile::NamedTempFile::new_in(&copies)?;
        copy.write_all(&bytes)?;
        copy.persist(target)?;
        prune(&copies)
    }

    /// The copy of a version of a plugin, if there is one and it can still be used.
    #[must_use]
    pub fn kept(&self, name: &str, digest: &str) -> Option<Arc<Plugin>> {
        let path = self.copies_of(name).join(format!("{digest}.wasm"));
        if !path.exists() {
            return None;
        }
        match self.engine.load(&path) {
            Ok(plugin) if plugin.id().digest == digest && plugin.id().name == name => Some(plugin),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the kept copy of a plugin cannot be used");
                None
            }
        }
    }

    /// Whether there is a copy of any version of a plugin.
    #[must_use]
    pub fn has_kept(&self, name: &str) -> bool {
        wasm_files(&self.copies_of(name)).is_ok_and(|copies| !copies.is_empty())
    }

    fn copies_of(&self, name: &str) -> PathBuf {
        self.kept.join(name)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Directory").field(&self.path).finish()
    }
}

impl File {
    fn new(stamp: Option<Stamp>) -> Self {
        Self {
            stamp,
            settled: false,
            plugin: None,
            refused: None,
            others: Vec::new(),
        }
    }

    /// Whether it is not as it was when this was last asked, or what it is refused for.
    fn has_changed(&mut self, stamp: Option<Stamp>) -> bool {
        let mut changed = std::mem::replace(&mut self.stamp, stamp) != stamp;
        for (path, stamp) in &mut self.others {
            let now = Stamp::of(path);
            changed |= std::mem::replace(stamp, now) != now;
        }
        changed
    }

    /// What has become of the file, which had `before` in it.
    fn change(&self, before: Option<Arc<Plugin>>) -> Vec<Change> {
        if let Some(refused) = &self.refused {
            return vec![Change::Refused(refused.clone())];
        }
        let Some(plugin) = &self.plugin else {
            return Vec::new();
        };
        let loaded = Change::Loaded(Arc::clone(plugin));
        match before {
            Some(before) if before.id().name != plugin.id().name => {
                vec![Change::Removed(before), loaded]
            }
            Some(before) if before.id() == plugin.id() => Vec::new(),
            Some(_) | None => vec![loaded],
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// A directory that is not there has no plugins.
fn files_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    match wasm_files(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found,
    }
}

/// Removes copies that nobody has used for a while, if there are many.
fn prune(copies: &Path) -> io::Result<()> {
    let mut used = Vec::new();
    for path in wasm_files(copies)? {
        used.push((fs::metadata(&path)?.modified()?, path));
    }
    used.sort();
    let old = |used: &SystemTime| used.elapsed().is_ok_and(|ago| ago > KEPT_FOR);
    for (_, path) in used.iter().rev().skip(KEPT).filter(|(used, _)| old(used)) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
