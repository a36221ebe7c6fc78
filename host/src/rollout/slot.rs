//! The place of one plugin in a pipeline: the version in use, and what is tried beside or
//! instead of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Misfit, Refusal};
use crate::config;
use crate::plugin::{ChainEntry, Comparison, ConfiguredPlugin, Observed, Plugin, Settings};
use crate::row::PluginId;
use crate::store::ledger::{Known, Note, State};

/// Rows that a new version is given in any case before its share of faults means something.
const LEAST_ROWS: u64 = 100;

/// What a chunk says about a version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Good,
    /// It has had all of its first chunks.
    Proven,
    /// It fails too often.
    Failed(String),
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) active: Arc<ConfiguredPlugin>,
    pub(super) canary: Option<Canary>,
    pub(super) shadow: Option<Shadow>,
}

/// A version in its first chunks.
#[derive(Clone, Debug)]
pub(super) struct Canary {
    back: Fallback,
    /// Whether it was there when the pipeline was put together.
    from_the_start: bool,
    chunks: u32,
    seen: Observed,
}

/// What becomes of a version's place when it fails its trial.
#[derive(Clone, Debug)]
pub(super) enum Fallback {
    /// The last good version comes back.
    To(Arc<ConfiguredPlugin>),
    /// There was no plugin of this name before: it leaves.
    Out,
    /// The last good version cannot be had: rows must not go on without, so the pipeline halts.
    Nowhere,
}

/// A version that runs beside the one in use.
#[derive(Clone, Debug)]
pub(super) struct Shadow {
    link: Arc<ConfiguredPlugin>,
    rows: u64,
    differing: u64,
}

impl Canary {
    fn new(link: &ConfiguredPlugin, back: Fallback, rules: &config::Plugins) -> Self {
        Self {
            back,
            from_the_start: false,
            chunks: rules.canary.chunks,
            seen: Observed::new(link.plugin().id()),
        }
    }
}

impl Slot {
    /// A plugin that was not there before.
    pub(super) fn added(link: Arc<ConfiguredPlugin>, rules: &config::Plugins) -> Self {
        Self {
            name: link.plugin().id().name.clone(),
            canary: Some(Canary::new(&link, Fallback::Out, rules)),
            active: link,
            shadow: None,
        }
    }

    pub(super) fn member(&self) -> ChainEntry {
        ChainEntry {
            active: Arc::clone(&self.active),
            shadow: self.shadow.as_ref().map(|shadow| Arc::clone(&shadow.link)),
        }
    }

    fn id(&self) -> &Arc<PluginId> {
        self.active.plugin().id()
    }

