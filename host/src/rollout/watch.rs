//! The task that follows the plugin directory while a host runs, and the ledger with it.
//!
//! Loading, compiling and examining happen on threads of their own, off the data path.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Refusal, Rollout};
use crate::plugin::{Change, Directory, Plugin, Refused};
use crate::row::PluginId;
use crate::store::Store;

/// How often the directory is looked at. A file is taken for finished when it is found the same
/// twice.
const INTERVAL: Duration = Duration::from_millis(100);

/// The plugin directory, and the pipelines that use it.
#[derive(Debug)]
pub struct PluginWatcher {
    directory: Arc<Directory>,
    rollouts: Mutex<Vec<Weak<Rollout>>>,
    /// Pipelines that have run since the host was started.
    entered: Mutex<BTreeSet<String>>,
}

/// Ends the watching when it is dropped.
#[derive(Debug)]
pub struct Watching {
    _guard: DropGuard,
}

impl PluginWatcher {
    /// Nothing is watched yet.
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

    /// Whether a pipeline has not run yet.
    #[must_use]
    pub fn is_new(&self, pipeline: &str) -> bool {
        let entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        !entered.contains(pipeline)
    }

    /// From now on, until it is dropped, a pipeline is offered what is new; so is, now, what has
    /// come since it was put together. Blocks for as long as it takes to configure that.
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
                // That was said when the pipeline was put together.
                Ok(()) | Err(Refusal::Barred(_)) => {}
                Err(refusal) => not_taken_up(rollout, &plugin, &refusal),
            }
        }
    }

    fn rollouts(&self) -> Vec<Arc<Rollout>> {
        let rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        rollouts.iter().filter_map(Weak::upgrade).collect()
    }

    /// Watches the directory until what is returned is dropped.
    #[must_use]
    pub fn watch(self: &Arc<Self>, store: &Store) -> Watching {
        let stop = CancellationToken::new();
        let task = watch(Arc::clone(self), store.clone(), stop.clone());
        tokio::spawn(task);
        Watching {
            _guard: stop.drop_guard(),
        }
    }

    /// Looks once, and offers what is new.
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
        tracing::error!(plugin, %error, "a file is not taken up; the version in use stays");
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
                tracing::error!(pipeline, plugin = name, %file, "the file of a plugin in use was removed; it stays in use: put it back, or take it out of `plugins` of the pipeline and start anew");
            }
        }
    }
}

fn not_taken_up(rollout: &Rollout, plugin: &Plugin, refusal: &Refusal) {
    let (pipeline, id) = (rollout.pipeline(), plugin.id());
    rollout.refused(id, &refusal.to_string());
    metrics::counter!("forebay_plugin_refused_total", "plugin" => id.name.clone()).increment(1);
    tracing::error!(pipeline, plugin = id.name, version = id.version, reason = %refusal, "a new version is not taken up; the one in use stays");
}

async fn watch(living: Arc<PluginWatcher>, store: Store, stop: CancellationToken) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        let looking = Arc::clone(&living);
        if let Err(panic) = tokio::task::spawn_blocking(move || looking.look()).await {
            tracing::error!(%panic, "looking at the plugin directory failed");
        }
        for rollout in living.rollouts() {
            if let Err(error) = follow(&rollout, &store).await {
                let pipeline = rollout.pipeline();
                tracing::warn!(pipeline, %error, "the ledger of plugin versions cannot be kept");
            }
        }
    }
}

/// Writes what has happened into the ledger, and does what is asked for there.
pub(crate) async fn follow(
    rollout: &Arc<Rollout>,
    store: &Store,
) -> Result<(), crate::store::StoreError> {
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
        // It may have to be configured.
        let promoted = tokio::task::spawn_blocking(move || promoting.promote(&plugin, &version));
        if !promoted.await.unwrap_or(false) {
            let pipeline = rollout.pipeline();
            tracing::error!(
                pipeline,
                plugin = name,
                "cannot be promoted: it is not in the directory any more"
            );
        }
        store.promoted(rollout.pipeline(), &name, &digest).await?;
    }
    Ok(())
}
