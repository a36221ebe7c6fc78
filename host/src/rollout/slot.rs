//! The place of one plugin in a pipeline: its active version, and a shadow or a trial.

use std::sync::Arc;

use super::refusal::Refusal;
use crate::config;
use crate::plugin::{ChainEntry, Comparison, ConfiguredPlugin, Observed, Plugin};
use crate::row::PluginId;
use crate::store::ledger::{Note, State};

/// Minimum number of rows by which the share of faults of a new version is computed: a share of
/// fewer means little.
const LEAST_ROWS: u64 = 100;

/// The judgement on a version after a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Good,
    /// Its trial has ended well.
    Proven,
    /// It failed too often.
    Failed(String),
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) active: Arc<ConfiguredPlugin>,
    pub(super) canary: Option<Canary>,
    pub(super) shadow: Option<Shadow>,
}

/// The trial of a version, in its first chunks.
#[derive(Clone, Debug)]
pub(super) struct Canary {
    fallback: Fallback,
    /// True if the version has been active since the pipeline was put together.
    from_the_start: bool,
    chunks: u32,
    seen: Observed,
}

/// What takes the place of a version that fails its trial.
#[derive(Clone, Debug)]
pub(super) enum Fallback {
    /// The last good version.
    To(Arc<ConfiguredPlugin>),
    /// Nothing: there was no plugin of this name before.
    Out,
    /// The last good version is unavailable: rows must not go on without it, so the pipeline halts.
    Nowhere,
}

/// A version that runs beside the active one, without effect.
#[derive(Clone, Debug)]
pub(super) struct Shadow {
    plugin: Arc<ConfiguredPlugin>,
    rows: u64,
    differing: u64,
}

impl Canary {
    fn new(plugin: &ConfiguredPlugin, fallback: Fallback, rules: &config::Plugins) -> Self {
        Self {
            fallback,
            from_the_start: false,
            chunks: rules.canary.chunks,
            seen: Observed::new(plugin.plugin().id()),
        }
    }
}

impl Slot {
    /// A plugin that was not there before.
    pub(super) fn added(plugin: Arc<ConfiguredPlugin>, rules: &config::Plugins) -> Self {
        Self {
            name: plugin.plugin().id().name.clone(),
            canary: Some(Canary::new(&plugin, Fallback::Out, rules)),
            active: plugin,
            shadow: None,
        }
    }

    /// A version that needs no trial.
    pub(super) fn proven(name: &str, active: Arc<ConfiguredPlugin>) -> Self {
        Self {
            name: name.to_owned(),
            active,
            canary: None,
            shadow: None,
        }
    }

    /// A version that is on trial from the first chunk of a run on.
    pub(super) fn on_trial(
        name: &str,
        active: Arc<ConfiguredPlugin>,
        fallback: Fallback,
        rules: &config::Plugins,
    ) -> Self {
        let canary = Canary {
            from_the_start: true,
            ..Canary::new(&active, fallback, rules)
        };
        Self {
            canary: Some(canary),
            ..Self::proven(name, active)
        }
    }

    /// A proven version with a shadow, which has been compared on `rows` rows before.
    pub(super) fn with_shadow(
        name: &str,
        active: Arc<ConfiguredPlugin>,
        shadow: Arc<ConfiguredPlugin>,
        rows: u64,
        differing: u64,
    ) -> Self {
        let shadow = Shadow {
            plugin: shadow,
            rows,
            differing,
        };
        Self {
            shadow: Some(shadow),
            ..Self::proven(name, active)
        }
    }

    /// For the chain.
    pub(super) fn entry(&self) -> ChainEntry {
        ChainEntry {
            active: Arc::clone(&self.active),
            shadow: self
                .shadow
                .as_ref()
                .map(|shadow| Arc::clone(&shadow.plugin)),
        }
    }

    fn id(&self) -> &Arc<PluginId> {
        self.active.plugin().id()
    }

