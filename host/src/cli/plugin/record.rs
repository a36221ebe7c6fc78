//! `forebay plugin record`: cases from what a plugin met in production.
//!
//! A row is brought as far as the plugin as production would: decoded, and through the plugins
//! before it. A row on which the plugin failed is written without an expectation, so its case
//! fails until the plugin is mended; any other with what the plugin makes of it now.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::cases::record::NewCase;
use crate::cases::{CaseFailure, record};
use crate::cli::{Exit, Global, UsageError, print_json, session};
use crate::config;
use crate::decode::Decoder;
use crate::error::PipelineError;
use crate::pipeline::{Host, Pipeline};
use crate::plugin::{Chain, Plugin, Settings, apart, codes};
use crate::row::{Batch, Stage};
use crate::source::Source;
use crate::store::dead_letter::{Entry, Filter};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Record {
    /// The plugin, by name
    plugin: String,
    /// A pipeline that uses it; may be left out where there is one only
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Dead letters of this plugin, instead of the first rows of the source
    #[arg(long)]
    dead_letters: bool,
    /// This dead letter
    #[arg(long, value_name = "ID")]
    id: Vec<i64>,
    /// Dead letters with this code
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// At most so many rows
    #[arg(long, default_value_t = 10, value_name = "N")]
    limit: u32,
    /// Where to write, behind what is there [default: NAME.cases.toml]
    // Not beside the component: there a case that fails keeps its version from being used.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A row as it came, and the dead letter if it became one.
struct Found {
    name: String,
    wire: Bytes,
    entry: Option<Entry>,
}

impl Record {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_with_little_patience(global)?;
        let pipeline = self.choose(&config)?;
        session::with_database(global, Some(&config), async |database| {
            let host = session::host(&config, database).await?;
            self.record(global, &host, pipeline).await
        })
        .await
    }

    /// The pipeline's configuration.
    fn choose<'c>(&self, config: &'c config::Config) -> Result<&'c config::Pipeline, UsageError> {
        let mut named = config.pipelines.iter();
        let names: Vec<&str> = config.pipelines.iter().map(|it| it.name.as_str()).collect();
        match (&self.pipeline, config.pipelines.as_slice()) {
            (None, [one]) => Ok(one),
            (None, _) => Err(UsageError(format!(
                "name a pipeline with --pipeline; there are {}",
                names.join(", ")
            ))),
            (Some(name), _) => named
                .find(|pipeline| pipeline.name == *name)
                .ok_or_else(|| {
                    UsageError(format!(
                        "no pipeline `{name}`; there are {}",
                        names.join(", ")
                    ))
                }),
        }
    }

    async fn record(
        &self,
        global: &Global,
        host: &Host,
        config: &config::Pipeline,
    ) -> anyhow::Result<Exit> {
        let pipeline = match Pipeline::prepare(host, config).await {
            Err(error @ PipelineError::GaveUp { .. }) => {
                let why = "source and tables say what a row has, also that of a dead letter";
                return Err(anyhow::Error::new(error).context(why));
            }
            prepared => prepared?,
        };
        let stage = PathToPlugin::to(&self.plugin, host, config, &pipeline)?;
        let found = if self.dead_letters || !self.id.is_empty() || self.code.is_some() {
            self.letters(host, config, &stage.plugin).await?
        } else {
            self.rows(host, config, &pipeline).await?
        };
        let (mut cases, mut skipped) = (Vec::new(), Vec::new());
        for found in found {
            match stage.case(&found)? {
                Ok(case) => cases.push(case),
                Err(reason) => skipped.push(format!("{}: {reason}", found.name)),
            }
        }
        let output = self.output.clone();
        let output = output.unwrap_or_else(|| PathBuf::from(format!("{}.cases.toml", self.plugin)));
        let new = if cases.is_empty() {
            0
        } else {
            record::append(&output, &stage.decoder.schema.columns, &cases)?
        };
        // Some of the first rows may well not get as far; whoever names one wants that one.
        let exit = if !skipped.is_empty() && (cases.is_empty() || !self.id.is_empty()) {
            Exit::Failed
        } else {
            Exit::Done
        };
        if global.json {
            let names: Vec<&String> = cases.iter().map(|case| &case.name).collect();
            print_json(
                &serde_json::json!({ "file": output, "cases": names, "new": new, "skipped": skipped }),
            )?;
            return Ok(exit);
        }
        for reason in &skipped {
            println!("not recorded: {reason}");
        }
        println!(
            "{new} of {} cases are new in {}",
            cases.len(),
            output.display()
        );
        Ok(exit)
    }

    async fn letters(
        &self,
        host: &Host,
        config: &config::Pipeline,
        plugin: &Plugin,
    ) -> anyhow::Result<Vec<Found>> {
        let roles = plugin.roles();
        let filter = Filter {
            pipeline: Some(config.name.clone()),
            code: self.code.clone(),
            status: Some("open".to_owned()),
            // The policy decides about the failures of all.
            plugin: (roles.transform || roles.validate).then(|| self.plugin.clone()),
            limit: self.limit.into(),
            ..Filter::default()
        };
        let ids = if self.id.is_empty() {
            let (entries, _) = host.store.dead_letters(&filter).await?;
            entries.into_iter().map(|entry| entry.id).collect()
        } else {
            let mut known = HashSet::new();
            let mut ids = self.id.clone();
            ids.retain(|id| known.insert(*id));
            ids
        };
        let mut found = Vec::new();
        for id in ids {
            let Some((entry, wire)) = host.store.dead_letter(id).await? else {
                return Err(
                    UsageError(format!("no dead letter {id}; see `forebay dlq list`")).into(),
                );
            };
            if entry.pipeline != config.name {
                let message = format!(
                    "dead letter {id} belongs to the pipeline {}",
                    entry.pipeline
                );
                return Err(UsageError(message).into());
            }
            if let Some(code) = self.code.as_ref().filter(|code| **code != entry.code) {
                let message = format!("dead letter {id} has the code {}, not {code}", entry.code);
                return Err(UsageError(message).into());
            }
            let (key, code) = (entry.key.as_deref().unwrap_or("without a key"), &entry.code);
            found.push(Found {
                name: format!("dead letter {id} of {}, row {key}: {code}", config.name),
                wire: Bytes::from(wire),
                entry: Some(entry),
            });
        }
        Ok(found)
    }

    /// The first rows of the dataset.
    async fn rows(
        &self,
        host: &Host,
        config: &config::Pipeline,
        pipeline: &Pipeline,
    ) -> anyhow::Result<Vec<Found>> {
        let limit = usize::try_from(self.limit)?;
        let source = Source::new(&config.source, host.config.limits)?;
        let partition = pipeline.dataset().partitions.first();
        let partition = partition.map(String::as_str).unwrap_or_default();
        let mut chunks = source
            .open(
                &config.source.dataset,
                partition,
                "",
                config.source.chunk_rows,
            )
            .await?;
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(chunk) = chunks.next().await? else {
                break;
            };
            let first = found.len() + 1;
            let rows = chunk.rows.into_iter().enumerate();
            found.extend(rows.map(|(index, wire)| Found {
                name: format!("row {} of {}", first + index, config.source.dataset),
                wire,
                entry: None,
            }));
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// The way of a row to the plugin.
struct PathToPlugin {
    plugin: Arc<Plugin>,
    settings: Settings,
    /// The plugins before it.
    before: Arc<Chain>,
    decoder: Decoder,
}

impl PathToPlugin {
    fn to(
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
                "no plugin `{name}` in the pipeline {}; there are {}",
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
        let targets = pipeline.targets();
        Ok(Self {
            plugin,
            settings,
            before,
            decoder: Decoder {
                schema: Arc::clone(&targets.schema),
                key_type: targets.key_type,
                max_row_bytes: host.config.limits.row,
            },
        })
    }

    /// A row as a case, or why it cannot be one.
    fn case(&self, found: &Found) -> anyhow::Result<Result<NewCase, String>> {
        let mut batch = self.decoder.decode(vec![found.wire.clone()]);
        let case = NewCase {
            name: found.name.clone(),
            comment: found
                .entry
                .as_ref()
                .map(|entry| entry.message.clone())
                .unwrap_or_default(),
            settings: self.settings.clone(),
            ..NewCase::default()
        };
        let roles = self.plugin.roles();
        if !(roles.transform || roles.validate) {
            return match &found.entry {
                Some(entry) => self.failure(&batch, entry, case).map(Ok),
                None => Ok(Err(
                    "a policy sees failed rows only: use --dead-letters".to_owned()
                )),
            };
        }
        if let Some(failure) = batch.failures.first() {
            return Ok(Err(format!(
                "does not get as far as the plugins: {}",
                failure.message
            )));
        }
        // A plugin that is broken fails on this row too: it has a failure or the chain says so.
        let passed = apart(|| self.before.runner(&batch.schema.clone()).run(&mut batch));
        if let Err(broken) = passed {
            return Ok(Err(broken.to_string()));
        }
        let by = |it: &crate::row::Failure| {
            it.plugin
                .as_ref()
                .map(|it| it.name.clone())
                .unwrap_or_default()
        };
        if let Some(failure) = batch.failures.first() {
            return Ok(Err(format!(
                "rejected before by {}: {}",
                by(failure),
                failure.message
            )));
        }
        if let Some(drop) = batch.drops.first() {
            return Ok(Err(format!("dropped before: {}", drop.reason)));
        }
        let row = record::row(&batch, 0);
        let is_fault = found
            .entry
            .as_ref()
            .is_some_and(|entry| entry.code.starts_with(codes::PREFIX));
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

    /// A dead letter as a failure for the policy, with what it decides now.
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
