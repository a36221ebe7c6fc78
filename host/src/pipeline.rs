//! A pipeline's run, from the first question to the last notification.
//!
//! [`Pipeline::prepare`] asks source, database and plugins, and reports everything that cannot
//! fit together before the first row. [`Pipeline::run`] claims the partitions, runs the loop of
//! [`crate::partition`] for each of them, delivers what is owed, and reports.

mod error;
mod figures;
mod indexes;
mod preflight;
mod refresh;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::figures::{plugin_reports, stages};
pub use self::{error::PipelineError, indexes::Now};

use crate::{
    config::{self, Config},
    decode::Decoder,
    fault, notify,
    partition::{Bounds, Partition, Tally},
    plugin::{Chain, PluginStats},
    prepare::Preparer,
    report::{ChunkSeconds, ChunkTimes, Code, IndexReport, Report, Usage},
    retry::Patience,
    rollout::{self, Living, Rollout},
    source::{Dataset, Source},
    store::{
        Store, StoreError, catalog,
        checkpoint::{Counts, Run, Status},
        ledger::Known,
        missing,
        preflight::Finding,
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
    /// Of this start's chunks.
    pub chunk_times: ChunkTimes,
    /// The index that is built, while one is.
    pub building: Now,
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
    /// The plugin directory.
    pub plugins: Arc<Living>,
}

/// A pipeline whose parts are known to fit together.
pub struct Pipeline {
    host: Host,
    config: config::Pipeline,
    source: Source,
    dataset: Dataset,
    targets: Arc<Targets>,
    rollout: Arc<Rollout>,
    findings: Vec<Finding>,
}

impl Pipeline {
    /// Asks source and database about a pipeline, and its plugins about their settings.
    ///
    /// # Errors
    /// With everything that does not fit, or if one of them is away for too long.
    pub async fn prepare(host: &Host, config: &config::Pipeline) -> Result<Self, PipelineError> {
        let source = Source::new(&config.source, host.config.limits)?;
        let dataset = retrying(host, || source_dataset(&source, &config.source.dataset)).await?;
        let known = retrying(host, || async {
            Ok(host.store.plugin_versions(&config.name).await?)
        })
        .await?;
        let rollout = rollout(host, config, known).await;
        let transforms = rollout.as_ref().is_ok_and(|rollout| {
            let chain = rollout.chain();
            chain.plugins().any(|plugin| plugin.roles().transform)
        });
        let mut tables = retrying(host, || async {
            Ok(catalog::read(host.store.pool(), &config.tables).await?)
        })
        .await?;
        let (missing, mut unfit) = missing::bind(config, &dataset, &mut tables);
        let targets = target::bind(Binding {
            schema: &dataset.schema,
            names: &config.tables,
            tables: &tables,
            rename: &config.rename,
            transforms,
        })
        .map(|targets| targets.seeking(missing));
        let fed = targets.as_ref().ok();
        let findings = preflight::look(host, config, &dataset, &tables, fed).await?;
        let (refusing, findings) = preflight::refusing(findings);
        unfit.extend(refusing);
        unfit.extend(fed.and_then(Targets::unfound));
        unfit.extend(retrying(host, || indexes::misfits(host, config, &tables)).await?);
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

    /// The plugins that the next chunk meets, in order.
    #[must_use]
    pub fn chain(&self) -> Arc<Chain> {
        self.rollout.chain()
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
        let (plugins, rollout) = (Arc::clone(&self.host.plugins), Arc::clone(&self.rollout));
        apart(move || plugins.enter(&rollout)).await;
        rollout::follow(&self.rollout, store).await?;
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
        self.warn();

        let workers = Arc::new(self.start_workers()?);
        let (tally, indexes, ended) = self.run_with_indexes(&run, &workers, progress, stop).await;
        let ended = self.refresh(&run, ended, stop).await;
        let did = Did {
            tally,
            indexes,
            seconds: started.elapsed().as_secs_f64(),
            cpu: Usage::now().cpu.saturating_sub(usage.cpu),
            chunks: progress.chunk_times.quantiles(),
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
                    Arc::clone(&self.rollout),
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
        let open = run.partitions.iter().filter(|it| !it.complete);
        let bounds = self.bounds(open.clone().count());
        for checkpoint in open {
            let partition = Partition {
                store: self.host.store.clone(),
                source: self.source.clone(),
                config: self.config.clone(),
                targets: Arc::clone(&self.targets),
                workers: Arc::clone(workers),
                rollout: Arc::clone(&self.rollout),
                run: run.clone(),
                checkpoint: checkpoint.clone(),
                room: Arc::clone(&room),
                in_flight: self.host.config.limits.in_flight,
                bounds: bounds.clone(),
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

    /// What each of so many partitions may choose: their writers share the connections.
    fn bounds(&self, partitions: usize) -> Bounds {
        let share = self.host.store.writers() / partitions.max(1);
        let (least, most) = (*self.config.writers.start(), *self.config.writers.end());
        let most = most.min(share.max(1));
        let source = &self.config.source;
        Bounds {
            writers: least.min(most)..=most,
            rows: source.chunk_rows as usize..=source.max_chunk_rows as usize,
            // A chunk has to stay far from the deadline of its calls.
            plugins: self.host.config.plugins.limits.deadline / 4,
        }
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
        let missing = self.missing(run, ended, stop).await?;
        let status = match ended {
            Ok(()) if stop.is_cancelled() && self.is_owing(run, did).await? => Status::Interrupted,
            Ok(()) => missing.as_ref().map_or(Status::Succeeded, |it| it.ends()),
            Err(PipelineError::Halted(_)) => Status::Halted,
            Err(_) => Status::Failed,
        };
        let message = ended.as_ref().err().map(ToString::to_string);
        if matches!(status, Status::Succeeded | Status::HeldBack) && run.starts == 1 {
            self.rollout.whole_run_succeeded();
        }
        rollout::follow(&self.rollout, store).await?;
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
            missing,
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
            chunk_seconds: did.chunks,
            plugins: plugin_reports(&self.rollout.chain(), &did.stats),
            indexes: did.indexes.clone(),
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
    indexes: Vec<IndexReport>,
    seconds: f64,
    cpu: Duration,
    chunks: Option<ChunkSeconds>,
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

/// The plugins of a pipeline with their settings. Other pipelines go on while they are loaded.
async fn rollout(
    host: &Host,
    config: &config::Pipeline,
    known: Vec<Known>,
) -> Result<Arc<Rollout>, Vec<Misfit>> {
    let directory = Arc::clone(host.plugins.directory());
    let (rules, pipeline) = (Arc::clone(&host.config), config.clone());
    let anew = host.plugins.is_new(&config.name);
    let new = move || Rollout::new(&directory, &pipeline, &rules.plugins, &known, anew);
    apart(new).await.map_err(|misfits| {
        let misfits = misfits.into_iter();
        misfits
            .map(|misfit| misfit_of(host, config, misfit))
            .collect()
    })
}

/// Does what blocks on a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Nothing aborts it.
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
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
                hint: format!("there are: {}", there.join(", ")),
            }
        }
        rollout::Misfit::Barred { .. } => Misfit {
            place: format!("pipelines.{name}.plugins"),
            message,
            hint: "put another version into its file, or `forebay plugin promote` it".into(),
        },
        rollout::Misfit::Role(_) => Misfit {
            place: format!("pipelines.{name}.plugins"),
            message,
            hint: "put a version into its file that has the role".into(),
        },
        rollout::Misfit::Chain(_) => Misfit {
            place: format!("pipelines.{name}.settings"),
            message,
            hint: "the plugin's own documentation says what it may be".into(),
        },
    }
}
