//! `forebay check`: everything that can be checked without moving a row.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::exit::{Exit, Interrupted};
use super::global::Global;
use super::mapping;
use super::output::print_json;
use super::{rehearsal, run, session, stop};
use crate::config::{Config, schema};
use crate::error::{PipelineError, with_causes};
use crate::pipeline::{Host, Pipeline, Rehearsal};
use crate::route::Mapping;
use crate::store::preflight::Severity;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Print the JSON Schema of the configuration, for editors, and exit
    #[arg(long)]
    schema: bool,
    /// Confirm that the columns and embeddings that this pipeline has lost are not wanted any more
    #[arg(long, value_name = "PIPELINE")]
    accept_mapping: Vec<String>,
    /// Find out what would become of the first N rows of each dataset, without writing any
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows: Option<u64>,
}

/// The result of one check.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    /// Severity of a finding that is not a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    detail: String,
    /// What feeds each column of a pipeline's tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<Mapping>,
    /// What would become of the dataset's first rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Rehearsal>,
}

impl Check {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        if self.schema {
            print_json(&schema())?;
            return Ok(Exit::Done);
        }
        let config = session::config_with_little_patience(global)?;
        run::choose(&config, &self.accept_mapping)?;
        let mut findings = vec![finding(
            global.config.display(),
            Ok(format!("{} pipelines", config.pipelines.len())),
        )];
        let stop = stop::quietly()?;
        match session::Database::open(global, Some(&config), &stop).await {
            Ok(database) => {
                tokio::select! {
                    () = self.check_host(&config, &database, &mut findings) => {}
                    () = stop.cancelled() => {}
                }
                database.close_after(&stop).await?;
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => findings.push(finding("database", Err(with_causes(error.as_ref())))),
        }
        if stop.is_cancelled() {
            return Err(Interrupted.into());
        }
        let ok = findings.iter().all(|finding| finding.ok);
        if global.json {
            print_json(&json!({ "ok": ok, "findings": findings }))?;
        } else {
            for finding in &findings {
                let mark = match finding.severity {
                    _ if !finding.ok => "FAIL",
                    Some(Severity::Advice) => "note",
                    Some(Severity::Warning | Severity::Error) => "warn",
                    None => "ok  ",
                };
                println!(
                    "{mark} {}: {}",
                    finding.what,
                    finding.detail.replace('\n', "\n     ")
                );
                if let Some(mapping) = &finding.mapping {
                    mapping::print(mapping);
                }
                if let Some(rows) = &finding.rows {
                    rehearsal::print(rows);
                }
            }
        }
        let mut rehearsed = findings.iter().filter_map(|finding| finding.rows.as_ref());
        Ok(match (ok, rehearsed.any(Rehearsal::refuses)) {
            (false, _) => Exit::Usage,
            (true, true) => Exit::Failed,
            (true, false) => Exit::Done,
        })
    }
}

fn finding(what: impl ToString, result: Result<String, String>) -> Finding {
    let ok = result.is_ok();
    Finding {
        what: what.to_string(),
        ok,
        severity: None,
        detail: result.unwrap_or_else(|error| error),
        mapping: None,
        rows: None,
    }
}

impl Check {
    async fn check_host(
        &self,
        config: &Arc<Config>,
        database: &session::Database,
        findings: &mut Vec<Finding>,
    ) {
        findings.push(finding("database", Ok(database.url.to_string())));
        match session::host(config, database).await {
            Ok(host) => {
                for plugin in host.plugins.directory().plugins() {
                    let id = plugin.id();
                    let granted: Vec<_> = plugin.grants().iter().map(|it| it.name()).collect();
                    let mut detail = format!(
                        "{} (sha256 {}…) as {}",
                        id.version,
                        id.short_digest(),
                        plugin.roles().names().join(", ")
                    );
                    if !granted.is_empty() {
                        detail += &format!(", granted {}", granted.join(", "));
                    }
                    findings.push(finding(format!("plugin {}", id.name), Ok(detail)));
                }
                let mut found = Vec::new();
                for pipeline in &config.pipelines {
                    let accepts = self.accept_mapping.contains(&pipeline.name);
                    let result =
                        check_pipeline(&host, pipeline, accepts, self.rows, &mut found).await;
                    findings.push(result.unwrap_or_else(|error| {
                        finding(
                            format!("pipeline {}", pipeline.name),
                            Err(error.to_string()),
                        )
                    }));
                }
                findings.extend(found);
            }
            Err(error) => findings.push(finding("plugins", Err(with_causes(error.as_ref())))),
        }
    }
}

async fn check_pipeline(
    host: &Host,
    config: &crate::config::Pipeline,
    accepts: bool,
    tried: Option<u64>,
    found: &mut Vec<Finding>,
) -> Result<Finding, PipelineError> {
    let pipeline = if accepts {
        let pipeline = Pipeline::prepare_accepting(host, config).await?;
        pipeline.remember_mapping().await?;
        pipeline
    } else {
        Pipeline::prepare(host, config).await?
    };
    for it in pipeline.findings() {
        let of_database = Finding {
            what: it.place.clone(),
            ok: true,
            severity: Some(it.severity),
            detail: format!("{}\n  hint: {}", it.message, it.hint),
            mapping: None,
            rows: None,
        };
        // Pipelines share the database, and may share tables.
        if !found.contains(&of_database) {
            found.push(of_database);
        }
    }
    let dataset = pipeline.dataset();
    let tables: Vec<String> = pipeline
        .targets()
        .tables
        .iter()
        .map(|target| target.table.quoted.clone())
        .collect();
    let rows = dataset.row_count.map_or_else(
        || "an unknown number of".to_owned(),
        |rows| rows.to_string(),
    );
    let indexes = pipeline.index_outlook().await?;
    let indexes: String = indexes.iter().map(|line| format!("\n{line}")).collect();
    let detail = format!(
        "dataset {} ({} fields, {} embeddings, {rows} rows) into {}{indexes}",
        config.source.dataset,
        dataset.schema.columns.len(),
        dataset.schema.embeddings.len(),
        tables.join(", "),
    );
    let rehearsal = match tried {
        Some(most) => Some(pipeline.rehearse(most).await?),
        None => None,
    };
    Ok(Finding {
        mapping: Some(pipeline.mapping()),
        rows: rehearsal,
        ..finding(format!("pipeline {}", config.name), Ok(detail))
    })
}
