//! The plugin directory and its changes.
//!
//! A file counts as complete when two polls in a row find it unchanged, so a slow writer is waited
//! for; a file that is renamed into place is never seen half-written. Files that are there at the
//! start are taken as they are. Polling costs a few system calls, and works on every file system
//! and through symbolic links.
//!
//! A copy of each version that is taken up is kept in a directory of the host's own
//! (`directory/copies.rs`).

mod copies;
mod stamp;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::copies::Copies;
use self::stamp::Stamp;
use super::component::Plugin;
use super::engine::Engine;
use super::file;
use super::limits::MAX_MESSAGE;
use super::load_error::LoadError;
use super::sanitize::line;

/// Change to a file of the directory.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is a plugin now: a new one, or another version than before.
    Loaded(Arc<Plugin>),
    /// It is no plugin now, or not one that may be used.
    Refused(Refused),
    /// It was removed, and this plugin with it.
    Removed(Arc<Plugin>),
}

/// A file that is not used.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Name of the plugin that was in the file, if any; otherwise the file's name without
    /// extension.
    pub name: String,
    /// SHA-256 of the file in lower-case hexadecimal; empty if it cannot be read.
    pub digest: String,
    /// Reason.
    pub error: LoadError,
}

/// Check that a loaded plugin must pass before it is used.
pub type Examination = dyn Fn(&Arc<Plugin>) -> Result<(), Failing> + Send + Sync;

/// Reason why a plugin did not pass its examination.
#[derive(Clone, Debug)]
pub struct Failing {
    /// Description of the problem.
    pub what: String,
    /// Suggested remedy.
    pub hint: String,
    /// Other files that the result depends on. When one of them changes, the plugin is examined
    /// again.
    pub files: Vec<PathBuf>,
}

/// The plugins of a directory.
pub struct Directory {
    engine: Arc<Engine>,
    path: PathBuf,
    copies: Copies,
    examine: Box<Examination>,
    files: Mutex<BTreeMap<PathBuf, File>>,
    /// True if the last poll could not read the directory.
    unreadable: AtomicBool,
}

/// A file of the directory.
struct File {
    stamp: Option<Stamp>,
    /// True if the file with this stamp was loaded and examined.
    is_examined: bool,
    /// The last good plugin in this file.
    plugin: Option<Arc<Plugin>>,
    refused: Option<Refused>,
    /// Other files that the refusal depends on.
    others: Vec<(PathBuf, Option<Stamp>)>,
}

impl Directory {
    /// Loads the files in `path`. Copies of plugins that are taken up are kept in `kept`, which is
    /// created when it is needed. Every plugin must pass `examine`.
    ///
    /// # Errors
    /// When the directory cannot be read. Problems with a file are in [`Self::refused`].
    pub fn open(
        engine: Arc<Engine>,
        path: &Path,
        kept: &Path,
        examine: Box<Examination>,
    ) -> Result<Self, LoadError> {
        let directory = Self {
            engine,
            path: path.to_owned(),
            copies: Copies::at(kept),
            examine,
            files: Mutex::default(),
            unreadable: AtomicBool::new(false),
        };
        let found = files_in(path).map_err(|error| LoadError::of_directory(path, &error))?;
        for path in found {
            let mut file = File::new(Stamp::of(&path));
            directory.load_into(&path, &mut file);
            directory.files().insert(path, file);
        }
        Ok(directory)
    }

    /// Path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Engine that loads its plugins.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The last good plugin of each file, sorted by name.
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

    /// Files that are not used, with the reasons.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        let files = self.files();
        files
            .values()
            .filter_map(|file| file.refused.clone())
            .collect()
    }

    /// Polls the directory. Blocks while new files are loaded.
    pub fn look(&self) -> Vec<Change> {
        let found = match files_in(&self.path) {
            Ok(found) => found,
            Err(error) => {
                // The plugins in use stay in memory.
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
            changes.extend(self.poll(&path));
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

    fn poll(&self, path: &Path) -> Vec<Change> {
        let stamp = Stamp::of(path);
        let mut file = {
            let mut files = self.files();
            let Some(file) = files.get_mut(path) else {
                files.insert(path.to_owned(), File::new(stamp));
                return Vec::new();
            };
            if file.has_changed(stamp) {
                file.is_examined = false;
                return Vec::new();
            }
            if file.is_examined {
                return Vec::new();
            }
            File {
                plugin: file.plugin.clone(),
                ..File::new(stamp)
            }
        };
        let before = file.plugin.clone();
        self.load_into(path, &mut file);
        if Stamp::of(path) != stamp {
            // It was written to while it was read: try again at the next poll.
            return Vec::new();
        }
        let change = file.change(before);
        self.files().insert(path.to_owned(), file);
        change
    }

    /// Loads and examines the file's current contents.
    fn load_into(&self, path: &Path, file: &mut File) {
        file.is_examined = true;
        file.others.clear();
        let loaded = self.engine.load(path).and_then(|plugin| {
            let passed = self.check_name(path, &plugin.id().name);
            match passed.and_then(|()| (self.examine)(&plugin)) {
                Ok(()) => Ok(plugin),
                Err(Failing { what, hint, files }) => {
                    let stamped = |path: PathBuf| (path.clone(), Stamp::of(&path));
                    file.others = files.into_iter().map(stamped).collect();
                    let path = path.to_owned();
                    // It may contain messages from the guest.
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
                let digest = file::read(path).map(|bytes| file::digest(&bytes));
                file.refused = Some(Refused {
                    name,
                    digest: digest.unwrap_or_default(),
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
                what: format!("{} is also named {name}", other.display()),
                hint: "names must be unique in a directory: rename or remove one".to_owned(),
                files: vec![other.clone()],
            }),
        }
    }

    /// Keeps a copy of a plugin that is taken up, beside those of its other versions. Logs a
    /// warning if that fails, for example because its file has changed since it was loaded: there
    /// may then be no version to go back to after a restart.
    pub fn keep(&self, plugin: &Plugin) {
        self.copies.keep(plugin);
    }

    /// Loads the kept copy of a version of a plugin; `None` if there is no usable one.
    #[must_use]
    pub fn kept(&self, name: &str, digest: &str) -> Option<Arc<Plugin>> {
        self.copies.load(&self.engine, name, digest)
    }

    /// True if there is a copy of any version of a plugin.
    #[must_use]
    pub fn has_kept(&self, name: &str) -> bool {
        self.copies.has(name)
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
            is_examined: false,
            plugin: None,
            refused: None,
            others: Vec::new(),
        }
    }

    /// True if the file, or another one that its refusal depends on, has changed since the last
    /// call.
    fn has_changed(&mut self, stamp: Option<Stamp>) -> bool {
        let mut changed = std::mem::replace(&mut self.stamp, stamp) != stamp;
        for (path, stamp) in &mut self.others {
            let now = Stamp::of(path);
            changed |= std::mem::replace(stamp, now) != now;
        }
        changed
    }

    /// The change to the file, which contained `before`.
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

/// The plugin files in a directory: none if it does not exist.
fn files_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    match file::wasm_files(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found,
    }
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