    /// True if this version is active or the shadow.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.id().digest == digest || self.has_shadow(digest)
    }

    pub(super) fn has_shadow(&self, digest: &str) -> bool {
        let shadow = self.shadow.as_ref();
        shadow.is_some_and(|shadow| shadow.plugin.plugin().id().digest == digest)
    }

    /// Checks that this version still exports every role of the active one.
    pub(super) fn allows(&self, plugin: &Plugin) -> Result<(), Refusal> {
        check_roles(self.active.plugin(), plugin)
    }

    /// Takes up a version: in place of the active one, or as its shadow.
    pub(super) fn take(&mut self, plugin: Arc<ConfiguredPlugin>, rules: &config::Plugins) {
        if rules.is_shadowed(&self.name) {
            self.shadow = Some(Shadow {
                plugin,
                rows: 0,
                differing: 0,
            });
        } else {
            self.replace(plugin, rules);
        }
    }

    /// Replaces the active version, which becomes the fallback, unless it is on trial itself.
    fn replace(&mut self, plugin: Arc<ConfiguredPlugin>, rules: &config::Plugins) {
        let old = std::mem::replace(&mut self.active, plugin);
        let fallback = self
            .canary
            .take()
            .map_or(Fallback::To(old), |it| it.fallback);
        let is_last_good =
            matches!(&fallback, Fallback::To(good) if good.plugin().id() == self.id());
        self.canary = (!is_last_good).then(|| Canary::new(&self.active, fallback, rules));
    }

    /// Ends a failed trial. Without a last good version the slot stays as it is.
    pub(super) fn fail(&mut self) -> Fallback {
        let fallback = self
            .canary
            .take()
            .map_or(Fallback::Nowhere, |it| it.fallback);
        if let Fallback::To(good) = &fallback {
            self.active = Arc::clone(good);
        }
        fallback
    }

    /// Drops the shadow, and returns its id.
    pub(super) fn drop_shadow(&mut self) -> Option<Arc<PluginId>> {
        let shadow = self.shadow.take()?;
        Some(Arc::clone(shadow.plugin.plugin().id()))
    }

    /// Makes the shadow the active version, and returns its id.
    pub(super) fn promote(&mut self, rules: &config::Plugins) -> Option<Arc<PluginId>> {
        let shadow = self.shadow.take()?;
        self.replace(shadow.plugin, rules);
        Some(Arc::clone(self.id()))
    }

    /// Counts what the active version did with a chunk while it is on trial.
    pub(super) fn judge(&mut self, observed: &Observed, rules: &config::Canary) -> Judgement {
        let Some(canary) = &mut self.canary else {
            return Judgement::Good;
        };
        canary.seen.add(observed);
        let roles = self.active.plugin().roles();
        // A policy is asked more than once about a chunk with rows that the database refuses.
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

    /// True if a whole run that has ended well proves a version on trial.
    pub(super) fn is_proven_by_run(&self) -> bool {
        self.canary.as_ref().is_some_and(|canary| {
            canary.from_the_start && canary.seen.rows + canary.seen.failures > 0
        })
    }

    /// Counts what the shadow would have done differently. True if it may be promoted now.
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

    /// The state of its versions, for the ledger.
    pub(super) fn notes(&self) -> Vec<Note> {
        let state = match &self.canary {
            Some(_) => State::Canary,
            None => State::Active,
        };
        let active = Note::new(self.id(), state, String::new());
        let shadow = self
            .shadow
            .as_ref()
            .map(|shadow| Note::new(shadow.plugin.plugin().id(), State::Shadow, String::new()));
        [Some(active), shadow].into_iter().flatten().collect()
    }
}

/// Checks that `new` exports every role of `old`: otherwise rows would go on unchecked.
///
/// # Errors
/// The first missing role.
pub(super) fn check_roles(old: &Plugin, new: &Plugin) -> Result<(), Refusal> {
    let (roles, has) = (old.roles().names(), new.roles().names());
    match roles.into_iter().find(|role| !has.contains(role)) {
        None => Ok(()),
        Some(role) => Err(Refusal::Role {
            role,
            version: old.id().version.clone(),
        }),
    }
}
