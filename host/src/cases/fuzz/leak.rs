//! Tells a leak from a plugin that takes memory until it has what it needs.
//!
//! The same rows are sent again and again. A plugin that keeps something from each call grows in
//! every window of calls; another one stops growing. Memory grows by pages of 64 KiB, so a leak of
//! 1 KiB a call shows in a window.

use std::time::{Duration, Instant};

use crate::cases::harness::Harness;
use crate::cases::questions::Question;

/// Number of calls in a window.
const CALLS: u32 = 64;

/// Number of windows in each of which memory must grow. The first one is not counted: heaps fill.
const WINDOWS: u32 = 4;

/// Sends `rows` to the plugin until its memory has not grown in a window, or has grown in all of
/// them: returns a message then. Gives up after `time`, without a finding.
pub(super) fn of<T: Question>(harness: &mut Harness, rows: &[T], time: Duration) -> Option<String> {
    let rows: Vec<&T> = rows.iter().collect();
    let began = Instant::now();
    let mut grown = 0;
    let mut calls = 0;
    for window in 0..=WINDOWS {
        let before = harness.spent().memory;
        for _ in 0..CALLS {
            if began.elapsed() >= time || T::ask(harness, &rows).is_err() {
                return None;
            }
        }
        let after = harness.spent().memory;
        if window == 0 {
            continue;
        }
        if after.grown == before.grown && after.retired == before.retired {
            return None;
        }
        grown += after.grown - before.grown;
        calls += after.later_calls - before.later_calls;
    }
    let each = bytesize::ByteSize((grown as u64).checked_div(calls)?);
    Some(format!(
        "its memory grows by {} with each call, although the rows are the same: it keeps something from them",
        each.display().iec()
    ))
}
