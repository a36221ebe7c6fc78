//! Health of a serving host, for HTTP.
//!
//! A host is healthy as long as it can work: from when it has reached the database until it is
//! stopped. A failed pipeline is named, and makes the status `failing`, but the host stays healthy:
//! a restart would not fix it, and would interrupt the others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Local};
use serde::Serialize;

use crate::config::VERSION;
use crate::config::schedule::shown;
use crate::store::run::{Counts, Status};

/// State of the pipelines of a host.
#[derive(Debug)]
pub struct HealthState(Mutex<Host>);

#[derive(Debug)]
struct Host {
    phase: Phase,
    pipelines: Vec<Pipeline>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Serving,
    Stopping,
}

#[derive(Debug, Clone, Serialize)]
struct Pipeline {
    name: String,
    state: State,
    next: Option<String>,
    last_success: Option<String>,
    /// Reason for which the next run will fail, found by a check without a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    last_run: Option<LastRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Idle,
    Running,
    /// The last run failed or halted.
    Failed,
}

/// Result of a run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LastRun {
    /// `None` for a run that could not be begun.
    pub run_id: Option<String>,
    pub status: Status,
    pub message: Option<String>,
    pub ended: String,
    pub seconds: f64,
    /// Counts over all starts of the run.
    pub rows: Option<Counts>,
}

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    version: &'static str,
    pipelines: &'a [Pipeline],
}

impl HealthState {
    /// The state of a host that is starting, with these pipelines.
    #[must_use]
    pub fn new<'n>(pipelines: impl IntoIterator<Item = &'n str>) -> Self {
        let idle = |name: &str| Pipeline {
            name: name.to_owned(),
            state: State::Idle,
            next: None,
            last_success: None,
            problem: None,
            last_run: None,
        };
        Self(Mutex::new(Host {
            phase: Phase::Starting,
            pipelines: pipelines.into_iter().map(idle).collect(),
        }))
    }

    /// True if the host is healthy; and its state as JSON.
    #[must_use]
    pub fn answer(&self) -> (bool, String) {
        let host = self.lock();
        let failing = host.pipelines.iter().any(|pipeline| pipeline.failing());
        let status = match host.phase {
            Phase::Starting => "starting",
            Phase::Serving if failing => "failing",
            Phase::Serving => "ok",
            Phase::Stopping => "stopping",
        };
        let answer = Answer {
            status,
            version: VERSION,
            pipelines: &host.pipelines,
        };
        let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
        (host.phase == Phase::Serving, text + "\n")
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    pub(super) fn next(&self, name: &str, time: Option<DateTime<Local>>) {
        self.change(name, |pipeline| pipeline.next = time.map(shown));
    }

    pub(super) fn last_success(&self, name: &str, time: DateTime<Local>) {
        self.change(name, |pipeline| pipeline.last_success = Some(shown(time)));
    }

    pub(super) fn problem(&self, name: &str, problem: String) {
        self.change(name, |pipeline| pipeline.problem = Some(problem));
    }

    pub(super) fn running(&self, name: &str) {
        self.change(name, |pipeline| {
            pipeline.state = State::Running;
            pipeline.problem = None;
        });
    }

    pub(super) fn ended(&self, name: &str, run: LastRun) {
        self.change(name, |pipeline| {
            pipeline.state = match run.status {
                Status::Succeeded | Status::HeldBack | Status::Interrupted => State::Idle,
                Status::Failed | Status::Halted => State::Failed,
            };
            pipeline.last_run = Some(run);
        });
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Pipeline)) {
        let mut host = self.lock();
        if let Some(pipeline) = host.pipelines.iter_mut().find(|it| it.name == name) {
            change(pipeline);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Host> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipeline {
    /// True until a run succeeds, also while one is tried.
    fn failing(&self) -> bool {
        let last = self.last_run.as_ref().map(|run| run.status);
        self.problem.is_some() || matches!(last, Some(Status::Failed | Status::Halted))
    }
}
