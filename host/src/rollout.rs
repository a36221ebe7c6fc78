//! Which version of each plugin the next chunk meets.
//!
//! A [`Rollout`] belongs to one pipeline. The loop asks it for the chain when a chunk is handed
//! to a worker, and the chunk keeps that chain to its commit: a chunk is processed by exactly one
//! version of each plugin. New versions are offered by [`watch`], off the data path, and are
//! configured before they can be taken up.
//!
//! ```text
//! file ▶ loaded ▶ examined ▶ configured ─▶ canary ─▶ proven: kept to go back to
//!                    │                        └─▶ barred: the last good one comes back
//!                    └─ with `shadow` ─▶ runs beside, without effect ─▶ promoted
//! ```
//!
//! What happens is noted, for the ledger in the database (`forebay.plugin_version`).

mod canary;
mod slot;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config;
use crate::plugin::{Chain, ChainError, Comparison, ConfiguredPlugin, Directory, Plugin, Settings};
use crate::row::{PluginId, short_digest};
use crate::store::ledger::{Known, Note, State};
use slot::Slot;

pub use canary::Verdict;
pub(crate) use watch::follow;
pub use watch::{PluginWatcher, Watching};

/// Why a version of a plugin is not taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its settings or its place in the chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It misbehaved before.
    #[error("this file is barred: {0}")]
    Barred(String),
    /// Rows would go on unchecked.
    #[error(
        "it does not export {role} any more, which {version} does; start the pipeline anew to do without"
    )]
    Role {
        /// The role that is missing.
        role: &'static str,
        /// Of the version in use.
        version: String,
    },
}

/// The versions of one pipeline's plugins.
#[derive(Debug)]
pub struct Rollout {
    pipeline: String,
    /// Whether every plugin of the directory takes part.
    takes_all: bool,
    /// Instances of each plugin that are made ready before a version is taken up.
    warm: usize,
    rules: config::Plugins,
    settings: BTreeMap<String, Settings>,
    directory: Arc<Directory>,
    state: Mutex<ChainEntries>,
    /// Whoever takes notes has them written before somebody else takes the next ones.
    following: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct ChainEntries {
    slots: Vec<Slot>,
    chain: Arc<Chain>,
    /// Digests that must not be used, and why.
    barred: BTreeMap<String, String>,
    /// Why no chunk may go on.
    halted: Option<String>,
    /// Not yet in the ledger.
    notes: Vec<Note>,
}

/// Why a pipeline's plugins cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// There is none of this name.
    #[error("no plugin `{0}`")]
    Missing(String),
    /// It misbehaved before, and there is nothing to go back to.
    #[error("plugin {name} {version} is barred: {why}")]
    Barred {
        /// Its name.
        name: String,
        /// As it describes itself.
        version: String,
        /// What it did.
        why: String,
    },
    /// Rows would go on unchecked.
    #[error(transparent)]
    Role(Refusal),
    /// Its settings, or its place beside the others.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl Rollout {
    /// Puts the plugins of a pipeline together. `known` is what the ledger says of versions that
    /// were met before.
    ///
    /// A version that is not the one that was good the last time is on trial from its first chunk
    /// on. `anew` says that the pipeline has not run since the host was started, `warm` how many instances of
    /// each plugin are kept ready: one for each worker. Blocks while
    /// plugins are loaded and configured.
    ///
    /// # Errors
    /// With everything that does not fit.
    pub fn new(
        directory: &Arc<Directory>,
        pipeline: &config::Pipeline,
        rules: &config::Plugins,
        known: &[Known],
        anew: bool,
        warm: usize,
    ) -> Result<Arc<Self>, Vec<Misfit>> {
        let barred: BTreeMap<String, String> = known
            .iter()
            .filter(|known| known.state == State::Barred && !known.promoted)
            .map(|known| (known.digest.clone(), known.message.clone()))
            .collect();
        let found = directory.plugins();
        let names = match &pipeline.plugins {
            Some(names) => names.clone(),
            None => every(directory, &found, known),
        };
        let (mut slots, mut misfits) = (Vec::new(), Vec::new());
        for name in names {
            let settings = pipeline.settings.get(&name).cloned().unwrap_or_default();
            let found = found.iter().find(|plugin| plugin.id().name == name);
            let last_good = known.iter().find(|known| {
                let is_found = found.is_some_and(|found| found.id().digest == known.digest);
                known.name == name && known.last_good && !is_found
            });
            let version = slot::SlotCandidate {
                found,
                last_good,
                kept: last_good.and_then(|known| directory.kept(&name, &known.digest)),
                anew,
                warm,
                shadowed: rules.is_shadowed(&name),
                known,
                barred: &barred,
            };
            match version.slot(&name, settings, rules) {
                Ok(slot) => slots.push(slot),
                Err(misfit) => misfits.push(misfit),
            }
        }
        let chain = match Chain::of(slots.iter().map(Slot::member).collect()) {
            Ok(chain) if misfits.is_empty() => chain,
            other => {
                misfits.extend(other.err().map(Misfit::Chain));
                return Err(misfits);
            }
        };
        for slot in &slots {
            directory.keep(slot.active.plugin());
        }
        let left = known.iter().filter(|known| {
            let at_work = known.state.is_in_use() || known.state == State::Shadow;
            at_work && !slots.iter().any(|slot| slot.has(&known.digest))
        });
        let retired = left.map(|known| Note::new(&known.id(), State::Retired, String::new()));
        let notes = retired.chain(slots.iter().flat_map(Slot::notes)).collect();
        Ok(Arc::new(Self {
            pipeline: pipeline.name.clone(),
            takes_all: pipeline.plugins.is_none(),
            warm,
            rules: rules.clone(),
            settings: pipeline.settings.clone(),
            directory: Arc::clone(directory),
            state: Mutex::new(ChainEntries {
                slots,
                chain,
                barred,
                halted: None,
                notes,
            }),
            following: tokio::sync::Mutex::default(),
        }))
    }

