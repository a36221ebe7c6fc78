//! How a serving host is, for whoever asks over HTTP.
//!
//! It is well as long as it can do its work: from when the database was reached until it is
//! asked to stop. A pipeline that failed is named, and makes the status `failing`, but does not
//! make the host unwell: starting it again would mend nothing, and cut off the others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Local};
use serde::Serialize;

use crate::config::VERSION;
use crate::config::schedule::shown;
use crate::store::run::{Counts, Status};

/// What the pipelines of a host are doing.
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
    /// Why the next run will fail, as far as was seen without running.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    last_run: Option<LastRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Idle,
    Running,
    /// Its last run did not come to the end.
    Failed,
}

/// How a run ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LastRun {
    /// `None` for one that could not be begun.
    pub run_id: Option<String>,
    pub status: Status,
    pub message: Option<String>,
    pub ended: String,
    pub seconds: f64,
    /// Of all starts of the run.
    pub rows: Option<Counts>,
}

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    version: &'static str,
    pipelines: &'a [Pipeline],
}

impl HealthState {
    /// Of a host that is starting, with these pipelines.
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

    /// Whether the host is well, and everything about it as JSON.
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
    /// Stays so while it is tried again, until that has succeeded.
    fn failing(&self) -> bool {
        let last = self.last_run.as_ref().map(|run| run.status);
        self.problem.is_some() || matches!(last, Some(Status::Failed | Status::Halted))
    }
}
