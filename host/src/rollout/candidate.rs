//! Fills the slot of a plugin when its pipeline is put together, from the file in the directory, the
//! last good version, or both.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::refusal::Misfit;
use super::slot::{Fallback, Slot, check_roles};
use crate::config;
use crate::plugin::{ChainError, ConfiguredPlugin, Plugin, Settings};
use crate::store::ledger::Known;

/// Order of a run among the runs of its pipeline on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOrder {
    /// The first run since the host was started. Starting the host accepts versions that lack a
    /// role of the version before.
    First,
    /// A later run. Such versions are refused.
    Later,
}

/// The versions that may fill a slot.
pub(super) struct SlotCandidate<'a> {
    pub(super) name: &'a str,
    pub(super) settings: Settings,
    /// The version in the directory.
    pub(super) found: Option<&'a Arc<Plugin>>,
    /// The last good version, if it is another one.
    pub(super) last_good: Option<&'a Known>,
    /// The copy of the last good version, if there is one.
    pub(super) kept: Option<Arc<Plugin>>,
    pub(super) order: RunOrder,
    /// Number of instances to make ready.
    pub(super) warm: usize,
    /// True if a new version first runs as a shadow.
    pub(super) shadowed: bool,
    pub(super) known: &'a [Known],
    pub(super) barred: &'a BTreeMap<String, String>,
}

impl SlotCandidate<'_> {
    /// Fills the slot:
    ///
    /// | file in the directory | last good version, if another | slot |
    /// | --- | --- | --- |
    /// | none, or refused | has a usable copy | the last good version |
    /// | none, or refused | none, or without a usable copy | error |
    /// | usable | none | the file |
    /// | usable, shadowed and not promoted | has a usable copy | the last good version, shadowed by the file |
    /// | usable | has a usable copy | the file on trial, with a fallback |
    /// | usable | has no usable copy | the file on trial, without one |
    ///
    /// # Errors
    /// If neither the file nor the last good version can be used.
    pub(super) fn slot(self, rules: &config::Plugins) -> Result<Slot, Misfit> {
        let name = self.name;
        let good = self.kept.as_ref().map(|kept| self.configured(kept));
        let good = good.transpose();
        let file = self.found.map(|found| self.usable(found));
        match (file, good) {
            (None, Ok(Some(good))) => {
                tracing::warn!(
                    plugin = name,
                    "its file is not in the directory; the copy of the last good version is used"
                );
                Ok(Slot::proven(name, good))
            }
            (None, Ok(None)) => Err(Misfit::Missing(name.to_owned())),
            (None, Err(unusable)) => Err(unusable.into()),
            (Some(Err(refusal)), Ok(Some(good))) => {
                let version = self.found.map(|found| found.id().version.as_str());
                tracing::error!(plugin = name, version, reason = %refusal, "the new version is refused; the last good version is used");
                Ok(Slot::proven(name, good))
            }
            (Some(Err(refusal)), Ok(None) | Err(_)) => Err(refusal),
            (Some(Ok(new)), _) if self.last_good.is_none() => Ok(Slot::proven(name, new)),
            (Some(Ok(new)), Ok(Some(good))) if self.shadowed && !self.is_promoted(&new) => {
                let (rows, differing) = self
                    .known_as(&new)
                    .map_or((0, 0), |known| (known.rows_compared, known.rows_different));
                Ok(Slot::with_shadow(name, good, new, rows, differing))
            }
            (Some(Ok(new)), Ok(Some(good))) => {
                Ok(Slot::on_trial(name, new, Fallback::To(good), rules))
            }
            (Some(Ok(new)), Ok(None) | Err(_)) => {
                tracing::warn!(
                    plugin = name,
                    version = new.plugin().id().version,
                    last_good = self.last_good.map(|known| known.version.as_str()),
                    "a new version is on trial without a fallback: the last good version has no copy here, or rejects its settings"
                );
                Ok(Slot::on_trial(name, new, Fallback::Nowhere, rules))
            }
        }
    }

    fn configured(&self, plugin: &Arc<Plugin>) -> Result<Arc<ConfiguredPlugin>, ChainError> {
        ConfiguredPlugin::new(Arc::clone(plugin), self.settings.clone(), self.warm)
    }

    /// The version in the directory, configured.
    fn usable(&self, found: &Arc<Plugin>) -> Result<Arc<ConfiguredPlugin>, Misfit> {
        let id = found.id();
        if let Some(why) = self.barred.get(&id.digest) {
            return Err(Misfit::Barred {
                name: id.name.clone(),
                version: id.version.clone(),
                why: why.clone(),
            });
        }
        if let (Some(kept), RunOrder::Later) = (&self.kept, self.order) {
            check_roles(kept, found).map_err(Misfit::Role)?;
        }
        Ok(self.configured(found)?)
    }

    fn known_as(&self, new: &ConfiguredPlugin) -> Option<&Known> {
        let digest = &new.plugin().id().digest;
        self.known.iter().find(|known| known.digest == *digest)
    }

    fn is_promoted(&self, new: &ConfiguredPlugin) -> bool {
        self.known_as(new)
            .is_some_and(|known| known.promoted || known.state.is_in_use())
    }
}
