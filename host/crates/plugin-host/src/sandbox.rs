//! The state of one instance: its limits, its log, its WASI, and the embeddings lent to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::embeddings::Lent;
use super::grants::{Grant, Grants};
use super::guest_log::{GuestLog, Output};
use super::host_usage::HostUsage;
use super::limits::{Limits, MAX_RESOURCES};
use super::wasi::{self, Reads};

/// Data of a store.
pub(super) struct State {
    /// Embeddings lent to the call in progress.
    pub(super) lent: Option<Lent>,
    /// Bounds of the instance's memories, tables and instances.
    pub(super) bounds: Bounds,
    /// Usage of the host by the call in progress.
    pub(super) usage: Arc<HostUsage>,
    guest_log: Arc<Mutex<GuestLog>>,
    context: WasiCtx,
    table: ResourceTable,
    clock: Option<Instant>,
    has_random: bool,
    /// What the call in progress has read without a grant.
    pub(super) reads: Reads,
}

impl State {
    /// Creates the state of an instance of this plugin, under these limits and with these grants.
    pub(super) fn new(plugin: &str, limits: &Limits, grants: &Grants) -> Self {
        let output = match grants.contains(&Grant::Stdio) {
            true => Output::PassedOn,
            false => Output::Logged,
        };
        let guest_log = GuestLog::new(plugin.to_owned(), output, limits.log_lines);
        let guest_log = Arc::new(Mutex::new(guest_log));
        let usage = Arc::new(HostUsage::new(limits));
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            lent: None,
            bounds: Bounds::new(limits),
            context: wasi::context(&guest_log, &usage, grants),
            usage,
            guest_log,
            table,
            clock: grants.contains(&Grant::Clock).then(Instant::now),
            has_random: grants.contains(&Grant::Random),
            reads: Reads::default(),
        }
    }

    /// Resets what is counted per call.
    pub(super) fn begin(&mut self) {
        self.bounds.refused = None;
        self.reads = Reads::default();
        self.usage.begin();
        self.guest_log().begin();
    }

    /// The instance's log.
    pub(super) fn guest_log(&self) -> MutexGuard<'_, GuestLog> {
        self.guest_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl WasiView for State {
    /// Counts a call: every WASI function asks for the context first.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.usage.count_call();
        WasiCtxView {
            ctx: &mut self.context,
            table: &mut self.table,
        }
    }
}

impl wasi::WaitView for State {
    fn waits(&mut self) -> wasi::AtOnce<'_> {
        self.usage.count_call();
        wasi::AtOnce {
            table: &mut self.table,
            usage: &self.usage,
            clock: self.clock,
            reads: &mut self.reads,
        }
    }

    fn read(&mut self, grant: Grant) {
        match grant {
            Grant::Clock => self.reads.clock |= self.clock.is_none(),
            Grant::Random => self.reads.random |= !self.has_random,
            Grant::Stdio => {}
        }
    }
}

/// A refusal of memory or of table elements. Many guests do not look at the answer of `memory.grow`:
/// an unchecked `malloc` then writes at address 0. So nothing that a guest answers after a refusal
/// is believed, and its instance is not called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// More than [`Limits::memory`].
    #[error("exceeded its memory limit of {} (`plugins.limits.memory`)", size(*.0))]
    Memory(usize),
    /// More than [`Limits::table_elements`].
    #[error("exceeded its limit of {0} table elements (`plugins.limits.table_elements`)")]
    Elements(usize),
    /// More than the component itself declares.
    #[error("exceeded the maximum that it declares for its memory or table")]
    Declared,
    /// What a memory or the machine cannot hold.
    #[error("asked for memory that the host could not provide")]
    Unavailable,
}

/// Bytes as the configuration has them.
fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// Bounds an instance's memories together and its tables together, and records the first refusal.
///
/// What was granted stays counted when the growth then fails: the instance is not called again, and
/// a guest cannot gain room by failing.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    memory: usize,
    elements: usize,
    instances: usize,
    memory_used: usize,
    elements_used: usize,
    /// The first refusal since this was last reset.
    pub(super) refused: Option<Refusal>,
}

impl Bounds {
    fn new(limits: &Limits) -> Self {
        Self {
            memory: limits.memory,
            elements: limits.table_elements,
            instances: limits.instances,
            ..Self::default()
        }
    }

    /// Bytes of all linear memories together.
    pub(super) fn memory_used(&self) -> usize {
        self.memory_used
    }

    fn refuse(&mut self, refusal: Refusal) -> bool {
        self.refused.get_or_insert(refusal);
        false
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self
            .memory_used
            .saturating_add(desired.saturating_sub(current));
        if after > self.memory {
            return Ok(self.refuse(Refusal::Memory(self.memory)));
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(self.refuse(Refusal::Declared));
        }
        self.memory_used = after;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refuse(Refusal::Unavailable);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self
            .elements_used
            .saturating_add(desired.saturating_sub(current));
        if after > self.elements {
            return Ok(self.refuse(Refusal::Elements(self.elements)));
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(self.refuse(Refusal::Declared));
        }
        self.elements_used = after;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refuse(Refusal::Unavailable);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            memory: 100,
            elements: 10,
            ..Bounds::default()
        }
    }

    #[test]
    fn memories_share_a_bound() {
        let mut bounds = bounds();
        assert!(bounds.memory_growing(0, 60, None).unwrap());
        assert!(bounds.memory_growing(0, 40, None).unwrap());
        assert_eq!(bounds.refused, None);
        assert!(!bounds.memory_growing(40, 41, None).unwrap());
        assert_eq!(bounds.refused, Some(Refusal::Memory(100)));
    }

    #[test]
    fn every_refusal_is_recorded_and_the_first_is_kept() {
        let mut bounds = bounds();
        assert!(!bounds.memory_growing(0, 20, Some(10)).unwrap());
        assert_eq!(bounds.refused, Some(Refusal::Declared));
        assert!(!bounds.table_growing(0, 11, None).unwrap());
        assert_eq!(bounds.refused, Some(Refusal::Declared));
        bounds.refused = None;
        assert!(!bounds.table_growing(0, 11, None).unwrap());
        assert_eq!(bounds.refused, Some(Refusal::Elements(10)));
        bounds.refused = None;
        bounds
            .table_grow_failed(wasmtime::format_err!("full"))
            .unwrap();
        assert_eq!(bounds.refused, Some(Refusal::Unavailable));
    }

    /// wasmtime reports growth beyond 4 GiB as failed without having asked for it.
    #[test]
    fn failed_growth_gives_no_room_back() {
        let mut bounds = bounds();
        assert!(bounds.memory_growing(0, 100, None).unwrap());
        bounds
            .memory_grow_failed(wasmtime::format_err!("refused"))
            .unwrap();
        assert_eq!(bounds.memory_used, 100);
        assert_eq!(bounds.refused, Some(Refusal::Unavailable));
    }

    #[test]
    fn sizes_are_written_as_in_the_configuration() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(6 << 20, "6 MiB");
        check(1_536 << 10, "1536 KiB");
        check(1_000_000, "1000000 bytes");
        check(0, "0 bytes");
    }
}
