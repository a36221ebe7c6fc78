//! The state of one instance: its limits, its log, its WASI, and the embeddings lent to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::embeddings::Lent;
use super::grants::{Grant, Grants};
use super::guest_log::GuestLog;
use super::host_usage::HostUsage;
use super::limits::{Limits, MAX_RESOURCES};
use super::wasi;

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
}

impl State {
    /// Creates the state of an instance of this plugin, under these limits and with these grants.
    pub(super) fn new(plugin: &str, limits: &Limits, grants: &Grants) -> Self {
        let guest_log = GuestLog::new(plugin.to_owned(), limits.log_lines);
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
        }
    }

    /// Resets what is counted per call.
    pub(super) fn begin(&mut self) {
        self.bounds.refused = false;
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
        }
    }
}

/// Bounds an instance's memories together and its tables together, and records a refusal: a guest
/// that runs out of memory usually traps without saying why.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    memory: usize,
    elements: usize,
    instances: usize,
    memory_used: usize,
    memory_last: usize,
    elements_used: usize,
    elements_last: usize,
    /// True if growth was refused since this was last reset.
    pub(super) refused: bool,
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
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory_last = desired.saturating_sub(current);
        let after = self.memory_used.saturating_add(self.memory_last);
        if after > self.memory || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            self.memory_last = 0;
            return Ok(false);
        }
        self.memory_used = after;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_used = self
            .memory_used
            .saturating_sub(std::mem::take(&mut self.memory_last));
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.elements_last = desired.saturating_sub(current);
        let after = self.elements_used.saturating_add(self.elements_last);
        if after > self.elements || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = true;
            self.elements_last = 0;
            return Ok(false);
        }
        self.elements_used = after;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let last = std::mem::take(&mut self.elements_last);
        self.elements_used = self.elements_used.saturating_sub(last);
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

    #[test]
    fn memories_share_a_bound() {
        let mut bounds = Bounds {
            memory: 100,
            ..Bounds::default()
        };
        assert!(bounds.memory_growing(0, 60, None).unwrap());
        assert!(bounds.memory_growing(0, 40, None).unwrap());
        assert!(!bounds.refused);
        assert!(!bounds.memory_growing(40, 41, None).unwrap());
        assert!(bounds.refused);
    }

    #[test]
    fn failed_growth_is_returned() {
        let mut bounds = Bounds {
            memory: 100,
            ..Bounds::default()
        };
        assert!(bounds.memory_growing(0, 100, None).unwrap());
        // The callback after a refusal must return nothing, since nothing was taken.
        assert!(!bounds.memory_growing(100, 150, None).unwrap());
        bounds
            .memory_grow_failed(wasmtime::format_err!("refused"))
            .unwrap();
        assert_eq!(bounds.memory_used, 100);
    }
}
