//! Checks before the first row that source, plugins and tables fit together.

use std::sync::Arc;

use super::host::{Host, blocking};
use super::preflight;
use crate::error::PipelineError;
use crate::plugin::Chain;
use crate::rollout::Rollout;
use crate::route::{Binding, Misfit, Targets, absent};
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
}

impl Pipeline {
    /// Queries source and database about a pipeline, and gives its plugins their settings.
    ///
    /// # Errors
    /// Everything that does not fit; or if the source or the database is away for too long.
    pub async fn prepare(host: &Host, config: &config::Pipeline) -> Result<Self, PipelineError> {
        let source = Source::new(&config.source, host.config.limits);
        let dataset = host
            .retrying(|| source.dataset(&config.source.dataset))
            .await?;
        let known = host
            .retrying(|| host.store.plugin_versions(&config.name))
            .await?;
        let rollout = rollout(host, config, known).await;
        let transforms = rollout.as_ref().is_ok_and(|rollout| {
            let chain = rollout.chain();
            chain.plugins().any(|plugin| plugin.roles().transform)
        });
        let mut tables = host
            .retrying(|| catalog::read(host.store.pool(), &config.tables))
            .await?;
        let (missing, mut unfit) = absent::bind(config, &dataset, &mut tables);
        let targets = route::bind(Binding {
            schema: &dataset.schema,
            names: &config.tables,
            tables: &tables,
            rename: &config.rename,
            transforms,
        })
        .map(|targets| targets.with_missing(missing));
        let fed = targets.as_ref().ok();
        let findings = preflight::look(host, config, &dataset, &tables, fed).await?;
        let (refusing, mut findings) = preflight::refusing(findings);
        findings.extend(preflight::dropped(host, config).await?);
        unfit.extend(refusing);
        unfit.extend(fed.and_then(Targets::unfound));
        unfit.extend(
            host.retrying(|| preflight::index_misfits(host, config, &tables))
                .await?,
        );
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
