//! `forebay plugin record`: records cases from rows that a plugin receives in production.
//!
//! Each row takes the path of production up to the plugin: it is decoded and passes the plugins
//! before it. A row on which the plugin failed is recorded without an expectation, so its case
//! fails until the plugin is fixed; any other row with the plugin's current result.

mod path_to_plugin;

use std::collections::HashSet;
use std::path::PathBuf;

use self::path_to_plugin::{Found, PathToPlugin};
use crate::cases::record;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::global::Global;
use crate::cli::output::print_json;
use crate::cli::{session, words};
use crate::config;
use crate::error::PipelineError;
use crate::pipeline::{Host, Pipeline};
use crate::plugin::Plugin;
use crate::source::{Format, Source, Units};
use crate::store::dead_letter::Filter;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Record {
    /// Name of the plugin
    plugin: String,
    /// Pipeline that uses it; required if there are several
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Record dead letters of this plugin instead of the first rows of the source
    #[arg(long)]
    dead_letters: bool,
    /// Record this dead letter
    #[arg(long, value_name = "ID", value_parser = words::id)]
    id: Vec<i64>,
    /// Record dead letters with this code
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Maximum number of rows
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = words::count)]
    limit: u32,
    /// File to append the cases to [default: NAME.cases.toml]
    // Not beside the component: a failing case there would prevent the use of its version.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
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
                "name a pipeline with --pipeline; configured: {}",
                names.join(", ")
            ))),
            (Some(name), _) => named
                .find(|pipeline| pipeline.name == *name)
                .ok_or_else(|| words::unknown("pipeline", name, "configured", names)),
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
                let why =
                    "the source and the tables define the columns of rows, also for dead letters";
                return Err(anyhow::Error::new(error).context(why));
            }
            prepared => prepared?,
        };
        let path = PathToPlugin::to(&self.plugin, host, config, &pipeline)?;
        let found = if self.dead_letters || !self.id.is_empty() || self.code.is_some() {
            self.letters(host, config, &path.plugin, &pipeline.dataset().format)
                .await?
        } else {
            self.rows(host, config, &pipeline).await?
        };
        let (mut cases, mut skipped) = (Vec::new(), Vec::new());
        for found in found {
            match path.case(&found)? {
                Ok(case) => cases.push(case),
                Err(reason) => skipped.push(format!("{}: {reason}", found.name)),
            }
        }
        let output = self.output.clone();
        let output = output.unwrap_or_else(|| PathBuf::from(format!("{}.cases.toml", self.plugin)));
        let new = if cases.is_empty() {
            0
        } else {
            record::append(&output, &path.schema.columns, &cases)?
        };
        // Some of the first rows may not reach the plugin, but a row that was named must.
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

    /// The dead letters that the options select.
    async fn letters(
        &self,
        host: &Host,
        config: &config::Pipeline,
        plugin: &Plugin,
        of_today: &Format,
    ) -> anyhow::Result<Vec<Found>> {
        let roles = plugin.roles();
        let filter = Filter {
            pipeline: Some(config.name.clone()),
            code: self.code.clone(),
            status: Some("open".to_owned()),
            // A policy decides about the failures of all plugins.
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
                let message = format!("dead letter {id} belongs to pipeline {}", entry.pipeline);
                return Err(UsageError(message).into());
            }
            if let Some(code) = self.code.as_ref().filter(|code| **code != entry.code) {
                let message = format!("dead letter {id} has code {}, not {code}", entry.code);
                return Err(UsageError(message).into());
            }
            let (key, code) = (entry.key.as_deref().unwrap_or("without a key"), &entry.code);
            found.push(Found {
                name: format!("dead letter {id} of {}, row {key}: {code}", config.name),
                row: {
                    let format = host.store.letter_format(id).await?;
                    let kind = format.as_ref().map(|it| it.kind.as_str());
                    let row = Units::of_letters(of_today, kind, vec![wire.into()]);
                    row.ok_or_else(|| {
                        UsageError(format!(
                            "dead letter {id} has another format than rows today"
                        ))
                    })?
                },
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
        let source = Source::new(&config.source, host.config.limits);
        let partition = pipeline.dataset().partitions.first();
        let partition = partition.map(String::as_str).unwrap_or_default();
        let mut chunks = source.open(partition, "", config.source.chunk_rows).await?;
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(chunk) = chunks.next().await? else {
                break;
            };
            let first = found.len() + 1;
            found.extend((0..chunk.units.len()).map(|row| Found {
                name: format!("row {} of {}", first + row, config.source.dataset),
                row: chunk.units.select(&[row]),
                entry: None,
            }));
        }
        found.truncate(limit);
        Ok(found)
    }
}
