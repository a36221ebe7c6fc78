//! The threads that prepare chunks: decoding and plugins are plain computing.
//!
//! Each worker has its own instances of the plugins. Chunks are dealt out in turn and handed
//! back by the caller's own waiting in order, so there is no queue to bound here: as many jobs
//! are under way as chunks are in flight.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::chunk::{Prepared, Received};
use crate::plugin::{Chain, PluginStats};
use crate::policy::{Decided, Halted, Policy};
use crate::prepare::Preparer;
use crate::row::{Batch, Failure};

/// More workers than this only hold more instances: the database is the bottleneck by then.
const MAX_WORKERS: usize = 4;

/// A worker ended early: a bug in the host.
#[derive(Debug, thiserror::Error)]
#[error("a worker thread has gone; its panic is on stderr")]
pub struct WorkerGone;

enum Job {
    Prepare(Box<Received>, oneshot::Sender<Result<Prepared, Halted>>),
    Decide(
        Arc<Chain>,
        Box<Batch>,
        Vec<Failure>,
        oneshot::Sender<Decided>,
    ),
}

/// The workers of one pipeline. They end when this is joined or dropped.
#[derive(Debug)]
pub struct Workers {
    queues: Vec<mpsc::Sender<Job>>,
    next: AtomicUsize,
    threads: Vec<JoinHandle<Vec<PluginStats>>>,
}

/// As many workers as help on this machine.
#[must_use]
pub fn count() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_WORKERS)
}

impl Workers {
    /// Starts a thread for each preparer.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(preparers: Vec<Preparer>) -> std::io::Result<Self> {
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        for (index, preparer) in preparers.into_iter().enumerate() {
            let (queue, jobs) = mpsc::channel();
            queues.push(queue);
            threads.push(
                thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(move || work(preparer, &jobs))?,
            );
        }
        Ok(Self {
            queues,
            next: AtomicUsize::new(0),
            threads,
        })
    }

    /// Hands a chunk to the next worker; the answer comes when it is prepared.
    ///
    /// # Errors
    /// If the worker has gone.
    pub fn prepare(
        &self,
        received: Received,
    ) -> Result<oneshot::Receiver<Result<Prepared, Halted>>, WorkerGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Prepare(Box::new(received), reply))?;
        Ok(answer)
    }

    fn send(&self, job: Job) -> Result<(), WorkerGone> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len().max(1);
        self.queues
            .get(turn)
            .ok_or(WorkerGone)?
            .send(job)
            .map_err(|_| WorkerGone)
    }

    /// Ends the workers and returns what their plugins did, by worker.
    #[must_use]
    pub fn join(mut self) -> Vec<Vec<PluginStats>> {
        self.queues.clear();
        self.threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    }
}

impl From<WorkerGone> for Halted {
    fn from(gone: WorkerGone) -> Self {
        Self {
            message: gone.to_string(),
        }
    }
}

impl Policy for Workers {
    async fn decide(
        &self,
        chain: &Arc<Chain>,
        batch: Batch,
        failures: Vec<Failure>,
    ) -> Result<Decided, Halted> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Decide(
            Arc::clone(chain),
            Box::new(batch),
            failures,
            reply,
        ))?;
        Ok(answer.await.map_err(|_| WorkerGone)?)
    }
}

fn work(mut preparer: Preparer, jobs: &mpsc::Receiver<Job>) -> Vec<PluginStats> {
    while let Ok(job) = jobs.recv() {
        match job {
            // Whoever asked may have given up: then nobody takes the answer, and it is dropped.
            Job::Prepare(received, reply) => drop(reply.send(preparer.prepare(*received))),
            Job::Decide(chain, batch, failures, reply) => {
                drop(reply.send(preparer.decide(&chain, &batch, &failures)))
            }
        }
    }
    preparer.stats()
}
