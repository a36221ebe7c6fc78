//! A pipeline's run, from the first question to the last notification.
//!
//! [`Pipeline::prepare`] asks source, database and plugins, and reports everything that cannot
//! fit together before the first row. [`Pipeline::run`] claims the partitions, runs the loop of
//! [`crate::partition`] for each of them, delivers what is owed, and reports.

mod error;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::error::PipelineError;

use crate::{
    config::{self, Config},
    decode::Decoder,
    fault, notify,
    partition::{Partition, Tally},
    plugin::{Chain, Plugin, PluginStats},
    prepare::Preparer,
    report::{Code, PluginReport, Report, Stages, Usage},
    retry::Patience,
    source::{Dataset, Source},
    store::{
        Store, StoreError, catalog,
        checkpoint::{Counts, Run, Status},
        target::{self, Binding, Misfit, Targets},
    },
    workers::{self, Workers},
};

/// How far a run has come, for a progress bar.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows the source has in all; 0 where it does not know.
    pub expected: AtomicU64,
    /// Rows committed, those of earlier starts of the run included.
    pub rows: AtomicU64,
    /// Of them, dead letters of this start.
    pub dead_letters: AtomicU64,
}

impl Progress {
    /// Rows still to come, where the source knows.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let expected = self.expected.load(Ordering::Relaxed);
        (expected > 0).then(|| expected.saturating_sub(self.rows.load(Ordering::Relaxed)))
    }

    pub(crate) fn add(&self, rows: &Counts) {
        self.rows.fetch_add(rows.received, Ordering::Relaxed);
        self.dead_letters
            .fetch_add(rows.dead_lettered, Ordering::Relaxed);
    }
}

/// What all pipelines of a host share.
#[derive(Debug, Clone)]
pub struct Host {
    /// Checked.
    pub config: Arc<Config>,
    /// Connected and migrated.
    pub store: Store,
    /// Every plugin of the directory.
    pub plugins: Arc<Vec<Arc<Plugin>>>,
}

/// A pipeline whose parts are known to fit together.
pub struct Pipeline {
    host: Host,
    config: config::Pipeline,
    source: Source,
    dataset: Dataset,
    targets: Arc<Targets>,
    chain: Arc<Chain>,
}

impl Pipeline {
    /// Asks source and database about a pipeline, and its plugins about their settings.
    ///
    /// # Errors
    /// With everything that does not fit, or if one of them is away for too long.
    pub async fn prepare(host: &Host, config: &config::Pipeline) -> Result<Self, PipelineError> {
        let source = Source::new(&config.source, host.config.limits)?;
        let dataset = retrying(host, || source_dataset(&source, &config.source.dataset)).await?;
        let chain = chain(host, config);
        let transforms = chain
            .as_ref()
            .is_ok_and(|chain| chain.plugins().any(|plugin| plugin.roles().transform));
        let tables = retrying(host, || async {
            Ok(catalog::read(host.store.pool(), &config.tables).await?)
        })
        .await?;
        let targets = target::bind(Binding {
            schema: &dataset.schema,
            names: &config.tables,
            tables: &tables,
            rename: &config.rename,
            transforms,
        });
        match (chain, targets) {
            (Ok(chain), Ok(targets)) => {
                let (host, config, targets) = (host.clone(), config.clone(), Arc::new(targets));
                Ok(Self {
                    host,
                    config,
                    source,
                    dataset,
                    targets,
                    chain,
                })
            }
            (chain, targets) => {
                let misfits = chain
                    .err()
                    .into_iter()
                    .flatten()
                    .chain(targets.err().into_iter().flatten());
                Err(PipelineError::Unfit(misfits.collect()))
            }
        }
    }

