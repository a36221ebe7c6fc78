//! The threads that prepare chunks: decoding and plugins are CPU work.
//!
//! Each worker has its own instances of the plugins. Chunks are assigned in turn, and the caller
//! awaits them in order. The queues need no bound of their own: there are as many jobs as chunks in
//! flight.

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

/// Maximum number of workers: with more, the database is the bottleneck and the instances only take
/// memory.
const MAX_WORKERS: usize = 4;

/// A worker thread has panicked: a bug in the host.
#[derive(Debug, thiserror::Error)]
#[error("a worker thread has ended; its panic is on stderr")]
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

/// The workers of one pipeline. Joining or dropping ends them.
#[derive(Debug)]
pub struct Workers {
    queues: Vec<mpsc::Sender<Job>>,
    next: AtomicUsize,
    threads: Vec<JoinHandle<Vec<PluginStats>>>,
}

/// Number of workers that is useful on this machine.
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
    /// If the system cannot create more threads.
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

    /// Gives a chunk to the next worker; the receiver gets it when it is prepared.
    ///
    /// # Errors
    /// If the worker has ended.
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

    /// Ends the workers, and returns the figures of their plugins by worker.
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
            // The caller may have given up; then the result is dropped.
            Job::Prepare(received, reply) => drop(reply.send(preparer.prepare(*received))),
            Job::Decide(chain, batch, failures, reply) => {
                drop(reply.send(preparer.decide(&chain, &batch, &failures)))
            }
        }
    }
    preparer.stats()
}
