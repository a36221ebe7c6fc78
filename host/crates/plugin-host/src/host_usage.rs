//! Usage of the host by a call: number of imported functions called, and bytes that the host keeps
//! or copies.
//!
//! An instance's store and its standard streams share the counters. Only the thread that runs the
//! instance accesses them, so relaxed loads and stores are exact and cost no more than plain
//! fields.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use super::limits::Limits;

/// Limit that a call has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    /// Number of imported functions called.
    #[error("called the host more than {0} times (`plugins.limits.host_calls`)")]
    HostCalls(u32),
    /// Bytes passed to the host.
    #[error("passed more than {0} bytes to the host (`plugins.limits.output`)")]
    Output(usize),
}

/// Usage by the call in progress, and its limits.
#[derive(Debug)]
pub(super) struct HostUsage {
    host_calls: u32,
    output: usize,
    calls_made: AtomicU32,
    bytes_taken: AtomicUsize,
}

impl HostUsage {
    /// Creates counters for calls under these limits.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            host_calls: limits.host_calls,
            output: limits.output,
            calls_made: AtomicU32::new(0),
            bytes_taken: AtomicUsize::new(0),
        }
    }

    /// Resets the counters at the beginning of a call.
    pub(super) fn begin(&self) {
        self.calls_made.store(0, Relaxed);
        self.bytes_taken.store(0, Relaxed);
    }

    /// Counts a call of an imported function.
    pub(super) fn count_call(&self) {
        let made = self.calls_made.load(Relaxed);
        self.calls_made.store(made.saturating_add(1), Relaxed);
    }

    /// Counts bytes that the host is about to keep or copy.
    ///
    /// # Errors
    /// When the call is beyond a limit.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Exceeded> {
        let taken = self.bytes_taken.load(Relaxed).saturating_add(bytes);
        self.bytes_taken.store(taken, Relaxed);
        self.check()
    }

    /// Checks that the call is within its limits.
    ///
    /// # Errors
    /// When it is beyond one of them.
    pub(super) fn check(&self) -> Result<(), Exceeded> {
        if self.calls_made.load(Relaxed) > self.host_calls {
            return Err(Exceeded::HostCalls(self.host_calls));
        }
        if self.bytes_taken.load(Relaxed) > self.output {
            return Err(Exceeded::Output(self.output));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact() {
        let usage = HostUsage::new(&Limits {
            host_calls: 2,
            output: 10,
            ..Limits::default()
        });
        for _ in 0..3 {
            usage.begin();
            usage.count_call();
            usage.count_call();
            assert_eq!(usage.charge(10), Ok(()));
            assert_eq!(usage.charge(1), Err(Exceeded::Output(10)));
            assert_eq!(usage.charge(usize::MAX), Err(Exceeded::Output(10)));
            usage.count_call();
            assert_eq!(usage.check(), Err(Exceeded::HostCalls(2)));
        }
    }
}
