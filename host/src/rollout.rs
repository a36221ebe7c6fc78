//! Decides which version of each plugin the next chunk meets.
//!
//! A [`Rollout`] belongs to one pipeline. The loop asks it for the chain when a chunk is handed
//! to a worker, and the chunk keeps that chain to its commit: a chunk is processed by exactly one
//! version of each plugin. New versions are offered by `watch`, off the data path, and are
//! configured before they are taken up.
//!
//! ```text
//! file ▶ loaded ▶ examined ▶ configured ─▶ canary ─▶ proven: kept as a fallback
//!                    │                        └─▶ barred: the last good one comes back
//!                    └─ with `shadow` ─▶ runs beside, without effect ─▶ promoted
//! ```
//!
//! Every change is noted for the ledger in the database (`forebay.plugin_version`).

mod assembly;
mod canary;
mod candidate;
mod refusal;
mod slot;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::assembly::Assembly;
use self::slot::Slot;
use crate::config;
use crate::plugin::{Chain, ChainError, Comparison, ConfiguredPlugin, Directory, Plugin, Settings};
use crate::row::{PluginId, short_digest};
use crate::store::ledger::{Known, Note, State};

pub use self::canary::Verdict;
pub use self::candidate::RunOrder;
pub use self::refusal::{Misfit, Refusal};
pub(crate) use self::watch::follow;
pub use self::watch::{PluginWatcher, Watching};

/// The versions of one pipeline's plugins.
#[derive(Debug)]
pub struct Rollout {
    pipeline: String,
    /// True if every plugin of the directory takes part.
    takes_all: bool,
    /// Number of instances of each plugin that are made ready before a version is taken up.
    warm: usize,
    rules: config::Plugins,
    settings: BTreeMap<String, Settings>,
    directory: Arc<Directory>,
    state: Mutex<ChainEntries>,
    /// Held from taking notes until they are written, so that they are written in order.
    following: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct ChainEntries {
    slots: Vec<Slot>,
    chain: Arc<Chain>,
    /// Digests that must not be used, with the reason.
    barred: BTreeMap<String, String>,
    /// The reason if no chunk may go on.
    halted: Option<String>,
    /// Not yet written to the ledger.
    notes: Vec<Note>,
}

impl Rollout {
    /// Puts the plugins of a pipeline together. `known` are the versions in the ledger.
    ///
    /// A version other than the last good one is on trial from its first chunk on. `warm` is the
    /// number of instances of each plugin that are kept ready: one for each worker. Blocks while
    /// plugins are loaded and configured.
    ///
    /// # Errors
    /// Everything that does not fit.
    pub fn new(
        directory: &Arc<Directory>,
        pipeline: &config::Pipeline,
        rules: &config::Plugins,
        known: &[Known],
        order: RunOrder,
        warm: usize,
    ) -> Result<Arc<Self>, Vec<Misfit>> {
        let barred = assembly::barred(known);
        let assembly = Assembly {
            directory,
            pipeline,
            rules,
            known,
            barred: &barred,
            order,
            warm,
        };
        let (slots, chain) = assembly.chain()?;
        for slot in &slots {
            directory.keep(slot.active.plugin());
        }
        Ok(Arc::new(Self {
            pipeline: pipeline.name.clone(),
            takes_all: pipeline.plugins.is_none(),
            warm,
            rules: rules.clone(),
            settings: pipeline.settings.clone(),
            directory: Arc::clone(directory),
            state: Mutex::new(ChainEntries {
                notes: assembly::notes(known, &slots),
                slots,
                chain,
                barred,
                halted: None,
            }),
            following: tokio::sync::Mutex::default(),
        }))
    }

    /// The pipeline's name.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The chain that the next chunk meets.
    #[must_use]
    pub fn chain(&self) -> Arc<Chain> {
        Arc::clone(&self.entries().chain)
    }

    /// Takes up a version if the pipeline uses its plugin: the next chunk meets it. Blocks while the
    /// version is configured.
    ///
    /// # Errors
    /// If the version is barred or cannot be used; then nothing changes.
    pub fn offer(&self, plugin: &Arc<Plugin>) -> Result<(), Refusal> {
        let id = plugin.id();
        let Some(settings) = self.wants(plugin)? else {
            return Ok(());
        };
        // Without the lock: chunks go on meanwhile.
        let configured = ConfiguredPlugin::new(Arc::clone(plugin), settings, self.warm)?;
        self.directory.keep(plugin);
        let mut entries = self.entries();
        let mut slots = entries.slots.clone();
        let position = slots.iter().position(|slot| slot.name == id.name);
        match position.and_then(|position| slots.get_mut(position)) {
            // Another thread was faster.
            Some(slot) if slot.has(&id.digest) => return Ok(()),
            Some(slot) => slot.take(configured, &self.rules),
            None => {
                let after = slots.partition_point(|slot| slot.name < id.name);
                slots.insert(after, Slot::added(configured, &self.rules));
            }
        }
        entries.publish(slots)?;
        let slot = entries.slots.iter().find(|slot| slot.name == id.name);
        let notes = slot.map(Slot::notes).unwrap_or_default();
        let is_beside = slot.is_some_and(|slot| slot.has_shadow(&id.digest));
        entries.notes.extend(notes);
        metrics::counter!("forebay_plugin_swaps_total", "plugin" => id.name.clone()).increment(1);
        tracing::info!(
            pipeline = self.pipeline,
            plugin = id.name,
            version = id.version,
            digest = id.short_digest(),
            "{}",
            if is_beside {
                "a new version runs as a shadow of the active one"
            } else {
                "the next chunk meets a new version"
            }
        );
        Ok(())
    }