    /// The pipeline's name.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// What the next chunk meets.
    #[must_use]
    pub fn chain(&self) -> Arc<Chain> {
        Arc::clone(&self.members().chain)
    }

    /// Takes up a version, if it is one for this pipeline: the next chunk meets it. Blocks for as
    /// long as it takes to configure it.
    ///
    /// # Errors
    /// If it must not or cannot be used; then everything stays as it was.
    pub fn offer(&self, plugin: &Arc<Plugin>) -> Result<(), Refusal> {
        let id = plugin.id();
        let Some(settings) = self.wants(plugin)? else {
            return Ok(());
        };
        // Outside of the lock: chunks go on meanwhile.
        let link = ConfiguredPlugin::new(Arc::clone(plugin), settings, self.warm)?;
        self.directory.keep(plugin);
        let mut members = self.members();
        let mut slots = members.slots.clone();
        let position = slots.iter().position(|slot| slot.name == id.name);
        match position.and_then(|position| slots.get_mut(position)) {
            // Somebody else was quicker.
            Some(slot) if slot.has(&id.digest) => return Ok(()),
            Some(slot) => slot.take(link, &self.rules),
            None => {
                let after = slots.partition_point(|slot| slot.name < id.name);
                slots.insert(after, Slot::added(link, &self.rules));
            }
        }
        members.publish(slots)?;
        let slot = members.slots.iter().find(|slot| slot.name == id.name);
        let notes = slot.map(Slot::notes).unwrap_or_default();
        let is_beside = slot.is_some_and(|slot| slot.has_shadow(&id.digest));
        members.notes.extend(notes);
        metrics::counter!("forebay_plugin_swaps_total", "plugin" => id.name.clone()).increment(1);
        tracing::info!(
            pipeline = self.pipeline,
            plugin = id.name,
            version = id.version,
            digest = id.short_digest(),
            "{}",
            if is_beside {
                "a new version runs beside the one in use"
            } else {
                "the next chunk meets a new version"
            }
        );
        Ok(())
    }

    /// The settings for this version, if it is one to take up.
    fn wants(&self, plugin: &Arc<Plugin>) -> Result<Option<Settings>, Refusal> {
        let id = plugin.id();
        let mut members = self.members();
        if let Some(why) = members.barred.get(&id.digest) {
            return Err(Refusal::Barred(why.clone()));
        }
        let slot = members.slots.iter().find(|slot| slot.name == id.name);
        match slot {
            None if !self.takes_all => return Ok(None),
            None => {}
            Some(slot) if slot.has_shadow(&id.digest) => return Ok(None),
            Some(slot) if slot.has(&id.digest) => {
                members.is_back(&id.name);
                return Ok(None);
            }
            Some(slot) => slot.allows(plugin)?,
        }
        Ok(Some(
            self.settings.get(&id.name).cloned().unwrap_or_default(),
        ))
    }