    /// Whether this version is in use or runs beside.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.id().digest == digest || self.has_shadow(digest)
    }

    pub(super) fn has_shadow(&self, digest: &str) -> bool {
        let shadow = self.shadow.as_ref();
        shadow.is_some_and(|shadow| shadow.link.plugin().id().digest == digest)
    }

    /// Whether nothing would go on unchecked with this version.
    pub(super) fn allows(&self, plugin: &Plugin) -> Result<(), Refusal> {
        keeps_roles(self.active.plugin(), plugin)
    }

    /// Takes up a version: in the place of the one in use, or beside it.
    pub(super) fn take(&mut self, link: Arc<ConfiguredPlugin>, rules: &config::Plugins) {
        if rules.is_shadowed(&self.name) {
            self.shadow = Some(Shadow {
                link,
                rows: 0,
                differing: 0,
            });
        } else {
            self.replace(link, rules);
        }
    }

    /// Puts a version in the place of the one in use, which is what to go back to, unless it is
    /// on trial itself.
    fn replace(&mut self, link: Arc<ConfiguredPlugin>, rules: &config::Plugins) {
        let old = std::mem::replace(&mut self.active, link);
        let back = self.canary.take().map_or(Fallback::To(old), |it| it.back);
        let is_last_good = matches!(&back, Fallback::To(good) if good.plugin().id() == self.id());
        self.canary = (!is_last_good).then(|| Canary::new(&self.active, back, rules));
    }

    /// Ends a trial that failed. A place to which nothing comes back stays as it is.
    pub(super) fn fail(&mut self) -> Fallback {
        let back = self.canary.take().map_or(Fallback::Nowhere, |it| it.back);
        if let Fallback::To(good) = &back {
            self.active = Arc::clone(good);
        }
        back
    }

    /// Forgets what runs beside the version in use; its name.
    pub(super) fn drop_shadow(&mut self) -> Option<Arc<PluginId>> {
        let shadow = self.shadow.take()?;
        Some(Arc::clone(shadow.link.plugin().id()))
    }

    /// Makes the shadow the version in use; its name.
    pub(super) fn promote(&mut self, rules: &config::Plugins) -> Option<Arc<PluginId>> {
        let shadow = self.shadow.take()?;
        self.replace(shadow.link, rules);
        Some(Arc::clone(self.id()))
    }

    /// Counts what the version in use did with a chunk, while it is on trial.
    pub(super) fn judge(&mut self, observed: &Observed, rules: &config::Canary) -> Judgement {
        let Some(canary) = &mut self.canary else {
            return Judgement::Good;
        };
        canary.seen.add(observed);
        let roles = self.active.plugin().roles();
        // Of a chunk with rows that the database refuses, a policy is heard more than once.
        if observed.rows > 0 || !(roles.transform || roles.validate) {
            canary.chunks = canary.chunks.saturating_sub(1);
        }
        let Observed {
            rows,
            faults,
            failures,
            undecided,
            ..
        } = canary.seen;
        let too_many =
            |faults: u64, of: u64| faults as f64 > rules.faults * of.max(LEAST_ROWS) as f64;
        if too_many(faults, rows) {
            return Judgement::Failed(format!("it failed on {faults} of its first {rows} rows"));
        }
        if too_many(undecided, failures) {
            return Judgement::Failed(format!(
                "it failed to decide about {undecided} of its first {failures} failed rows"
            ));
        }
        if canary.chunks == 0 {
            Judgement::Proven
        } else {
            Judgement::Good
        }
    }

    /// A whole run has come to its end: whether a version on trial has proven itself with it.
    pub(super) fn is_proven_by_run(&self) -> bool {
        self.canary.as_ref().is_some_and(|canary| {
            canary.from_the_start && canary.seen.rows + canary.seen.failures > 0
        })
    }

    /// Counts what the shadow would have done otherwise; whether it may be promoted now.
    pub(super) fn count(
        &mut self,
        comparison: &Comparison,
        rules: Option<&config::Shadow>,
    ) -> bool {
        let Some(shadow) = &mut self.shadow else {
            return false;
        };
        shadow.rows += comparison.rows;
        shadow.differing += comparison.differences.iter().map(|it| it.rows).sum::<u64>();
        rules.is_some_and(|rules| {
            let allowed = rules.differences * shadow.rows as f64;
            rules.promote_after.is_some_and(|rows| shadow.rows >= rows)
                && shadow.differing as f64 <= allowed
        })
    }

    /// As it stands, for the ledger.
    pub(super) fn notes(&self) -> Vec<Note> {
        let state = match &self.canary {
            Some(_) => State::Canary,
            None => State::Active,
        };
        let active = Note::new(self.id(), state, String::new());
        let shadow = self
            .shadow
            .as_ref()
            .map(|shadow| Note::new(shadow.link.plugin().id(), State::Shadow, String::new()));
        [Some(active), shadow].into_iter().flatten().collect()
    }
}

