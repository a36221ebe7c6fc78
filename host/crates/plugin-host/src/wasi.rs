//! The empty WASI that guests get by default.
//!
//! There are no files, sockets, environment variables or arguments, and stdin is at its end. Clocks
//! stand still, and waiting returns at once: a guest can never block its thread, and one that spins
//! until some time has passed meets its deadline. Random numbers repeat. So the same rows get the
//! same answers.
//!
//! Grants make clocks, random numbers and output real. Files, sockets and the environment cannot be
//! granted, and waiting returns at once even with a grant.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, random};
use wasmtime_wasi::p2::bindings::sync::io::poll;
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{
    DynPollable, InputStream, OutputStream, Pollable, StreamError, StreamResult, subscribe,
};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{Deterministic, HostWallClock, WasiCtx, WasiCtxBuilder, WasiView, async_trait};

use super::grants::{Grant, Grants};
use super::guest_log::{GuestLog, Stream};
use super::host_usage::HostUsage;

/// 2024-01-01T00:00:00Z: late enough for runtimes that check dates of certificates or files.
const NOW: Duration = Duration::from_secs(1_704_067_200);

/// Nanoseconds; not 0, which Go's runtime treats as a broken clock.
const MONOTONIC_NOW: u64 = 1_000_000_000;

/// Bytes after which random numbers repeat: enough for rejection sampling to end.
const RANDOM_CYCLE: usize = 4_096;

/// Maximum bytes of random numbers per call.
const MAX_RANDOM: u64 = 1 << 20;

/// Maximum bytes that an output stream accepts per write.
const WRITE_PERMIT: usize = 64 << 10;

/// Links `wasi:*@0.2`, with functions that could wait replaced by ones that do not. Clocks and random
/// numbers note that they are read; seeds for hash tables (`insecure-seed`) do not, since they need
/// not be random.
pub(super) fn link<T: WasiView + WaitView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<T, Waits>(linker, T::waits)?;
    poll::add_to_linker::<T, Waits>(linker, T::waits)?;
    wall_clock::add_to_linker::<T, WasiClocks>(linker, |state| {
        state.read(Grant::Clock);
        state.clocks()
    })?;
    random::add_to_linker::<T, WasiRandom>(linker, |state| {
        state.read(Grant::Random);
        state.ctx().ctx.random()
    })?;
    insecure::add_to_linker::<T, WasiRandom>(linker, |state| {
        state.read(Grant::Random);
        state.ctx().ctx.random()
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Creates a context that exposes only what is granted. Output goes to the guest's log.
pub(super) fn context(
    log: &Arc<Mutex<GuestLog>>,
    usage: &Arc<HostUsage>,
    grants: &Grants,
) -> WasiCtx {
    let lines = |stream| Lines {
        log: Arc::clone(log),
        usage: Arc::clone(usage),
        stream,
        is_passed_on: grants.contains(&Grant::Stdio),
    };
    let mut context = WasiCtxBuilder::new();
    context
        .stdin(EmptyStdin)
        .stdout(lines(Stream::Stdout))
        .stderr(lines(Stream::Stderr))
        .max_random_size(MAX_RANDOM)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    if !grants.contains(&Grant::Clock) {
        context.wall_clock(Stopped);
    }
    if !grants.contains(&Grant::Random) {
        context
            .secure_random(repeating())
            .insecure_random(repeating())
            .insecure_random_seed(0);
    }
    context.build()
}

/// Random numbers that are the same in every instance: SplitMix64 (Steele, Lea, Flood 2014) from
/// state 0.
fn repeating() -> Deterministic {
    let mut state = 0_u64;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    Deterministic::new(
        std::iter::repeat_with(next)
            .take(RANDOM_CYCLE / 8)
            .flatten()
            .collect(),
    )
}

struct Stopped;

impl HostWallClock for Stopped {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        NOW
    }
}

struct Waits;

impl HasData for Waits {
    type Data<'a> = AtOnce<'a>;
}

/// A store whose guests can wait.
pub(super) trait WaitView: Send {
    /// The host's side of clocks and polling.
    fn waits(&mut self) -> AtOnce<'_>;

    /// Notes that the guest reads what this grant makes real.
    fn read(&mut self, grant: Grant);
}

/// Clocks and polling where waiting returns at once: input is closed, output is always accepted,
/// and every instant has passed.
pub(super) struct AtOnce<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) usage: &'a HostUsage,
    /// Start of the guest's clock, if it is granted one.
    pub(super) clock: Option<Instant>,
    pub(super) reads: &'a mut Reads,
}

/// What a guest has read although it was not granted: clocks that stand still, random numbers that
/// repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    pub(super) clock: bool,
    /// The monotonic clock: runtimes read it for their own ends, such as collecting garbage.
    pub(super) monotonic: bool,
    pub(super) random: bool,
}

impl monotonic_clock::Host for AtOnce<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.usage.check()?;
        self.reads.monotonic |= self.clock.is_none();
        let elapsed = self.clock.map_or(Duration::ZERO, |began| began.elapsed());
        Ok(MONOTONIC_NOW.saturating_add(u64::try_from(elapsed.as_nanos())?))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.usage.check()?;
        let elapsed = self.table.push(Elapsed)?;
        subscribe(self.table, elapsed)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_instant(duration)
    }
}

impl poll::Host for AtOnce<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.usage.check()?;
        if pollables.is_empty() {
            wasmtime::bail!("empty poll list");
        }
        Ok((0_u32..).zip(&pollables).map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for AtOnce<'_> {
    fn ready(&mut self, _pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        Ok(true)
    }

    fn block(&mut self, _pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.table, pollable)
    }
}

/// An instant that has passed.
struct Elapsed;

#[async_trait]
impl Pollable for Elapsed {
    async fn ready(&mut self) {}
}

struct EmptyStdin;

impl IsTerminal for EmptyStdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for EmptyStdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(ClosedInputStream)
    }
}

/// Stdout or stderr.
#[derive(Clone)]
struct Lines {
    log: Arc<Mutex<GuestLog>>,
    usage: Arc<HostUsage>,
    stream: Stream,
    /// True if the output also goes to standard error, unchanged.
    is_passed_on: bool,
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only preview 3 calls this, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_PERMIT {
            return Err(StreamError::trap("more bytes written than were permitted"));
        }
        let charged = self.usage.charge(bytes.len());
        charged.map_err(|exceeded| StreamError::Trap(exceeded.into()))?;
        if self.is_passed_on {
            // An error has nowhere to go if standard error is closed.
            drop(std::io::stderr().write_all(&bytes));
        }
        let log = self.log.lock();
        let mut log = log.unwrap_or_else(PoisonError::into_inner);
        log.printed(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}
