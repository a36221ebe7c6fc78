//! Checks before the first row that source, plugins and tables fit together.

use std::sync::Arc;

use super::host::{Host, blocking};
use super::left_out::{Losses, change, remarks};
use super::preflight;
use crate::error::PipelineError;
use crate::plugin::Chain;
use crate::rollout::Rollout;
use crate::route::{Binding, Misfit, Table, Targets, absent};
use crate::source::{Dataset, Source};
use crate::store::catalog;
use crate::store::ledger::Known;
use crate::store::preflight::Finding;
use crate::{config, rollout, route, workers};

/// A pipeline whose parts are known to fit together.
pub struct Pipeline {
    pub(super) host: Host,
    pub(super) config: config::Pipeline,
    pub(super) source: Source,
    pub(super) dataset: Dataset,
    pub(super) targets: Arc<Targets>,
    pub(super) rollout: Arc<Rollout>,
    pub(super) findings: Vec<Finding>,
    /// True if known rows will be written again.
    pub(super) writes_anew: bool,
}

impl Pipeline {
    /// Queries source and database about a pipeline, and gives its plugins their settings.
    ///
    /// # Errors
    /// Everything that does not fit; or if the source or the database is away for too long.
    pub async fn prepare(host: &Host, config: &config::Pipeline) -> Result<Self, PipelineError> {
        Self::prepare_with(host, config, Losses::Refused).await
    }

    /// The same, where it is confirmed that columns or embeddings that were fed in the last run are
    /// gone.
    ///
    /// # Errors
    /// As [`Pipeline::prepare`].
    pub async fn prepare_accepting(
        host: &Host,
        config: &config::Pipeline,
    ) -> Result<Self, PipelineError> {
        Self::prepare_with(host, config, Losses::Accepted).await
    }

    async fn prepare_with(
        host: &Host,
        config: &config::Pipeline,
        lost: Losses,
    ) -> Result<Self, PipelineError> {
        let source = Source::new(&config.source, host.config.limits);
        let mut dataset = host.retrying(|| source.dataset()).await?;
        let known = host
            .retrying(|| host.store.plugin_versions(&config.name))
            .await?;
        let rollout = rollout(host, config, known).await;
        let transforms = rollout.as_ref().is_ok_and(|rollout| {
            let chain = rollout.chain();
            chain.plugins().any(|plugin| plugin.roles().transform)
        });
        let Bound {
            tables,
            targets,
            mut unfit,
        } = bound(host, config, &mut dataset, transforms).await?;
        let fed = targets.as_ref().ok();
        let judged = judge(host, config, &dataset, &tables, fed, lost).await?;
        unfit.extend(judged.unfit);
        let mut findings = judged.findings;
        if let (Ok(rollout), Some(targets)) = (&rollout, fed) {
            findings.extend(remarks(config, &dataset, targets, &rollout.chain()));
            findings.sort_by_key(|finding| finding.severity);
        }
        match (rollout, targets) {
            (Ok(rollout), Ok(targets)) if unfit.is_empty() => {
                let (host, config, targets) = (host.clone(), config.clone(), Arc::new(targets));
                Ok(Self {
                    host,
                    config,
                    source,
                    dataset,
                    targets,
                    rollout,
                    findings,
                    writes_anew: judged.writes_anew,
                })
            }
            (rollout, targets) => {
                let misfits = rollout
                    .err()
                    .into_iter()
                    .flatten()
                    .chain(targets.err().into_iter().flatten())
                    .chain(unfit);
                Err(PipelineError::Unfit(misfits.collect()))
            }
        }
    }

    /// The dataset, as the source describes it.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The tables, referenced ones first.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The plugins that the next chunk meets, in order.
    #[must_use]
    pub fn chain(&self) -> Arc<Chain> {
        self.rollout.chain()
    }