    /// As the source describes it.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The tables, referenced ones first.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The plugins, in order.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Runs to the end of the dataset, or until `stop`. The error comes with the report of what
    /// was done before it.
    ///
    /// # Errors
    /// If the run could not even be begun.
    pub async fn run(
        &self,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<(Report, Option<PipelineError>), PipelineError> {
        let (started, usage) = (Instant::now(), Usage::now());
        let store = &self.host.store;
        let run = retrying(&self.host, || async {
            Ok(store
                .begin(
                    &self.config.name,
                    &self.dataset.partitions,
                    self.dataset.continues,
                )
                .await?)
        })
        .await?;
        crate::fault::point!("run.begun");
        store
            .record_plugins(
                run.pipeline,
                self.chain.plugins().map(|plugin| plugin.id().as_ref()),
            )
            .await?;
        let before: u64 = run
            .partitions
            .iter()
            .map(|partition| partition.rows.unsigned_abs())
            .sum();
        progress.rows.store(before, Ordering::Relaxed);
        progress
            .expected
            .store(self.dataset.row_count.unwrap_or(0), Ordering::Relaxed);
        let pipeline = &self.config.name;
        tracing::info!(pipeline, run = %run.id, starts = run.starts, from_row = before, "run started");

        let workers = Arc::new(self.start_workers()?);
        let (tally, ended) = self.run_partitions(&run, &workers, progress, stop).await;
        let did = Did {
            tally,
            seconds: started.elapsed().as_secs_f64(),
            cpu: Usage::now().cpu.saturating_sub(usage.cpu),
            stats: Arc::into_inner(workers)
                .map(Workers::join)
                .unwrap_or_default(),
        };
        match (self.end(&run, &did, &ended, stop).await, ended) {
            (Ok(report), ended) => {
                let (status, rows) = (report.status.as_str(), report.rows.received);
                tracing::info!(pipeline, run = %run.id, status, rows, "run ended");
                Ok((report, ended.err()))
            }
            // What went wrong first says more.
            (Err(_), Err(error)) => Err(error),
            (Err(error), Ok(())) => Err(error.into()),
        }
    }

    fn start_workers(&self) -> Result<Workers, PipelineError> {
        let preparers = (0..workers::count())
            .map(|_| {
                let decoder = Decoder {
                    schema: Arc::clone(&self.targets.schema),
                    key_type: self.targets.key_type,
                    max_row_bytes: self.host.config.limits.row,
                };
                Preparer::new(
                    decoder,
                    Arc::clone(&self.targets),
                    self.chain.runner(&self.targets.schema),
                )
            })
            .collect();
        Workers::start(preparers)
            .map_err(|error| PipelineError::Broken(format!("cannot start workers: {error}")))
    }

    async fn run_partitions(
        &self,
        run: &Run,
        workers: &Arc<Workers>,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> (Tally, Result<(), PipelineError>) {
        // One partition that fails stops the others, which drain and end in order.
        let stop = stop.child_token();
        let room = Arc::new(Semaphore::new(self.host.config.limits.in_flight));
        let mut partitions = JoinSet::new();
        for checkpoint in run
            .partitions
            .iter()
            .filter(|checkpoint| !checkpoint.complete)
        {
            let partition = Partition {
                store: self.host.store.clone(),
                source: self.source.clone(),
                config: self.config.clone(),
                targets: Arc::clone(&self.targets),
                workers: Arc::clone(workers),
                run: run.clone(),
                checkpoint: checkpoint.clone(),
                room: Arc::clone(&room),
                in_flight: self.host.config.limits.in_flight,
                give_up_after: self.host.config.give_up_after,
                progress: Arc::clone(progress),
                stop: stop.clone(),
            };
            partitions.spawn(partition.run());
        }
        let (mut total, mut result) = (Tally::default(), Ok(()));
        while let Some(ended) = partitions.join_next().await {
            let (tally, ended) = ended.unwrap_or_else(|error| {
                (
                    Tally::default(),
                    Err(PipelineError::Broken(format!(
                        "a partition's task ended: {error}"
                    ))),
                )
            });
            total.add(&tally);
            if let Err(error) = ended {
                stop.cancel();
                result = result.and(Err(error));
            }
        }
        (total, result)
    }

    async fn all_complete(&self, run: &Run) -> Result<bool, StoreError> {
        for partition in &run.partitions {
            if !self
                .host
                .store
                .checkpoint(run, &partition.partition, partition.epoch)
                .await?
                .complete
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Delivers what is owed, then notes how the run ended: cut off between the two, the next
    /// start goes on with this run and finds nothing left but that.
    async fn deliver_and_finish(
        &self,
        run: &Run,
        status: Status,
        message: Option<&str>,
    ) -> Result<notify::Outcome, StoreError> {
        let store = &self.host.store;
        let outcome =
            notify::deliver(store, &self.config.name, run, self.config.notify.as_ref()).await?;
        fault::point!("finish.before");
        store.finish(run, status, message).await?;
        fault::point!("finish.after");
        Ok(outcome)
    }

    /// Ends the run, and reports.
    async fn end(
        &self,
        run: &Run,
        did: &Did,
        ended: &Result<(), PipelineError>,
        stop: &CancellationToken,
    ) -> Result<Report, StoreError> {
        let store = &self.host.store;
        let status = match ended {
            Ok(()) if stop.is_cancelled() && !self.all_complete(run).await? => Status::Interrupted,
            Ok(()) => Status::Succeeded,
            Err(PipelineError::Halted(_)) => Status::Halted,
            Err(_) => Status::Failed,
        };
        let message = ended.as_ref().err().map(ToString::to_string);
        let notify = match ended {
            // The run is another host's now, and so is what it owes.
            Err(PipelineError::Store(StoreError::Fenced(_))) => notify::Outcome::pending(),
            _ => {
                self.deliver_and_finish(run, status, message.as_deref())
                    .await?
            }
        };
        let totals = store.totals(run.id).await?;
        let rows = did.tally.rows.received;
        Ok(Report {
            pipeline: self.config.name.clone(),
            run_id: run.id.to_string(),
            status,
            message,
            starts: run.starts,
            rows: totals.rows,
            codes: totals
                .codes
                .into_iter()
                .map(|(fate, stage, code, rows)| Code {
                    fate,
                    stage,
                    code,
                    rows,
                })
                .collect(),
            chunks: totals.chunks,
            bytes_received: totals.bytes_received,
            this_start: did.tally.rows,
            seconds: did.seconds,
            rows_per_second: rows as f64 / did.seconds,
            stages_seconds: stages(&did.tally),
            plugins: plugin_reports(&self.chain, &did.stats),
            checkpoint: store.checkpoints(&self.config.name).await?,
            notify,
            cpu_microseconds_per_row: did.cpu.as_secs_f64() * 1e6 / rows.max(1) as f64,
            peak_memory_bytes: Usage::now().peak_memory,
        })
    }
}

/// What a start did, and what it took.
struct Did {
    tally: Tally,
    seconds: f64,
    cpu: Duration,
    stats: Vec<Vec<PluginStats>>,
}

async fn source_dataset(source: &Source, name: &str) -> Result<Dataset, PipelineError> {
    Ok(source.dataset(name).await?)
}

async fn retrying<T, F, R>(host: &Host, mut attempt: F) -> Result<T, PipelineError>
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, PipelineError>>,
{
    let mut patience = Patience::new(host.config.give_up_after);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => patience.wait(error).await?,
        }
    }
}

/// The plugins of a pipeline with their settings.
fn chain(host: &Host, config: &config::Pipeline) -> Result<Arc<Chain>, Vec<Misfit>> {
    let mut misfits = Vec::new();
    let mut chosen = Vec::new();
    let all = || -> Vec<String> {
        host.plugins
            .iter()
            .map(|plugin| plugin.id().name.clone())
            .collect()
    };
    for name in config.plugins.clone().unwrap_or_else(all) {
        let settings = config.settings.get(&name).cloned().unwrap_or_default();
        match host.plugins.iter().find(|plugin| plugin.id().name == name) {
            Some(plugin) => chosen.push((Arc::clone(plugin), settings)),
            None => misfits.push(Misfit {
                place: format!("pipelines.{}.plugins", config.name),
                message: format!(
                    "no plugin `{name}` in {}",
                    host.config.plugins.directory.display()
                ),
                hint: format!("there are: {}", all().join(", ")),
            }),
        }
    }
    if !misfits.is_empty() {
        return Err(misfits);
    }
    Chain::new(chosen).map_err(|errors| {
        let misfit = |error: crate::plugin::ChainError| Misfit {
            place: format!("pipelines.{}.settings", config.name),
            message: error.to_string(),
            hint: "the plugin's own documentation says what it may be".into(),
        };
        errors.into_iter().map(misfit).collect()
    })
}

fn stages(tally: &Tally) -> Stages {
    Stages {
        receive: tally.receiving.as_secs_f64(),
        decode: tally.times.decode.as_secs_f64(),
        plugins: tally.times.plugins.as_secs_f64(),
        route: tally.times.route.as_secs_f64(),
        write: tally.writing.as_secs_f64(),
        commit: tally.committing.as_secs_f64(),
    }
}

fn plugin_reports(chain: &Chain, stats: &[Vec<PluginStats>]) -> Vec<PluginReport> {
    let report = |(index, plugin): (usize, &Arc<Plugin>)| {
        let mine: Vec<&PluginStats> = stats
            .iter()
            .filter_map(|worker| worker.get(index))
            .collect();
        let rows = mine.iter().map(|stats| stats.rows).sum::<u64>();
        let nanoseconds = mine.iter().map(|stats| stats.time.as_nanos()).sum::<u128>();
        PluginReport {
            id: plugin.id().as_ref().clone(),
            roles: plugin.roles().names(),
            calls: mine.iter().map(|stats| stats.calls).sum(),
            rows,
            nanoseconds_per_row: u64::try_from(nanoseconds / u128::from(rows.max(1)))
                .unwrap_or(u64::MAX),
        }
    };
    chain.plugins().enumerate().map(report).collect()
}
