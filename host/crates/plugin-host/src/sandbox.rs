//! What belongs to one instance: its limits, its log, and the embeddings while they are lent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::{log, types};
use super::embeddings::Lent;
use super::grants::{Grant, Grants};
use super::guest_log::{GuestLog, Level};
use super::host_usage::HostUsage;
use super::limits::{Limits, MAX_RESOURCES};
use super::wasi;

/// The data of a store.
pub(super) struct State {
    /// The embeddings of the call in progress.
    pub(super) lent: Option<Lent>,
    /// What the instance may still grow to.
    pub(super) bounds: Bounds,
    /// What the call in progress may still have the host do.
    pub(super) meter: Arc<HostUsage>,
    journal: Arc<Mutex<GuestLog>>,
    context: WasiCtx,
    table: ResourceTable,
    clock: Option<Instant>,
}

impl State {
    /// For an instance of this plugin under these limits, with what it has been granted.
    pub(super) fn new(plugin: &str, limits: &Limits, grants: &Grants) -> Self {
        let journal = GuestLog::new(plugin.to_owned(), limits.log_lines);
        let journal = Arc::new(Mutex::new(journal));
        let meter = Arc::new(HostUsage::new(limits));
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            lent: None,
            bounds: Bounds::new(limits),
            context: wasi::context(&journal, &meter, grants),
            meter,
            journal,
            table,
            clock: grants.contains(&Grant::Clock).then(Instant::now),
        }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.bounds.refused = false;
        self.meter.begin();
        self.journal().begin();
    }

    /// The instance's log.
    pub(super) fn journal(&self) -> MutexGuard<'_, GuestLog> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WasiView for State {
    /// Every function of WASI asks for this first, so here its calls are counted.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.meter.count_call();
        WasiCtxView {
            ctx: &mut self.context,
            table: &mut self.table,
        }
    }
}

impl wasi::WaitView for State {
    fn waits(&mut self) -> wasi::AtOnce<'_> {
        self.meter.count_call();
        wasi::AtOnce {
            table: &mut self.table,
            meter: &self.meter,
            clock: self.clock,
        }
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.meter.count_call();
        self.meter.charge(message.len())?;
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.journal().line(level, message);
        Ok(())
    }
}

/// Counts what an instance has, all its memories and tables together, and remembers whether
/// it was refused more: a guest that runs out usually traps in a way that does not say so.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    memory: usize,
    elements: usize,
    instances: usize,
    memory_used: usize,
    memory_last: usize,
    elements_used: usize,
    elements_last: usize,
    /// Whether growth was refused since this was last set to false.
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
    fn memories_share_one_bound() {
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
    fn growth_that_failed_is_given_back() {
        let mut bounds = Bounds {
            memory: 100,
            ..Bounds::default()
        };
        assert!(bounds.memory_growing(0, 100, None).unwrap());
        // The callback that follows a refusal gives back nothing that was not taken.
        assert!(!bounds.memory_growing(100, 150, None).unwrap());
        bounds
            .memory_grow_failed(wasmtime::format_err!("refused"))
            .unwrap();
        assert_eq!(bounds.memory_used, 100);
    }
}
