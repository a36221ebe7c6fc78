//! Counts what a call has the host do: calls of imported functions, and bytes that the host
//! keeps or copies for it.
//!
//! Shared between an instance's store and its standard streams. Only the thread that runs the
//! instance touches it, so plain loads and stores are exact, and cost what fields would.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use super::limits::Limits;

/// What a call had more of than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    /// Calls of imported functions.
    #[error("called the host more than {0} times (`plugins.limits.host_calls`)")]
    HostCalls(u32),
    /// Bytes.
    #[error("handed the host more than {0} bytes (`plugins.limits.output`)")]
    Output(usize),
}

/// What is left to the call in progress.
#[derive(Debug)]
pub(super) struct HostUsage {
    host_calls: u32,
    output: usize,
    calls_made: AtomicU32,
    bytes_taken: AtomicUsize,
}

impl HostUsage {
    /// For calls under these limits.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            host_calls: limits.host_calls,
            output: limits.output,
            calls_made: AtomicU32::new(0),
            bytes_taken: AtomicUsize::new(0),
        }
    }

    /// A call begins.
    pub(super) fn begin(&self) {
        self.calls_made.store(0, Relaxed);
        self.bytes_taken.store(0, Relaxed);
    }

    /// An imported function is called.
    pub(super) fn count_call(&self) {
        let made = self.calls_made.load(Relaxed);
        self.calls_made.store(made.saturating_add(1), Relaxed);
    }

    /// The host is about to keep or copy so many bytes.
    ///
    /// # Errors
    ///
    /// When it must not, or when too many calls have been made.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Exceeded> {
        let taken = self.bytes_taken.load(Relaxed).saturating_add(bytes);
        self.bytes_taken.store(taken, Relaxed);
        self.check()
    }

    /// Whether the call is within its limits.
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
    fn what_is_allowed_is_allowed_and_no_more() {
        let meter = HostUsage::new(&Limits {
            host_calls: 2,
            output: 10,
            ..Limits::default()
        });
        for _ in 0..3 {
            meter.begin();
            meter.count_call();
            meter.count_call();
            assert_eq!(meter.charge(10), Ok(()));
            assert_eq!(meter.charge(1), Err(Exceeded::Output(10)));
            assert_eq!(meter.charge(usize::MAX), Err(Exceeded::Output(10)));
            meter.count_call();
            assert_eq!(meter.check(), Err(Exceeded::HostCalls(2)));
        }
    }
}
