//! Runs pipelines on their schedules, side by side, until the host is stopped.
//!
//! Each pipeline has a task of its own and never overlaps itself: a scheduled time that comes while
//! it runs is skipped, and logged. A run that fails or halts is logged and counted; the next one
//! continues from the checkpoint. A time that passes while no host serves is not made up for; one
//! that passes while the machine sleeps is, once.
//!
//! Each running pipeline takes `limits.in_flight` of memory, the threads of its workers and a
//! connection for each partition, so the number of configured pipelines bounds the resources.

pub mod endpoint;
pub mod health;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::health::{HealthState, LastRun, Phase};
use crate::config::schedule::{Schedule, shown};
use crate::error::PipelineError;
use crate::pipeline::{Host, Pipeline};
use crate::report::Report;
use crate::store::run::Status;
use crate::{config, metrics};

/// Time between two looks at the clock while waiting, since the clock may be set and the machine
/// may sleep.
const CLOCK: Duration = Duration::from_secs(10);

/// Time for runs to be recorded after `stop_timeout`.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Serves until `stop`, and then until the running pipelines have drained.
///
/// # Errors
/// If there is a bug in the host. A failed run is not an error here.
pub async fn serve(
    host: &Host,
    pipelines: &[config::Pipeline],
    health: &Arc<HealthState>,
    stop: &CancellationToken,
) -> Result<(), PipelineError> {
    health.enter(Phase::Serving);
    let mut tasks = JoinSet::new();
    for config in pipelines {
        let scheduled = ScheduledPipeline {
            host: host.clone(),
            config: config.clone(),
            health: Arc::clone(health),
            stop: stop.clone(),
        };
        let span = tracing::info_span!("serve", pipeline = config.name);
        tasks.spawn(scheduled.serve().instrument(span));
    }
    let result = tokio::select! {
        () = stop.cancelled() => Ok(()),
        result = all_ended(&mut tasks) => match result {
            // No pipeline has a schedule, and all have run.
            Ok(()) if !stop.is_cancelled() => {
                tracing::warn!(
                    "every pipeline has run once, and none has a schedule: nothing runs any more"
                );
                stop.cancelled().await;
                Ok(())
            }
            ended => ended,
        },
    };
    health.enter(Phase::Stopping);
    stop.cancel();
    let limit = host.config.stop_timeout + LAST_REPORTS;
    let ended = tokio::select! {
        ended = all_ended(&mut tasks) => ended,
        () = tokio::time::sleep(limit) => {
            tracing::warn!("pipelines are still at work, and are left to the next start");
            Ok(())
        }
    };
    result.and(ended)
}

/// # Errors
/// At once if a task panics: a host that stops is noticed; one that silently omits a pipeline is
/// not.
async fn all_ended(tasks: &mut JoinSet<()>) -> Result<(), PipelineError> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| {
            PipelineError::Broken(format!("the task of a pipeline ended: {error}"))
        })?;
    }
    Ok(())
}

/// A pipeline that is run on its schedule.
struct ScheduledPipeline {
    host: Host,
    config: config::Pipeline,
    health: Arc<HealthState>,
    stop: CancellationToken,
}

/// End of a run, and whether trying again without a change may help.
struct Ended {
    status: Status,
    gave_up: bool,
}

impl ScheduledPipeline {
    async fn serve(self) {
        tokio::select! {
            () = self.recall_last_success() => {}
            () = self.stop.cancelled() => return,
        }
        match self.config.schedule.clone() {
            Some(schedule) => self.on_schedule(&schedule).await,
            None => self.once().await,
        }
    }

    fn name(&self) -> &str {
        &self.config.name
    }

