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

mod slot;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    config,
    plugin::{Broken, Chain, ChainError, Directory, Link, Observed, Plugin, Settings, Trial},
    row::PluginId,
    store::ledger::{Known, Note, State},
    workers,
};
use slot::{Judgement, Slot};
pub(crate) use watch::follow;
pub use watch::{Living, Watching};

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

/// What a chunk's plugins have done says about going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The chunk may be written.
    Keep,
    /// A plugin of the chunk's chain is barred by now: prepare it again, with [`Rollout::chain`].
    Again,
}

/// The versions of one pipeline's plugins.
#[derive(Debug)]
pub struct Rollout {
    pipeline: String,
    /// Whether every plugin of the directory takes part.
    takes_all: bool,
    rules: config::Plugins,
    settings: BTreeMap<String, Settings>,
    directory: Arc<Directory>,
    state: Mutex<Members>,
    /// Whoever takes notes has them written before somebody else takes the next ones.
    following: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Members {
    slots: Vec<Slot>,
    chain: Arc<Chain>,
    /// Digests that must not be used, and why.
    barred: BTreeMap<String, String>,
    /// Not yet in the ledger.
    notes: Vec<Note>,
    /// Proven, and not yet kept.
    proven: Vec<Arc<Plugin>>,
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
    /// Its settings, or its place beside the others.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl Rollout {
    /// Puts the plugins of a pipeline together. `known` is what the ledger says of versions that
    /// were met before.
    ///
    /// A version that is not the one that is kept is on trial from its first chunk on.
    ///
    /// # Errors
    /// With everything that does not fit.
    pub fn new(
        directory: &Arc<Directory>,
        pipeline: &config::Pipeline,
        rules: &config::Plugins,
        known: &[Known],
    ) -> Result<Arc<Self>, Vec<Misfit>> {
        let barred: BTreeMap<String, String> = known
            .iter()
            .filter(|known| known.state == State::Barred && !known.promoted)
            .map(|known| (known.digest.clone(), known.message.clone()))
            .collect();
        let found = directory.plugins();
        let all = || {
            found
                .iter()
                .map(|plugin| plugin.id().name.clone())
                .collect()
        };
        let names: Vec<String> = pipeline.plugins.clone().unwrap_or_else(all);
        let (mut slots, mut misfits) = (Vec::new(), Vec::new());
        for name in names {
            let settings = pipeline.settings.get(&name).cloned().unwrap_or_default();
            let found = found.iter().find(|plugin| plugin.id().name == name);
            let version = slot::First {
                found,
                kept: directory.kept(&name, found.map(|found| &**found)),
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
        let proven = slots.iter().filter_map(Slot::proven_at_once).collect();
        let notes = slots.iter().flat_map(Slot::notes).collect();
        Ok(Arc::new(Self {
            pipeline: pipeline.name.clone(),
            takes_all: pipeline.plugins.is_none(),
            rules: rules.clone(),
            settings: pipeline.settings.clone(),
            directory: Arc::clone(directory),
            state: Mutex::new(Members {
                slots,
                chain,
                barred,
                notes,
                proven,
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
        let link = Link::new(Arc::clone(plugin), settings, workers::count())?;
        let mut members = self.members();
        let members = &mut *members;
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
        let notes: Vec<Note> = slot.map(Slot::notes).unwrap_or_default();
        members.notes.extend(notes);
        metrics::counter!("forebay_plugin_swaps_total", "plugin" => id.name.clone()).increment(1);
        tracing::info!(
            pipeline = self.pipeline,
            plugin = id.name,
            version = id.version,
            digest = short(&id.digest),
            "{}",
            if self.rules.is_shadowed(&id.name) {
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
        let members = self.members();
        if let Some(why) = members.barred.get(&id.digest) {
            return Err(Refusal::Barred(why.clone()));
        }
        let slot = members.slots.iter().find(|slot| slot.name == id.name);
        match slot {
            None if !self.takes_all => return Ok(None),
            None => {}
            Some(slot) if slot.has(&id.digest) => return Ok(None),
            Some(slot) => slot.allows(plugin)?,
        }
        Ok(Some(
            self.settings.get(&id.name).cloned().unwrap_or_default(),
        ))
    }

    /// Counts what the plugins of a chunk did, and bars a new version that fails too often.
    pub fn judge(&self, chain: &Arc<Chain>, observed: &[Observed]) -> Verdict {
        let mut members = self.members();
        for observed in observed {
            let slot = members
                .slots
                .iter_mut()
                .find(|slot| slot.active.plugin().id() == &observed.plugin);
            let judgement = slot.map(|slot| slot.judge(observed, &self.rules.canary));
            match judgement {
                Some(Judgement::Proven) => self.proven(&mut members, &observed.plugin),
                Some(Judgement::Failed(message)) => {
                    self.bar(&mut members, &observed.plugin, message)
                }
                Some(Judgement::Good) | None => {}
            }
        }
        if members.barred.is_empty() || !members.bars(chain) {
            Verdict::Keep
        } else {
            Verdict::Again
        }
    }

    /// A run has come to its end: a dataset shorter than the trial is as good.
    pub fn run_succeeded(&self) {
        let mut members = self.members();
        let slots = members.slots.iter().filter(|slot| slot.is_proven_by_run());
        let proven: Vec<_> = slots
            .map(|slot| Arc::clone(slot.active.plugin().id()))
            .collect();
        for id in proven {
            self.proven(&mut members, &id);
        }
    }

    /// What to do about a plugin that fails on most rows.
    pub fn broken(&self, chain: &Arc<Chain>, broken: &Broken) -> Verdict {
        let mut members = self.members();
        let on_trial = members
            .slots
            .iter()
            .any(|slot| slot.active.plugin().id() == &broken.plugin && slot.canary.is_some());
        if on_trial {
            self.bar(&mut members, &broken.plugin, broken.message.clone());
        }
        if members.bars(chain) {
            Verdict::Again
        } else {
            Verdict::Keep
        }
    }

    fn proven(&self, members: &mut Members, id: &Arc<PluginId>) {
        let slot = members.slots.iter_mut().find(|slot| slot.name == id.name);
        if let Some(slot) = slot {
            slot.canary = None;
            members.proven.push(Arc::clone(slot.active.plugin()));
            members
                .notes
                .push(Note::new(id, State::Active, String::new()));
            tracing::info!(
                pipeline = self.pipeline,
                plugin = id.name,
                version = id.version,
                digest = short(&id.digest),
                "the new version has proven itself"
            );
        }
    }

    /// The last good version comes back.
    fn bar(&self, members: &mut Members, id: &Arc<PluginId>, message: String) {
        let mut slots = members.slots.clone();
        let Some(position) = slots.iter().position(|slot| slot.name == id.name) else {
            return;
        };
        let back = slots.get_mut(position).and_then(Slot::go_back);
        if back.is_none() {
            slots.remove(position);
        }
        if let Err(error) = members.publish(slots) {
            // The others have become others meanwhile. Whoever is barred goes on until the end.
            if let Some(slot) = members.slots.get_mut(position) {
                slot.canary = None;
            }
            tracing::error!(
                pipeline = self.pipeline, plugin = id.name, version = id.version, reason = message, %error,
                "the new version fails, and what was good before does not fit beside the others"
            );
            return;
        }
        metrics::counter!("forebay_plugin_rollbacks_total", "plugin" => id.name.clone())
            .increment(1);
        tracing::error!(
            pipeline = self.pipeline,
            plugin = id.name,
            version = id.version,
            digest = short(&id.digest),
            reason = message,
            back_to = back.as_ref().map_or("no version", |back| &back.version),
            "the new version is barred until its file changes"
        );
        members.barred.insert(id.digest.clone(), message.clone());
        members.notes.push(Note::new(id, State::Barred, message));
        members
            .notes
            .extend(back.map(|id| Note::new(&id, State::Active, String::new())));
    }

    /// Counts what shadows would have done otherwise; what is counted is committed.
    pub fn tried(&self, trials: &[Trial]) {
        for trial in trials {
            let mut members = self.members();
            let slot = members
                .slots
                .iter_mut()
                .find(|slot| slot.has_shadow(&trial.plugin.digest));
            let Some(slot) = slot else { continue };
            if let Some(message) = &trial.broken {
                slot.shadow = None;
                let slots = members.slots.clone();
                // Less than what was good together.
                drop(members.publish(slots));
                members
                    .barred
                    .insert(trial.plugin.digest.clone(), message.clone());
                members
                    .notes
                    .push(Note::new(&trial.plugin, State::Barred, message.clone()));
                tracing::error!(
                    pipeline = self.pipeline,
                    plugin = trial.plugin.name,
                    reason = message,
                    "the version that ran beside the one in use is barred until its file changes"
                );
            } else if slot.count(trial, self.rules.shadow.as_ref()) {
                drop(members);
                self.promote(&trial.plugin.name, &trial.plugin.digest);
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
            digest = short(digest),
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

    /// Notes that a file is not taken up.
    fn refused(&self, id: &PluginId, message: &str) {
        self.members()
            .notes
            .push(Note::new(id, State::Refused, message.to_owned()));
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

    /// What has happened since this was last called; and copies of what has proven itself are
    /// made. Blocks for as long as that takes.
    #[must_use]
    pub fn take_notes(&self) -> Vec<Note> {
        let (notes, proven) = {
            let mut members = self.members();
            (
                std::mem::take(&mut members.notes),
                std::mem::take(&mut members.proven),
            )
        };
        for plugin in proven {
            self.directory.keep(&plugin);
        }
        notes
    }

    /// Puts notes back that could not be written.
    pub fn return_notes(&self, notes: Vec<Note>) {
        self.members().notes.splice(0..0, notes);
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Makes these the slots from the next chunk on.
    fn publish(&mut self, slots: Vec<Slot>) -> Result<(), ChainError> {
        self.chain = Chain::of(slots.iter().map(Slot::member).collect())?;
        self.slots = slots;
        Ok(())
    }

    /// Whether a plugin of this chain is barred.
    fn bars(&self, chain: &Arc<Chain>) -> bool {
        !Arc::ptr_eq(chain, &self.chain)
            && chain.ids().any(|id| self.barred.contains_key(&id.digest))
    }
}

/// Enough of a digest to recognise it.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
