//! Shared state of all plugins: compiler settings, linker, deadline clock, and cache of compiled
//! components.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Config;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::{embeddings, log, types};
use super::cache::Cache;
use super::grants::Permissions;
use super::limits::{Limits, MAX_STACK, MIN_STACK};
use super::sandbox::State;
use super::wasi;

/// Ticks per deadline. A call may overrun its deadline by one or two of them.
const TICKS: u32 = 20;

/// Bounds of a tick: shorter ones cost more than they gain, longer ones are a noticeable overrun.
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// Error from setting up an engine.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the plugin engine: {0}")]
pub struct EngineError(String);

/// Compiles plugins and bounds their calls. A process needs only one. Plugins keep the engine that
/// loaded them alive.
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<State>,
    limits: Limits,
    permissions: Permissions,
    cache: Option<Cache>,
    _ticker: Ticker,
}

impl Engine {
    /// Creates an engine that grants nothing. Compiled plugins are kept in the cache directory, if
    /// there is one; a directory that cannot be trusted is not used, and a warning gives the
    /// reason.
    ///
    /// # Errors
    /// When the platform lacks something that the engine needs.
    pub fn new(limits: Limits, cache_directory: Option<PathBuf>) -> Result<Arc<Self>, EngineError> {
        Self::with_permissions(limits, Permissions::default(), cache_directory)
    }

    /// Creates an engine as [`Engine::new`] does, with these permissions for plugins.
    ///
    /// # Errors
    /// When the platform lacks something that the engine needs.
    pub fn with_permissions(
        limits: Limits,
        permissions: Permissions,
        cache_directory: Option<PathBuf>,
    ) -> Result<Arc<Self>, EngineError> {
        let failed = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.max_wasm_stack(limits.stack.clamp(MIN_STACK, MAX_STACK));
        // Calls are plain functions: nothing is polled or resumed.
        config.concurrency_support(false);
        config.relaxed_simd_deterministic(true);
        let engine = wasmtime::Engine::new(&config).map_err(failed)?;
        let linker = linker(&engine).map_err(failed)?;
        let ticker = Ticker::start(engine.clone(), tick(limits.deadline))
            .map_err(|e| EngineError(e.to_string()))?;
        let cache = cache_directory.and_then(|directory| Cache::open(directory, &engine));
        Ok(Arc::new(Self {
            engine,
            linker,
            limits,
            permissions,
            cache,
            _ticker: ticker,
        }))
    }

    /// Limits of its plugins.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Permissions of its plugins.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    pub(super) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }
}

/// Defines everything that a plugin can import.
fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi::link(&mut linker)?;
    log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    embeddings::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// Runs work that enters guests on a separate thread. Guests' output is written with `block_on`,
/// which must not run on a worker of an async runtime.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    attempt(work).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs work as [`apart`] does, and returns its panic.
pub(super) fn attempt<T: Send>(work: impl FnOnce() -> T + Send) -> std::thread::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
}

/// Length of a tick.
fn tick(deadline: Duration) -> Duration {
    (deadline / TICKS).clamp(SHORTEST_TICK, LONGEST_TICK)
}

/// Ticks granted to a call: as many as fill its deadline, and one for the tick in progress.
pub(super) fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_nanos().div_ceil(tick(deadline).as_nanos());
    // Capped at a value that is never reached and cannot overflow the epoch.
    u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::MAX / 4) + 1
}

/// Thread that advances the epoch until this is dropped.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine, tick: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("plugin-deadlines".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the plugin deadline thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_round_up() {
        let check = |millis, expected| {
            assert_eq!(
                ticks(Duration::from_millis(millis)),
                expected,
                "{millis} ms"
            );
        };
        check(0, 1);
        check(1, 2);
        check(10, 11);
        check(500, 21);
        check(2_000, 41);
        assert!(ticks(Duration::MAX) < u64::MAX / 2);
    }
}