    /// Restores the time of the last success, which a restart would otherwise lose.
    async fn recall_last_success(&self) {
        match self.host.store.last_success(self.name()).await {
            Ok(Some(seconds)) => {
                if let Some(time) = DateTime::from_timestamp(seconds, 0) {
                    self.succeeded(time.into());
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot query when the last run succeeded"),
        }
    }

    /// Without a schedule there is one run; it is begun again as long as the source or the database
    /// is away.
    async fn once(&self) {
        tracing::info!(
            "runs once, now: it has no schedule; set pipelines.{}.schedule to run it regularly",
            self.name()
        );
        while self.run().await.is_some_and(|ended| ended.gave_up) {}
    }

    async fn on_schedule(&self, schedule: &Schedule) {
        let mut next = schedule.after(Local::now());
        self.announce(next);
        self.look_ahead(next).await;
        while let Some(due) = next {
            tokio::select! {
                () = until(due) => {}
                () = self.stop.cancelled() => return,
            }
            next = self.advance(schedule, due);
            let mut run = std::pin::pin!(self.run());
            let mut skipped = 0_u64;
            let ended = loop {
                tokio::select! {
                    ended = &mut run => break ended,
                    time = until_any(next), if !self.stop.is_cancelled() => {
                        self.skip(time, skipped);
                        skipped += 1;
                        next = self.advance(schedule, time);
                    }
                }
            };
            let Some(ended) = ended.filter(|_| !self.stop.is_cancelled()) else {
                return;
            };
            self.say(&ended, skipped, next);
        }
        tracing::warn!(%schedule, "its schedule has no more times");
        self.stop.cancelled().await;
    }

    /// Reports problems at once that would otherwise appear at the first scheduled time, perhaps at
    /// night.
    async fn look_ahead(&self, next: Option<DateTime<Local>>) {
        let prepared = tokio::select! {
            prepared = Pipeline::prepare(&self.host, &self.config) => prepared,
            _ = until_any(next) => return,
            () = self.stop.cancelled() => return,
        };
        if let Err(error) = prepared {
            tracing::error!(%error, "the next run will fail unless this is fixed");
            self.health.problem(self.name(), error.to_string());
        }
    }

    /// The next time in the future. It is after `due` even if the clock was set back meanwhile: each
    /// time comes once.
    fn advance(&self, schedule: &Schedule, due: DateTime<Local>) -> Option<DateTime<Local>> {
        let next = schedule.after(due.max(Local::now()));
        self.announce(next);
        next
    }

    fn announce(&self, next: Option<DateTime<Local>>) {
        self.health.next(self.name(), next);
        if let Some(next) = next {
            metrics::next_run(self.name(), next);
        }
    }

    /// Only the first time of a run is logged: a schedule may have one each second.
    fn skip(&self, time: DateTime<Local>, before: u64) {
        metrics::skipped(self.name());
        if before == 0 {
            tracing::warn!(
                time = shown(time),
                "still running: this scheduled time is skipped"
            );
        }
    }

    fn say(&self, ended: &Ended, skipped: u64, next: Option<DateTime<Local>>) {
        let status = ended.status.as_str();
        let next = next.map_or_else(|| "never".to_owned(), shown);
        if skipped > 0 {
            tracing::warn!(
                times = skipped,
                "scheduled times were skipped, since the pipeline was still running"
            );
        }
        match ended.status {
            Status::Succeeded | Status::Interrupted => tracing::info!(status, next, "waiting"),
            Status::HeldBack => {
                tracing::warn!(status, next, "missing rows were kept");
            }
            Status::Failed | Status::Halted => {
                tracing::warn!(status, next, "the next run continues from the checkpoint");
            }
        }
    }

    /// Runs to the end. `None` if the host was stopped before there was anything to drain.
    async fn run(&self) -> Option<Ended> {
        let started = Instant::now();
        self.health.running(self.name());
        metrics::running(self.name(), true);
        let prepared = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            prepared = Pipeline::prepare(&self.host, &self.config) => prepared,
        };
        let result = match prepared {
            Ok(pipeline) => {
                let rolled_over = |report: &Report| self.rolled_over(report);
                pipeline.run(&Arc::default(), &self.stop, rolled_over).await
            }
            Err(error) => {
                self.host.not_begun(self.name(), &error).await;
                Err(error)
            }
        };
        metrics::running(self.name(), false);
        Some(self.note(result, started.elapsed()))
    }

    fn note(
        &self,
        result: Result<(Report, Option<PipelineError>), PipelineError>,
        took: Duration,
    ) -> Ended {
        let (report, error) = match result {
            Ok((report, error)) => (Some(report), error),
            Err(error) => (None, Some(error)),
        };
        if let Some(error) = &error {
            tracing::error!(%error, "run ended early");
        }
        let status = match (&report, &error) {
            (Some(report), _) => report.status,
            (None, Some(PipelineError::Halted(_) | PipelineError::TooManyDeadLetters(_))) => {
                Status::Halted
            }
            (None, _) => Status::Failed,
        };
        let message = error.as_ref().map(ToString::to_string);
        self.record(report.as_ref(), status, message, took);
        Ended {
            status,
            gave_up: matches!(error, Some(PipelineError::GaveUp { .. })),
        }
    }

    /// Notes a run that is followed by another at once.
    fn rolled_over(&self, report: &Report) {
        let took = Duration::try_from_secs_f64(report.seconds).unwrap_or_default();
        self.record(Some(report), report.status, report.message.clone(), took);
        self.health.running(self.name());
    }

    fn record(
        &self,
        report: Option<&Report>,
        status: Status,
        message: Option<String>,
        took: Duration,
    ) {
        let now = Local::now();
        metrics::ended(self.name(), status, took);
        if status == Status::Succeeded {
            self.succeeded(now);
        }
        let run = LastRun {
            run_id: report.map(|report| report.run_id.clone()),
            status,
            message,
            ended: shown(now),
            seconds: took.as_secs_f64(),
            rows: report.map(|report| report.rows),
        };
        self.health.ended(self.name(), run);
    }

    fn succeeded(&self, time: DateTime<Local>) {
        metrics::last_success(self.name(), time);
        self.health.last_success(self.name(), time);
    }
}

/// Waits until a time of the wall clock.
async fn until(time: DateTime<Local>) {
    // An error means that the time has passed.
    while let Ok(left) = (time - Local::now()).to_std()
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(CLOCK)).await;
    }
}

/// Waits until a time, and returns it; without one it waits forever.
async fn until_any(time: Option<DateTime<Local>>) -> DateTime<Local> {
    match time {
        Some(time) => {
            until(time).await;
            time
        }
        None => std::future::pending().await,
    }
}