    /// The settings for this version, if it is to be taken up.
    fn wants(&self, plugin: &Arc<Plugin>) -> Result<Option<Settings>, Refusal> {
        let id = plugin.id();
        let mut entries = self.entries();
        if let Some(why) = entries.barred.get(&id.digest) {
            return Err(Refusal::Barred(why.clone()));
        }
        let slot = entries.slots.iter().find(|slot| slot.name == id.name);
        match slot {
            None if !self.takes_all => return Ok(None),
            None => {}
            Some(slot) if slot.has_shadow(&id.digest) => return Ok(None),
            Some(slot) if slot.has(&id.digest) => {
                entries.drop_shadow_of(&id.name);
                return Ok(None);
            }
            Some(slot) => slot.allows(plugin)?,
        }
        Ok(Some(
            self.settings.get(&id.name).cloned().unwrap_or_default(),
        ))
    }

    /// Counts what shadows would have done differently with committed rows.
    pub fn tried(&self, comparisons: &[Comparison]) {
        for comparison in comparisons {
            let mut entries = self.entries();
            let slot = entries
                .slots
                .iter_mut()
                .find(|slot| slot.has_shadow(&comparison.plugin.digest));
            let Some(slot) = slot else { continue };
            if let Some(message) = &comparison.broken {
                slot.shadow = None;
                let slots = entries.slots.clone();
                // A part of a valid chain is valid.
                drop(entries.publish(slots));
                entries
                    .barred
                    .insert(comparison.plugin.digest.clone(), message.clone());
                entries.notes.push(Note::new(
                    &comparison.plugin,
                    State::Barred,
                    message.clone(),
                ));
                tracing::error!(
                    pipeline = self.pipeline,
                    plugin = comparison.plugin.name,
                    reason = message,
                    "the shadow is barred until its file changes"
                );
            } else if slot.count(comparison, self.rules.shadow.as_ref()) {
                drop(entries);
                self.promote(&comparison.plugin.name, &comparison.plugin.digest);
            }
        }
    }

    /// Makes a shadow the active version, or lifts a bar. Returns false if there was nothing to do.
    pub fn promote(&self, name: &str, digest: &str) -> bool {
        let mut entries = self.entries();
        let lifted = entries.barred.remove(digest).is_some();
        let mut slots = entries.slots.clone();
        let slot = slots
            .iter_mut()
            .find(|slot| slot.name == name && slot.has_shadow(digest));
        let Some(new) = slot.and_then(|slot| slot.promote(&self.rules)) else {
            if lifted {
                let offered = self.directory.plugins();
                drop(entries);
                let found = offered.iter().find(|plugin| plugin.id().digest == digest);
                return found.is_some_and(|plugin| self.offer(plugin).is_ok());
            }
            return false;
        };
        if let Err(error) = entries.publish(slots) {
            tracing::error!(pipeline = self.pipeline, plugin = name, %error, "the version cannot be promoted");
            return false;
        }
        entries
            .notes
            .push(Note::new(&new, State::Canary, String::new()));
        tracing::info!(
            pipeline = self.pipeline,
            plugin = name,
            version = new.version,
            digest = short_digest(digest),
            "promoted: the next chunk meets the new version"
        );
        metrics::counter!("forebay_plugin_swaps_total", "plugin" => name.to_owned()).increment(1);
        true
    }

    /// True if there is a version that could be promoted.
    fn may_promote(&self) -> bool {
        let entries = self.entries();
        !entries.barred.is_empty() || entries.slots.iter().any(|slot| slot.shadow.is_some())
    }

    /// Notes that a file is refused, if the pipeline may use its plugin.
    fn refused(&self, id: &PluginId, message: &str) {
        let mut entries = self.entries();
        if self.takes_all || entries.slots.iter().any(|slot| slot.name == id.name) {
            let note = Note::new(id, State::Refused, message.to_owned());
            entries.notes.push(note);
        }
    }

    /// Notes that the file of a plugin was removed, if the pipeline uses it: it stays in use.
    fn removed(&self, name: &str) -> bool {
        let mut entries = self.entries();
        let slot = entries.slots.iter().find(|slot| slot.name == name);
        let Some(slot) = slot else { return false };
        let notes = slot.notes().into_iter().map(|note| Note {
            message: "its file was removed; it stays in use".into(),
            ..note
        });
        let notes: Vec<Note> = notes.collect();
        entries.notes.extend(notes);
        true
    }

    /// The notes since the last call.
    #[must_use]
    pub fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.entries().notes)
    }

    /// Puts back notes that could not be written.
    pub fn return_notes(&self, notes: Vec<Note>) {
        self.entries().notes.splice(0..0, notes);
    }

    fn entries(&self) -> MutexGuard<'_, ChainEntries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChainEntries {
    /// Uses these slots from the next chunk on.
    fn publish(&mut self, slots: Vec<Slot>) -> Result<(), ChainError> {
        self.chain = Chain::of(slots.iter().map(Slot::entry).collect())?;
        self.slots = slots;
        Ok(())
    }

    /// The file has the active version again: its shadow is dropped.
    fn drop_shadow_of(&mut self, name: &str) {
        let mut slots = self.slots.clone();
        let Some(slot) = slots.iter_mut().find(|slot| slot.name == name) else {
            return;
        };
        let gone = slot.drop_shadow();
        self.notes.extend(slot.notes());
        if let Some(gone) = gone {
            let note = Note::new(&gone, State::Retired, String::new());
            self.notes.push(note);
            // A part of a valid chain is valid.
            drop(self.publish(slots));
        }
    }
}