    /// Warnings and advice about its database; errors are not among them.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// The tables, matched with the dataset.
struct Bound {
    tables: Vec<Option<Table>>,
    targets: Result<Targets, Vec<Misfit>>,
    unfit: Vec<Misfit>,
}

/// Reads the tables, and matches them with the dataset.
async fn bound(
    host: &Host,
    config: &config::Pipeline,
    dataset: &mut Dataset,
    transforms: bool,
) -> Result<Bound, PipelineError> {
    let (pool, names) = (host.store.pool(), &config.tables);
    let mut tables = host.retrying(|| catalog::read(pool, names)).await?;
    let meant = host
        .retrying(|| catalog::meant(pool, names, &tables))
        .await?;
    let (missing, unfit) = absent::bind(config, dataset, &mut tables);
    let binding = Binding {
        schema: &dataset.schema,
        names,
        tables: &tables,
        rename: &config.rename,
        key: &config.key,
        meant: &meant,
        transforms,
        key_is_apart: false,
    };
    let targets = route::bind_kinds(binding, &dataset.kinds).map(|(targets, schema)| {
        dataset.schema = schema;
        targets.with_missing(missing)
    });
    Ok(Bound {
        tables,
        targets,
        unfit,
    })
}

/// What is known about the tables, and how they have changed.
struct Judged {
    unfit: Vec<Misfit>,
    findings: Vec<Finding>,
    writes_anew: bool,
}

/// Judges the tables, and what the mapping has lost since the last run.
async fn judge(
    host: &Host,
    config: &config::Pipeline,
    dataset: &Dataset,
    tables: &[Option<Table>],
    fed: Option<&Targets>,
    lost: Losses,
) -> Result<Judged, PipelineError> {
    let findings = preflight::look(host, config, dataset, tables, fed).await?;
    let (mut unfit, mut findings) = preflight::refusing(findings);
    findings.extend(preflight::dropped(host, config).await?);
    unfit.extend(fed.and_then(Targets::unfound));
    unfit.extend(preflight::feed_keys(config, dataset));
    let mut writes_anew = false;
    if let Some(targets) = fed {
        let changed = change(host, config, dataset, targets).await?;
        writes_anew = changed.writes_anew;
        if lost == Losses::Refused {
            unfit.extend(changed.lost);
        }
    }
    let misfits = host.retrying(|| preflight::index_misfits(host, config, tables));
    unfit.extend(misfits.await?);
    Ok(Judged {
        unfit,
        findings,
        writes_anew,
    })
}

/// The plugins of a pipeline with their settings. Other pipelines go on meanwhile.
async fn rollout(
    host: &Host,
    config: &config::Pipeline,
    known: Vec<Known>,
) -> Result<Arc<Rollout>, Vec<Misfit>> {
    let directory = Arc::clone(host.plugins.directory());
    let (rules, pipeline) = (Arc::clone(&host.config), config.clone());
    let order = host.plugins.next_run(&config.name);
    let new = move || {
        Rollout::new(
            &directory,
            &pipeline,
            &rules.plugins,
            &known,
            order,
            workers::count(),
        )
    };
    blocking(new).await.map_err(|misfits| {
        let misfits = misfits.into_iter();
        misfits
            .map(|misfit| misfit_of(host, config, misfit))
            .collect()
    })
}

fn misfit_of(host: &Host, config: &config::Pipeline, misfit: rollout::Misfit) -> Misfit {
    let name = &config.name;
    let message = misfit.to_string();
    match misfit {
        rollout::Misfit::Missing(_) => {
            let directory = host.plugins.directory();
            let there: Vec<String> = directory
                .plugins()
                .iter()
                .map(|plugin| plugin.id().name.clone())
                .collect();
            Misfit {
                place: format!("pipelines.{name}.plugins"),
                message: format!("{message} in {}", directory.path().display()),
                hint: format!("available: {}", there.join(", ")),
            }
        }
        rollout::Misfit::Barred { .. } => Misfit {
            place: format!("pipelines.{name}.plugins"),
            message,
            hint: "replace its file by another version, or run `forebay plugin promote`".into(),
        },
        rollout::Misfit::Role(_) => Misfit {
            place: format!("pipelines.{name}.plugins"),
            message,
            hint: "replace its file by a version that has the role".into(),
        },
        rollout::Misfit::Chain(_) => Misfit {
            place: format!("pipelines.{name}.settings"),
            message,
            hint: "see the documentation of the plugin for valid settings".into(),
        },
    }
}