    /// Counts what shadows would have done otherwise; what is counted is committed.
    pub fn tried(&self, comparisons: &[Comparison]) {
        for comparison in comparisons {
            let mut members = self.members();
            let slot = members
                .slots
                .iter_mut()
                .find(|slot| slot.has_shadow(&comparison.plugin.digest));
            let Some(slot) = slot else { continue };
            if let Some(message) = &comparison.broken {
                slot.shadow = None;
                let slots = members.slots.clone();
                // Less than what was good together.
                drop(members.publish(slots));
                members
                    .barred
                    .insert(comparison.plugin.digest.clone(), message.clone());
                members.notes.push(Note::new(
                    &comparison.plugin,
                    State::Barred,
                    message.clone(),
                ));
                tracing::error!(
                    pipeline = self.pipeline,
                    plugin = comparison.plugin.name,
                    reason = message,
                    "the version that ran beside the one in use is barred until its file changes"
                );
            } else if slot.count(comparison, self.rules.shadow.as_ref()) {
                drop(members);
                self.promote(&comparison.plugin.name, &comparison.plugin.digest);
            }
        }
    }

    /// Makes a shadow the version in use, or lifts a bar. Whether there was something to do.
    pub fn promote(&self, name: &str, digest: &str) -> bool {
        let mut members = self.members();
        let lifted = members.barred.remove(digest).is_some();
        let mut slots = members.slots.clone();
        let slot = slots
            .iter_mut()
            .find(|slot| slot.name == name && slot.has_shadow(digest));
        let Some(new) = slot.and_then(|slot| slot.promote(&self.rules)) else {
            if lifted {
                let offered = self.directory.plugins();
                drop(members);
                let found = offered.iter().find(|plugin| plugin.id().digest == digest);
                return found.is_some_and(|plugin| self.offer(plugin).is_ok());
            }
            return false;
        };
        if let Err(error) = members.publish(slots) {
            tracing::error!(pipeline = self.pipeline, plugin = name, %error, "cannot be promoted");
            return false;
        }
        members
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

    /// Whether there is something that could be promoted.
    fn may_promote(&self) -> bool {
        let members = self.members();
        !members.barred.is_empty() || members.slots.iter().any(|slot| slot.shadow.is_some())
    }

    /// Notes that a file is not taken up, if it may be one for this pipeline.
    fn refused(&self, id: &PluginId, message: &str) {
        let mut members = self.members();
        if self.takes_all || members.slots.iter().any(|slot| slot.name == id.name) {
            let note = Note::new(id, State::Refused, message.to_owned());
            members.notes.push(note);
        }
    }

    /// Notes that the file of a plugin has gone, if it is one of this pipeline: it stays in use.
    fn removed(&self, name: &str) -> bool {
        let mut members = self.members();
        let slot = members.slots.iter().find(|slot| slot.name == name);
        let Some(slot) = slot else { return false };
        let notes = slot.notes().into_iter().map(|note| Note {
            message: "its file was removed; it stays in use".into(),
            ..note
        });
        let notes: Vec<Note> = notes.collect();
        members.notes.extend(notes);
        true
    }

    /// What has happened since this was last called.
    #[must_use]
    pub fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.members().notes)
    }

    /// Puts notes back that could not be written.
    pub fn return_notes(&self, notes: Vec<Note>) {
        self.members().notes.splice(0..0, notes);
    }

    fn members(&self) -> MutexGuard<'_, ChainEntries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChainEntries {
    /// Makes these the slots from the next chunk on.
    fn publish(&mut self, slots: Vec<Slot>) -> Result<(), ChainError> {
        self.chain = Chain::of(slots.iter().map(Slot::member).collect())?;
        self.slots = slots;
        Ok(())
    }

    /// The version in use is in its file again: nothing runs beside it any more.
    fn is_back(&mut self, name: &str) {
        let mut slots = self.slots.clone();
        let Some(slot) = slots.iter_mut().find(|slot| slot.name == name) else {
            return;
        };
        let gone = slot.drop_shadow();
        self.notes.extend(slot.notes());
        if let Some(gone) = gone {
            let note = Note::new(&gone, State::Retired, String::new());
            self.notes.push(note);
            // Less than what was good together.
            drop(self.publish(slots));
        }
    }
}

/// The plugins of a pipeline that names none: all of the directory, and those that were in use
/// and have no file any more, as long as there is a copy.
fn every(directory: &Directory, found: &[Arc<Plugin>], known: &[Known]) -> Vec<String> {
    let mut names: BTreeSet<String> = found
        .iter()
        .map(|plugin| plugin.id().name.clone())
        .collect();
    let in_use = known.iter().filter(|known| known.state.is_in_use());
    for Known { name, .. } in in_use {
        if names.contains(name) {
            continue;
        }
        if directory.has_kept(name) {
            names.insert(name.clone());
        } else {
            tracing::error!(
                plugin = name,
                "its file is not in the directory any more, and there is no copy: rows go on without it"
            );
        }
    }
    names.into_iter().collect()
}
