//! Health of a serving host, for HTTP.
//!
//! A host is *alive* as long as it answers: what a restart would mend shows as silence. It is
//! *healthy* from when it has reached the database until it is stopped. A failed pipeline, or a
//! database that is away meanwhile, is named and makes the status `failing`, but the host stays
//! healthy: a restart would not fix it, and would interrupt what works. It is *ready* while it can do
//! its work: it is healthy, the database answers, and not every pipeline fails.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Local};
use serde::Serialize;

use crate::config::VERSION;
use crate::config::schedule::shown;
use crate::plugin::line;
use crate::store::run::{Counts, Status};

/// Maximum number of characters of a reason.
const MAX_REASON: usize = 500;

/// State of the pipelines of a host.
#[derive(Debug)]
pub struct HealthState(Mutex<Host>);

#[derive(Debug)]
struct Host {
    phase: Phase,
    database: Database,
    pipelines: Vec<Pipeline>,
}

/// What the last look at the database found.
#[derive(Debug, Clone, Default, Serialize)]
struct Database {
    /// `None` if it answered.
    problem: Option<String>,
    /// Number of times that the embedded server ended and was started again.
    restarts: u64,
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
    database: &'a Database,
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
            database: Database::default(),
            pipelines: pipelines.into_iter().map(idle).collect(),
        }))
    }

    /// True if the host is healthy; and its state as JSON.
    #[must_use]
    pub fn answer(&self) -> (bool, String) {
        let host = self.lock();
        let failing = host.pipelines.iter().any(Pipeline::failing);
        let failing = failing || host.database.problem.is_some();
        let status = match host.phase {
            Phase::Starting => "starting",
            Phase::Serving if failing => "failing",
            Phase::Serving => "ok",
            Phase::Stopping => "stopping",
        };
        let answer = Answer {
            status,
            version: VERSION,
            database: &host.database,
            pipelines: &host.pipelines,
        };
        let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
        (host.phase == Phase::Serving, text + "\n")
    }

    /// Why the host cannot do its work; empty if it can.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let host = self.lock();
        let mut reasons = Vec::new();
        match host.phase {
            Phase::Serving => {}
            Phase::Starting => reasons.push("the host is starting".to_owned()),
            Phase::Stopping => reasons.push("the host is stopping".to_owned()),
        }
        let problem = host.database.problem.as_deref();
        reasons.extend(problem.map(on_one_line));
        if host.pipelines.iter().all(Pipeline::failing) {
            let pipelines = host.pipelines.iter();
            reasons.extend(pipelines.map(|pipeline| {
                let reason = on_one_line(pipeline.reason());
                format!("pipeline {}: {reason}", pipeline.name)
            }));
        }
        reasons
    }

    /// Notes what a look at the database found: `None` if it answered.
    pub fn database(&self, problem: Option<String>) {
        self.lock().database.problem = problem;
    }

    /// Notes that the embedded server was started again.
    pub fn restarted(&self) {
        self.lock().database.restarts += 1;
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

/// A reason as one line.
fn on_one_line(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    line(words.join(" "), MAX_REASON)
}

impl Pipeline {
    /// Why it fails.
    fn reason(&self) -> &str {
        let last = self.last_run.as_ref();
        let message = last.and_then(|run| run.message.as_deref());
        self.problem
            .as_deref()
            .or(message)
            .unwrap_or("the last run failed")
    }

    /// True until a run succeeds, also while one is tried.
    fn failing(&self) -> bool {
        let last = self.last_run.as_ref().map(|run| run.status);
        self.problem.is_some() || matches!(last, Some(Status::Failed | Status::Halted))
    }
}
