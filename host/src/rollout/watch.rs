//! The task that watches the plugin directory and the ledger while a host runs.
//!
//! Plugins are loaded, compiled and examined on threads of their own, off the data path.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::Rollout;
use super::candidate::RunOrder;
use super::refusal::Refusal;
use crate::plugin::{Change, Directory, Plugin, Refused};
use crate::row::PluginId;
use crate::store::{Store, StoreError};

/// Time between two looks at the directory. A file that is the same in both is complete.
const INTERVAL: Duration = Duration::from_millis(100);

/// The plugin directory, and the pipelines that use it.
#[derive(Debug)]
pub struct PluginWatcher {
    directory: Arc<Directory>,
    rollouts: Mutex<Vec<Weak<Rollout>>>,
    /// Pipelines that have begun a run since the host was started.
    entered: Mutex<BTreeSet<String>>,
}

/// Watches the directory until it is dropped.
#[derive(Debug)]
pub struct Watching {
    _guard: DropGuard,
}

impl PluginWatcher {
    /// A watcher that does not watch yet.
    #[must_use]
    pub fn new(directory: Directory) -> Arc<Self> {
        Arc::new(Self {
            directory: Arc::new(directory),
            rollouts: Mutex::default(),
            entered: Mutex::default(),
        })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The order of the next run of a pipeline.
    #[must_use]
    pub fn next_run(&self, pipeline: &str) -> RunOrder {
        let entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        if entered.contains(pipeline) {
            RunOrder::Later
        } else {
            RunOrder::First
        }
    }

    /// Offers new versions to a pipeline until `rollout` is dropped, beginning with those that have
    /// come since it was put together. Blocks while those are configured.
    pub fn enter(&self, rollout: &Arc<Rollout>) {
        {
            let mut rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
            rollouts.retain(|rollout| rollout.strong_count() > 0);
            rollouts.push(Arc::downgrade(rollout));
            let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
            entered.insert(rollout.pipeline().to_owned());
        }
        for plugin in self.directory.plugins() {
            match rollout.offer(&plugin) {
                // Reported when the pipeline was put together.
                Ok(()) | Err(Refusal::Barred(_)) => {}
                Err(refusal) => not_taken_up(rollout, &plugin, &refusal),
            }
        }
    }

    fn rollouts(&self) -> Vec<Arc<Rollout>> {
        let rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        rollouts.iter().filter_map(Weak::upgrade).collect()
    }

    /// Watches the directory until the result is dropped.
    #[must_use]
    pub fn watch(self: &Arc<Self>, store: &Store) -> Watching {
        let stop = CancellationToken::new();
        let task = watch(Arc::clone(self), store.clone(), stop.clone());
        tokio::spawn(task);
        Watching {
            _guard: stop.drop_guard(),
        }
    }

    /// Looks at the directory once, and offers new versions.
    fn look(&self) {
        for change in self.directory.look() {
            match change {
                Change::Loaded(plugin) => self.offer(&plugin),
                Change::Refused(refused) => self.refuse(&refused),
                Change::Removed(plugin) => self.removed(&plugin),
            }
        }
    }

    fn offer(&self, plugin: &Arc<Plugin>) {
        for rollout in self.rollouts() {
            if let Err(refusal) = rollout.offer(plugin) {
                not_taken_up(&rollout, plugin, &refusal);
            }
        }
    }

    fn refuse(&self, refused: &Refused) {
        let (plugin, error) = (&refused.name, &refused.error);
        metrics::counter!("forebay_plugin_refused_total", "plugin" => plugin.clone()).increment(1);
        tracing::error!(plugin, %error, "a file is refused; the active version stays");
        let id = PluginId {
            name: plugin.clone(),
            version: String::new(),
            digest: refused.digest.clone(),
        };
        for rollout in self.rollouts() {
            rollout.refused(&id, &error.what);
        }
    }

    fn removed(&self, plugin: &Plugin) {
        let name = &plugin.id().name;
        for rollout in self.rollouts() {
            if rollout.removed(name) {
                let (pipeline, file) = (rollout.pipeline(), plugin.path().display());
                let hint = if rollout.takes_all {
                    "restore the file to keep it; it is gone when the host is restarted"
                } else {
                    "restore the file, or remove the plugin from `plugins` of the pipeline and restart"
                };
                tracing::error!(pipeline, plugin = name, %file, hint, "the file of an active plugin was removed; the plugin stays in use");
            }
        }
    }
}

fn not_taken_up(rollout: &Rollout, plugin: &Plugin, refusal: &Refusal) {
    let (pipeline, id) = (rollout.pipeline(), plugin.id());
    rollout.refused(id, &refusal.to_string());
    metrics::counter!("forebay_plugin_refused_total", "plugin" => id.name.clone()).increment(1);
    tracing::error!(pipeline, plugin = id.name, version = id.version, reason = %refusal, "a new version is refused; the active version stays");
}

async fn watch(watcher: Arc<PluginWatcher>, store: Store, stop: CancellationToken) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        let looking = Arc::clone(&watcher);
        if let Err(panic) = tokio::task::spawn_blocking(move || looking.look()).await {
            tracing::error!(%panic, "cannot look at the plugin directory");
        }
        for rollout in watcher.rollouts() {
            if let Err(error) = follow(&rollout, &store).await {
                let pipeline = rollout.pipeline();
                tracing::warn!(pipeline, %error, "cannot update the ledger of plugin versions");
            }
        }
    }
}

/// Writes the notes into the ledger, and carries out the promotions that are requested there.
pub(crate) async fn follow(rollout: &Arc<Rollout>, store: &Store) -> Result<(), StoreError> {
    let _following = rollout.following.lock().await;
    let notes = rollout.take_notes();
    if !notes.is_empty()
        && let Err(error) = store.note_plugins(rollout.pipeline(), &notes).await
    {
        rollout.return_notes(notes);
        return Err(error);
    }
    if !rollout.may_promote() {
        return Ok(());
    }
    for (name, digest) in store.promotions(rollout.pipeline()).await? {
        let promoting = Arc::clone(rollout);
        let (plugin, version) = (name.clone(), digest.clone());
        // Blocks if the version has to be configured.
        let promoted = tokio::task::spawn_blocking(move || promoting.promote(&plugin, &version));
        if !promoted.await.unwrap_or(false) {
            let pipeline = rollout.pipeline();
            tracing::error!(
                pipeline,
                plugin = name,
                "the version cannot be promoted: it is no longer in the directory"
            );
        }
        store.promoted(rollout.pipeline(), &name, &digest).await?;
    }
    Ok(())
}
