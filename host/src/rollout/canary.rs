//! Trials of new versions: counts their faults, and bars those that fail.

use std::sync::Arc;

use super::slot::{Fallback, Judgement, Slot};
use super::{ChainEntries, Rollout};
use crate::plugin::{Broken, Chain, Observed};
use crate::row::PluginId;
use crate::store::ledger::{Note, State};

/// Decision about a chunk after its plugins have run.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The chunk may be written.
    Keep,
    /// A plugin of the chunk's chain is barred by now: prepare the chunk again, with this chain.
    Again(Arc<Chain>),
    /// A plugin is barred, and there is no fallback. With the reason.
    Halt(String),
}

impl Rollout {
    /// Counts what the plugins of a chunk did, and bars a new version that failed too often.
    pub fn judge(&self, chain: &Arc<Chain>, observed: &[Observed]) -> Verdict {
        let mut entries = self.entries();
        for observed in observed {
            let slot = entries
                .slots
                .iter_mut()
                .find(|slot| slot.active.plugin().id() == &observed.plugin);
            let judgement = slot.map(|slot| slot.judge(observed, &self.rules.canary));
            match judgement {
                Some(Judgement::Proven) => self.proven(&mut entries, &observed.plugin),
                Some(Judgement::Failed(message)) => {
                    self.bar(&mut entries, &observed.plugin, message)
                }
                Some(Judgement::Good) | None => {}
            }
        }
        entries.verdict(chain)
    }

    /// The verdict on a chunk that was given this chain: since then a plugin of it may have been
    /// barred.
    pub fn verdict(&self, chain: &Arc<Chain>) -> Verdict {
        self.entries().verdict(chain)
    }

    /// Ends the trials of versions that were active during a whole run, from the start of the
    /// dataset to its end: that is as good as a trial.
    pub fn whole_run_succeeded(&self) {
        let mut entries = self.entries();
        let slots = entries.slots.iter().filter(|slot| slot.is_proven_by_run());
        let proven: Vec<_> = slots
            .map(|slot| Arc::clone(slot.active.plugin().id()))
            .collect();
        for id in proven {
            self.proven(&mut entries, &id);
        }
    }

    /// The verdict on a chunk of which a plugin fails on most rows.
    pub fn broken(&self, chain: &Arc<Chain>, broken: &Broken) -> Verdict {
        let mut entries = self.entries();
        let on_trial = entries
            .slots
            .iter()
            .any(|slot| slot.active.plugin().id() == &broken.plugin && slot.canary.is_some());
        if on_trial {
            self.bar(&mut entries, &broken.plugin, broken.message.clone());
        }
        entries.verdict(chain)
    }

    fn proven(&self, entries: &mut ChainEntries, id: &Arc<PluginId>) {
        let slot = entries.slots.iter_mut().find(|slot| slot.name == id.name);
        if let Some(slot) = slot {
            slot.canary = None;
            entries
                .notes
                .push(Note::new(id, State::Active, String::new()));
            tracing::info!(
                pipeline = self.pipeline,
                plugin = id.name,
                version = id.version,
                digest = id.short_digest(),
                "the new version has passed its trial"
            );
        }
    }

    /// Bars a version, and puts the last good one in its place. Without one the pipeline halts: rows
    /// must not go on unchecked.
    fn bar(&self, entries: &mut ChainEntries, id: &Arc<PluginId>, message: String) {
        let mut slots = entries.slots.clone();
        let Some(position) = slots.iter().position(|slot| slot.name == id.name) else {
            return;
        };
        let mut fallback = slots
            .get_mut(position)
            .map_or(Fallback::Nowhere, Slot::fail);
        if matches!(fallback, Fallback::Out) {
            slots.remove(position);
        }
        if let Err(error) = entries.publish(slots) {
            // The other plugins of the chain have changed since.
            tracing::error!(pipeline = self.pipeline, plugin = id.name, %error, "the last good version no longer fits the chain");
            fallback = Fallback::Nowhere;
        }
        let (back_to, good) = match &fallback {
            Fallback::To(good) => (
                good.plugin().id().version.as_str(),
                Some(good.plugin().id()),
            ),
            Fallback::Out | Fallback::Nowhere => ("no version", None),
        };
        if matches!(fallback, Fallback::Nowhere) {
            let (name, version) = (&id.name, &id.version);
            entries.halted = Some(format!(
                "plugin {name} {version} is barred, and there is no version to fall back to: {message}"
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
        entries.barred.insert(id.digest.clone(), message.clone());
        entries.notes.push(Note::new(id, State::Barred, message));
        entries
            .notes
            .extend(good.map(|id| Note::new(id, State::Active, String::new())));
    }
}

impl ChainEntries {
    /// The verdict on a chunk that was given this chain.
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
