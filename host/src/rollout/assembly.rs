//! Puts the plugins of a pipeline together before its run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::candidate::{RunOrder, SlotCandidate};
use super::refusal::Misfit;
use super::slot::Slot;
use crate::config;
use crate::plugin::{Chain, Directory, Plugin};
use crate::store::ledger::{Known, Note, State};

/// Everything that decides which versions a pipeline begins with.
pub(super) struct Assembly<'a> {
    pub(super) directory: &'a Directory,
    pub(super) pipeline: &'a config::Pipeline,
    pub(super) rules: &'a config::Plugins,
    pub(super) known: &'a [Known],
    pub(super) barred: &'a BTreeMap<String, String>,
    pub(super) order: RunOrder,
    pub(super) warm: usize,
}

impl Assembly<'_> {
    /// The plugins in their order, and the chain that they make.
    ///
    /// # Errors
    /// All plugins that cannot be used, and what is wrong with their order.
    pub(super) fn chain(&self) -> Result<(Vec<Slot>, Arc<Chain>), Vec<Misfit>> {
        let found = self.directory.plugins();
        let names = match &self.pipeline.plugins {
            Some(names) => names.clone(),
            None => self.all_names(&found),
        };
        let (mut slots, mut misfits) = (Vec::new(), Vec::new());
        for name in &names {
            match self.candidate(name, &found).slot(self.rules) {
                Ok(slot) => slots.push(slot),
                Err(misfit) => misfits.push(misfit),
            }
        }
        match Chain::of(slots.iter().map(Slot::entry).collect()) {
            Ok(chain) if misfits.is_empty() => Ok((slots, chain)),
            other => {
                misfits.extend(other.err().map(Misfit::Chain));
                Err(misfits)
            }
        }
    }

    fn candidate<'c>(&'c self, name: &'c str, found: &'c [Arc<Plugin>]) -> SlotCandidate<'c> {
        let found = found.iter().find(|plugin| plugin.id().name == name);
        let last_good = self.known.iter().find(|known| {
            let is_found = found.is_some_and(|found| found.id().digest == known.digest);
            known.name == name && known.last_good && !is_found
        });
        SlotCandidate {
            name,
            settings: self
                .pipeline
                .settings
                .get(name)
                .cloned()
                .unwrap_or_default(),
            found,
            last_good,
            kept: last_good.and_then(|known| self.directory.kept(name, &known.digest)),
            order: self.order,
            warm: self.warm,
            shadowed: self.rules.is_shadowed(name),
            known: self.known,
            barred: self.barred,
        }
    }

    /// The plugins of a pipeline that names none: all of the directory, and those that were in use and
    /// whose copy makes up for their file, because that is refused, or gone since the host was started.
    fn all_names(&self, found: &[Arc<Plugin>]) -> Vec<String> {
        let mut names: BTreeSet<String> = found
            .iter()
            .map(|plugin| plugin.id().name.clone())
            .collect();
        let refused = self.directory.refused();
        let in_use = self.known.iter().filter(|known| known.state.is_in_use());
        for Known { name, .. } in in_use {
            if names.contains(name) {
                continue;
            }
            let is_refused = refused.iter().any(|refused| refused.name == *name);
            let may_stay = is_refused || self.order == RunOrder::Later;
            if may_stay && self.directory.has_kept(name) {
                names.insert(name.clone());
            } else {
                let (pipeline, directory) = (&self.pipeline.name, self.directory.path().display());
                tracing::warn!(pipeline, plugin = name, %directory, "the plugin is gone, since its file is: the pipeline uses what is in the directory");
            }
        }
        names.into_iter().collect()
    }
}

/// Digests of the ledger that must not be used, and why.
pub(super) fn barred(known: &[Known]) -> BTreeMap<String, String> {
    let barred = known
        .iter()
        .filter(|known| known.state == State::Barred && !known.promoted);
    barred
        .map(|known| (known.digest.clone(), known.message.clone()))
        .collect()
}

/// Notes for the ledger: the versions that a pipeline begins with, and those that it leaves behind.
pub(super) fn notes(known: &[Known], slots: &[Slot]) -> Vec<Note> {
    let left = known.iter().filter(|known| {
        let at_work = known.state.is_in_use() || known.state == State::Shadow;
        at_work && !slots.iter().any(|slot| slot.has(&known.digest))
    });
    let retired = left.map(|known| Note::new(&known.id(), State::Retired, String::new()));
    retired.chain(slots.iter().flat_map(Slot::notes)).collect()
}
