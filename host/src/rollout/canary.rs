//! New versions on trial: what chunks say about them, and what becomes of those that fail.

use std::sync::Arc;

use super::slot::{Fallback, Judgement, Slot};
use super::{ChainEntries, Rollout};
use crate::plugin::{Broken, Chain, Observed};
use crate::row::PluginId;
use crate::store::ledger::{Note, State};

/// What a chunk's plugins have done says about going on.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The chunk may be written.
    Keep,
    /// A plugin of the chunk's chain is barred by now: prepare it again, with this one.
    Again(Arc<Chain>),
    /// A plugin is barred, and nothing can take its place. With the reason.
    Halt(String),
}

impl Rollout {
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
        members.verdict(chain)
    }

    /// What a chunk that was given this chain is to meet: since then a plugin of it may have been
    /// barred.
    pub fn verdict(&self, chain: &Arc<Chain>) -> Verdict {
        self.members().verdict(chain)
    }

    /// A run that began at the start of the dataset has come to its end: for what was there all
    /// the time that is as good as a trial.
    pub fn whole_run_succeeded(&self) {
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
        members.verdict(chain)
    }

    fn proven(&self, members: &mut ChainEntries, id: &Arc<PluginId>) {
        let slot = members.slots.iter_mut().find(|slot| slot.name == id.name);
        if let Some(slot) = slot {
            slot.canary = None;
            members
                .notes
                .push(Note::new(id, State::Active, String::new()));
            tracing::info!(
                pipeline = self.pipeline,
                plugin = id.name,
                version = id.version,
                digest = id.short_digest(),
                "the new version has proven itself"
            );
        }
    }

    /// The last good version comes back. Where it cannot, rows must not go on without.
    fn bar(&self, members: &mut ChainEntries, id: &Arc<PluginId>, message: String) {
        let mut slots = members.slots.clone();
        let Some(position) = slots.iter().position(|slot| slot.name == id.name) else {
            return;
        };
        let mut back = slots
            .get_mut(position)
            .map_or(Fallback::Nowhere, Slot::fail);
        if matches!(back, Fallback::Out) {
            slots.remove(position);
        }
        if let Err(error) = members.publish(slots) {
            // The others have become others since.
            tracing::error!(pipeline = self.pipeline, plugin = id.name, %error, "the last good version does not fit any more");
            back = Fallback::Nowhere;
        }
        let (back_to, good) = match &back {
            Fallback::To(good) => (
                good.plugin().id().version.as_str(),
                Some(good.plugin().id()),
            ),
            Fallback::Out | Fallback::Nowhere => ("no version", None),
        };
        if matches!(back, Fallback::Nowhere) {
            let (name, version) = (&id.name, &id.version);
            members.halted = Some(format!(
                "plugin {name} {version} is barred, and there is nothing to go back to: {message}"
            ));
        }
        metrics::counter!("forebay_plugin_rollbacks_total", "plugin" => id.name.clone())
            .increment(1);
        tracing::error!(
            pipeline = self.pipeline,
            plugin = id.name,
            version = id.version,
            digest = id.short_digest(),
            reason = message,
            back_to,
            "the new version is barred until its file changes"
        );
        members.barred.insert(id.digest.clone(), message.clone());
        members.notes.push(Note::new(id, State::Barred, message));
        members
            .notes
            .extend(good.map(|id| Note::new(id, State::Active, String::new())));
    }
}

impl ChainEntries {
    /// What to do with a chunk that was given this chain.
    fn verdict(&self, chain: &Arc<Chain>) -> Verdict {
        if let Some(message) = &self.halted {
            return Verdict::Halt(message.clone());
        }
        let is_old = !Arc::ptr_eq(chain, &self.chain);
        if is_old && chain.ids().any(|id| self.barred.contains_key(&id.digest)) {
            Verdict::Again(Arc::clone(&self.chain))
        } else {
            Verdict::Keep
        }
    }
}
