//! The path of a row to a plugin: decoded, then through the plugins before it.

use std::sync::Arc;

use crate::cases::record::NewCase;
use crate::cases::{CaseFailure, record};
use crate::cli::exit::UsageError;
use crate::config;
use crate::decode::Decoder;
use crate::pipeline::{Host, Pipeline};
use crate::plugin::{Chain, Plugin, Settings, apart, codes};
use crate::row::{Batch, Failure, Schema, Stage};
use crate::source::Units;
use crate::store::dead_letter::Entry;

/// A row as received, with its dead letter if it has one.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) row: Units,
    pub(super) entry: Option<Entry>,
}

/// A plugin of a pipeline, and what a row passes before it.
pub(super) struct PathToPlugin {
    pub(super) plugin: Arc<Plugin>,
    settings: Settings,
    /// The plugins before it.
    before: Arc<Chain>,
    /// One for each kind of rows.
    decoders: Vec<Decoder>,
    pub(super) schema: Arc<Schema>,
}

impl PathToPlugin {
    pub(super) fn to(
        name: &str,
        host: &Host,
        config: &config::Pipeline,
        pipeline: &Pipeline,
    ) -> anyhow::Result<Self> {
        let plugins: Vec<Arc<Plugin>> = pipeline.chain().plugins().cloned().collect();
        let settings = |plugin: &Plugin| {
            let settings = config.settings.get(&plugin.id().name);
            settings.cloned().unwrap_or_default()
        };
        let Some(at) = plugins.iter().position(|plugin| plugin.id().name == name) else {
            let names: Vec<&str> = plugins.iter().map(|it| it.id().name.as_str()).collect();
            let message = format!(
                "pipeline {} has no plugin `{name}`; it has: {}",
                config.name,
                names.join(", ")
            );
            return Err(UsageError(message).into());
        };
        let with_settings = |plugin: &Arc<Plugin>| (Arc::clone(plugin), settings(plugin));
        let mut chosen: Vec<_> = plugins.iter().take(at + 1).map(with_settings).collect();
        let Some((plugin, settings)) = chosen.pop() else {
            return Err(UsageError(format!("no plugin `{name}`")).into());
        };
        let before = Chain::new(chosen).map_err(|errors| {
            let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(messages.join("\n"))
        })?;
        let (targets, format) = (pipeline.targets(), &pipeline.dataset().format);
        Ok(Self {
            plugin,
            settings,
            before,
            decoders: targets
                .all_kinds()
                .map(|targets| targets.decoder(format.clone(), host.config.limits.row))
                .collect(),
            schema: Arc::clone(&targets.schema),
        })
    }

    /// A row as a case, or the reason why it cannot be one.
    pub(super) fn case(&self, found: &Found) -> anyhow::Result<Result<NewCase, String>> {
        let batch = self
            .decoders
            .get(found.row.kind())
            .map(|it| it.decode(&found.row))
            .unwrap_or_default();
        let entry = found.entry.as_ref();
        let case = NewCase {
            name: found.name.clone(),
            comment: entry.map(|it| it.message.clone()).unwrap_or_default(),
            settings: self.settings.clone(),
            ..NewCase::default()
        };
        let roles = self.plugin.roles();
        if !(roles.transform || roles.validate) {
            return match entry {
                Some(entry) => self.failure(&batch, entry, case).map(Ok),
                None => Ok(Err(
                    "a policy receives failed rows only: use --dead-letters".to_owned(),
                )),
            };
        }
        let batch = match self.at_plugin(batch) {
            Ok(batch) => batch,
            Err(reason) => return Ok(Err(reason)),
        };
        let row = record::row(&batch, 0);
        let is_fault = entry.is_some_and(|entry| entry.code.starts_with(codes::PREFIX));
        let expect = if is_fault {
            None
        } else {
            record::answer(&self.plugin, &self.settings, &batch.schema, &row)
                .map_err(anyhow::Error::msg)?
        };
        Ok(Ok(NewCase {
            rows: vec![(row, expect)],
            ..case
        }))
    }

    /// The batch of one row as the plugin receives it, or the reason why the row does not get
    /// there.
    fn at_plugin(&self, mut batch: Batch) -> Result<Batch, String> {
        if let Some(failure) = batch.failures.first() {
            return Err(format!("does not reach the plugins: {}", failure.message));
        }
        // A broken plugin fails on this row as well: the row has a failure, or the chain an error.
        let passed = apart(|| self.before.runner(&batch.schema.clone()).run(&mut batch));
        passed.map_err(|broken| broken.to_string())?;
        if let Some(failure) = batch.failures.first() {
            let by = |it: &Failure| it.plugin.as_ref().map(|it| it.name.clone());
            return Err(format!(
                "rejected earlier by {}: {}",
                by(failure).unwrap_or_default(),
                failure.message
            ));
        }
        if let Some(drop) = batch.drops.first() {
            return Err(format!("dropped earlier: {}", drop.reason));
        }
        Ok(batch)
    }

    /// A dead letter as a failure for the policy, with its current decision.
    fn failure(&self, batch: &Batch, entry: &Entry, case: NewCase) -> anyhow::Result<NewCase> {
        let failure = CaseFailure {
            line: 0,
            key: entry.key.clone().unwrap_or_default().into(),
            stage: entry.stage.parse().unwrap_or(Stage::Write),
            code: entry.code.clone(),
            message: entry.message.clone(),
            attempt: u32::try_from(entry.attempts).unwrap_or(1).max(1),
            fields: record::fields(batch, 0),
            expect: None,
        };
        let expect = record::decision(&self.plugin, &self.settings, &batch.schema, &failure)
            .map_err(anyhow::Error::msg)?;
        Ok(NewCase {
            failures: vec![(failure, expect)],
            ..case
        })
    }
}