/// What there is for a slot when a pipeline is put together.
pub(super) struct SlotCandidate<'a> {
    /// In the directory.
    pub(super) found: Option<&'a Arc<Plugin>>,
    /// What was good the last time, if that is another.
    pub(super) last_good: Option<&'a Known>,
    /// Its copy, if there is one.
    pub(super) kept: Option<Arc<Plugin>>,
    /// Whether the pipeline runs for the first time since the host was started: whoever did that
    /// may want to do without a role.
    pub(super) anew: bool,
    /// Instances that are made ready.
    pub(super) warm: usize,
    pub(super) shadowed: bool,
    pub(super) known: &'a [Known],
    pub(super) barred: &'a BTreeMap<String, String>,
}

impl SlotCandidate<'_> {
    /// The slot, or what is wrong.
    pub(super) fn slot(
        self,
        name: &str,
        settings: Settings,
        rules: &config::Plugins,
    ) -> Result<Slot, Misfit> {
        let link = |plugin: &Arc<Plugin>| {
            ConfiguredPlugin::new(Arc::clone(plugin), settings.clone(), self.warm)
        };
        let slot = |active, canary, shadow| Slot {
            name: name.to_owned(),
            active,
            canary,
            shadow,
        };
        let good = self.kept.as_ref().map(&link).transpose();
        let Some(found) = self.found else {
            let good = good?.ok_or_else(|| Misfit::Missing(name.to_owned()))?;
            tracing::warn!(
                plugin = name,
                "no file of the directory has it; the copy of the last good version is used"
            );
            return Ok(slot(good, None, None));
        };
        let id = found.id();
        let new = match self.objection(found) {
            Some(objection) => Err(objection),
            None => link(found).map_err(Misfit::Chain),
        };
        let new = match (new, good.as_ref()) {
            (Ok(new), _) => new,
            (Err(objection), Ok(Some(good))) => {
                let version = &id.version;
                tracing::error!(plugin = name, version, reason = %objection, "not taken up; the last good version is used");
                return Ok(slot(Arc::clone(good), None, None));
            }
            (Err(objection), _) => return Err(objection),
        };
        let Some(last_good) = self.last_good else {
            return Ok(slot(new, None, None));
        };
        let known = self.known.iter().find(|known| known.digest == id.digest);
        let promoted = known.is_some_and(|known| known.promoted || known.state.is_in_use());
        Ok(match good {
            Ok(Some(good)) if self.shadowed && !promoted => {
                let shadow = Shadow {
                    link: new,
                    rows: known.map_or(0, |known| known.rows_compared),
                    differing: known.map_or(0, |known| known.rows_different),
                };
                slot(good, None, Some(shadow))
            }
            good => {
                let back = good.ok().flatten().map_or_else(
                    || {
                        tracing::warn!(
                            plugin = name,
                            version = id.version,
                            last_good = last_good.version,
                            "a new version is on trial with nothing to go back to: the last good one has no copy here, or refuses its settings"
                        );
                        Fallback::Nowhere
                    },
                    Fallback::To,
                );
                let canary = Canary {
                    from_the_start: true,
                    ..Canary::new(&new, back, rules)
                };
                slot(new, Some(canary), None)
            }
        })
    }

    /// Why what is in the directory must not be used.
    fn objection(&self, found: &Plugin) -> Option<Misfit> {
        let id = found.id();
        if let Some(why) = self.barred.get(&id.digest) {
            return Some(Misfit::Barred {
                name: id.name.clone(),
                version: id.version.clone(),
                why: why.clone(),
            });
        }
        let kept = self.kept.as_ref().filter(|_| !self.anew)?;
        Some(Misfit::Role(keeps_roles(kept, found).err()?))
    }
}

/// Whether nothing goes on unchecked with `new` in the place of `old`.
fn keeps_roles(old: &Plugin, new: &Plugin) -> Result<(), Refusal> {
    let (roles, has) = (old.roles().names(), new.roles().names());
    match roles.into_iter().find(|role| !has.contains(role)) {
        None => Ok(()),
        Some(role) => Err(Refusal::Role {
            role,
            version: old.id().version.clone(),
        }),
    }
}
