//! Shared state of all plugins: compiler settings, linker, deadline clock, and cache of compiled
//! components.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};

use super::bare::bare;
use super::bindings::{embeddings, log, types};
use super::cache::Cache;
use super::compiler::Compiler;
use super::grants::Permissions;
use super::limits::Limits;
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

/// What an engine is set up with. By default it has the default limits, grants nothing, keeps no
/// compiled plugin, and compiles in its own process.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Limits of every plugin that has none of its own.
    pub limits: Limits,
    /// Limits of single plugins, by name. `stack` and `instances` are those of `limits` in any case.
    pub own_limits: BTreeMap<String, Limits>,
    /// Permissions of plugins.
    pub permissions: Permissions,
    /// Directory in which compiled plugins are kept. One that cannot be trusted is not used, and a
    /// warning gives the reason.
    pub cache_directory: Option<PathBuf>,
    /// How plugins are compiled.
    pub compiler: Compiler,
}

/// Compiles plugins and bounds their calls. A process needs only one. Plugins keep the engine that
/// loaded them alive.
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<State>,
    setup: Setup,
    cache: Option<Cache>,
    tick: Duration,
    _ticker: Ticker,
}

impl Engine {
    /// Creates an engine with these limits that grants nothing and compiles in this process.
    /// Compiled plugins are kept in the cache directory, if there is one.
    ///
    /// # Errors
    /// When the platform lacks something that the engine needs.
    pub fn new(limits: Limits, cache_directory: Option<PathBuf>) -> Result<Arc<Self>, EngineError> {
        Self::with(Setup {
            limits,
            cache_directory,
            ..Setup::default()
        })
    }

    /// Creates an engine.
    ///
    /// # Errors
    /// When the platform lacks something that the engine needs.
    pub fn with(setup: Setup) -> Result<Arc<Self>, EngineError> {
        let engine = bare(setup.limits.stack).map_err(failed)?;
        let linker = linker(&engine).map_err(failed)?;
        let deadlines = setup.own_limits.values().map(|limits| limits.deadline);
        let shortest = deadlines.fold(setup.limits.deadline, Duration::min);
        let tick = tick(shortest);
        let ticker = Ticker::start(engine.clone(), tick).map_err(|e| EngineError(e.to_string()))?;
        let directory = setup.cache_directory.clone();
        let cache = directory.and_then(|directory| Cache::open(directory, &engine));
        Ok(Arc::new(Self {
            engine,
            linker,
            setup,
            cache,
            tick,
            _ticker: ticker,
        }))
    }

    /// Limits of its plugins, where they have none of their own.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.setup.limits
    }

    /// Limits of the plugin with this name.
    #[must_use]
    pub fn limits_of(&self, plugin: &str) -> Limits {
        let own = self.setup.own_limits.get(plugin);
        own.copied().unwrap_or(self.setup.limits)
    }

    /// Names of the plugins that have limits of their own.
    pub fn with_own_limits(&self) -> impl Iterator<Item = &str> {
        self.setup.own_limits.keys().map(String::as_str)
    }

    /// Permissions of its plugins.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.setup.permissions
    }

    /// Limits of a plugin whose name is not known yet: those of the plugin with the largest.
    pub(super) fn widest_limits(&self) -> Limits {
        let own = self.setup.own_limits.values();
        own.fold(self.setup.limits, Limits::or_larger)
    }

    /// How it compiles.
    pub(super) fn compiler(&self) -> &Compiler {
        &self.setup.compiler
    }

    /// Ticks granted to a call: as many as fill its deadline, and one for the tick in progress.
    pub(super) fn ticks(&self, deadline: Duration) -> u64 {
        ticks(deadline, self.tick)
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

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: wasmtime::Error) -> EngineError {
    EngineError(format!("{error:#}"))
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

fn ticks(deadline: Duration, tick: Duration) -> u64 {
    let ticks = deadline.as_nanos().div_ceil(tick.as_nanos());
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
                ticks(
                    Duration::from_millis(millis),
                    tick(Duration::from_millis(millis))
                ),
                expected,
                "{millis} ms"
            );
        };
        check(0, 1);
        check(1, 2);
        check(10, 11);
        check(500, 21);
        check(2_000, 41);
        assert!(ticks(Duration::MAX, SHORTEST_TICK) < u64::MAX / 2);
        // Beside a plugin whose deadline is shorter.
        assert_eq!(ticks(Duration::from_millis(500), SHORTEST_TICK), 501);
    }
}
